"""Resource locks: they refuse the deletion of what they name (v4beta)."""

from celadon.lab.world.account import Account
from celadon.lab.world.objects import Balancer, EntityType, Instance, Json, Lock
from celadon.lab.world.problems import NotFound, Problem

WITH_SUBRESOURCES = "cannot_delete_with_subresources"


def create(account: Account, body: Json) -> Lock:
    kinds: dict[str, type[Instance | Balancer]] = {"linode": Instance, "nodebalancer": Balancer}
    kind = kinds.get(body["entity_type"])
    if kind is None:
        raise Problem("Must be one of linode, nodebalancer", "entity_type")
    if body["lock_type"] not in ("cannot_delete", WITH_SUBRESOURCES):
        raise Problem(f"Must be one of cannot_delete, {WITH_SUBRESOURCES}", "lock_type")
    try:
        account.find(kind, body["entity_id"])
    except NotFound:
        raise Problem("entity_id is not valid", "entity_id") from None
    for held in of(account, body["entity_type"], body["entity_id"]):
        raise Problem(f"The {held.lock_type} lock (Lock ID: {held.id}) needs to be removed to add {body['lock_type']}")
    return account.put(
        Lock(
            id=account.new_id(),
            entity_id=body["entity_id"],
            entity_type=body["entity_type"],
            lock_type=body["lock_type"],
        )
    )


def of(account: Account, entity_type: EntityType, entity_id: int) -> list[Lock]:
    return [lock for lock in account.all(Lock) if (lock.entity_type, lock.entity_id) == (entity_type, entity_id)]


def refuse_delete(account: Account, entity_type: EntityType, entity_id: int) -> None:
    for lock in of(account, entity_type, entity_id):
        raise Problem(f"The {lock.lock_type} lock (Lock ID: {lock.id}) needs to be removed to delete this resource")


def refuse_inside(account: Account, entity_type: EntityType, entity_id: int) -> None:
    """For what belongs to the locked thing: a NodeBalancer's configs and nodes."""
    for lock in of(account, entity_type, entity_id):
        if lock.lock_type == WITH_SUBRESOURCES:
            raise Problem(f"The {lock.lock_type} lock (Lock ID: {lock.id}) needs to be removed to change this resource")
