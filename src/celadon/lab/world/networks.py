"""VPCs and their subnets."""

import ipaddress
import re

from celadon.lab.facts import catalogue
from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.objects import BalancerVpc, InstanceConfig, Json, Subnet, Vpc
from celadon.lab.world.problems import NotFound, Problem

# The text is the API's own and is wrong: dashes are the allowed ones (recorded).
LABEL_TEXT = "Must only use ASCII letters, numbers, and underscores"


def create(account: Account, body: Json) -> Vpc:
    region = catalogue.region(body["region"])
    if "VPCs" not in region["capabilities"]:
        raise Problem("This region does not support VPCs", "region")
    now = account.stamp()
    vpc = account.put(
        Vpc(
            id=account.new_id(),
            label=_unique_label(account, body["label"]),
            region=region["id"],
            created=now,
            updated=now,
            description=body.get("description") or "",
        )
    )
    for subnet in body.get("subnets") or []:
        create_subnet(account, vpc.id, subnet)
    account.note("vpc_create", about(vpc))
    return vpc


def update(account: Account, vpc_id: int, body: Json) -> Vpc:
    vpc = account.find(Vpc, vpc_id)
    changes: Json = {"updated": account.stamp()}
    if body.get("label") not in (None, vpc.label):
        changes["label"] = _unique_label(account, body["label"])
    if body.get("description") is not None:
        changes["description"] = body["description"]
    changed = account.amend(vpc, changes)
    account.note("vpc_update", about(changed))
    return changed


def delete(account: Account, vpc_id: int) -> None:
    vpc = account.find(Vpc, vpc_id)
    subnets = subnets_of(account.state, vpc_id)
    for subnet in subnets:
        _refuse_used(account.state, subnet)
    for subnet in subnets:
        account.drop(subnet)
    account.drop(vpc)
    account.note("vpc_delete", about(vpc))


def create_subnet(account: Account, vpc_id: int, body: Json) -> Subnet:
    account.find(Vpc, vpc_id)
    label = _label(body["label"])
    others = subnets_of(account.state, vpc_id)
    if any(each.label == label for each in others):
        raise Problem("Label must be unique among the subnets of this VPC", "label")
    try:
        network = ipaddress.IPv4Network(body["ipv4"])
    except ValueError:
        raise Problem("Must be an IPv4 range", "ipv4") from None
    if not network.is_private or not 1 <= network.prefixlen <= 29:
        raise Problem("Must be a private IPv4 range of /29 or larger", "ipv4")
    if any(network.overlaps(ipaddress.IPv4Network(each.ipv4)) for each in others):
        raise Problem("Ranges of subnets must not overlap", "ipv4")
    now = account.stamp()
    subnet = Subnet(id=account.new_id(), vpc_id=vpc_id, label=label, ipv4=str(network), created=now, updated=now)
    account.note("subnet_create", _about_subnet(subnet))
    return account.put(subnet)


def update_subnet(account: Account, vpc_id: int, subnet_id: int, body: Json) -> Subnet:
    subnet = subnet_of(account.state, vpc_id, subnet_id)
    changes: Json = {"updated": account.stamp()}
    if body.get("label") not in (None, subnet.label):
        changes["label"] = _label(body["label"])
        if any(each.label == changes["label"] for each in subnets_of(account.state, vpc_id)):
            raise Problem("Label must be unique among the subnets of this VPC", "label")
    changed = account.amend(subnet, changes)
    account.note("subnet_update", _about_subnet(changed))
    return changed


def delete_subnet(account: Account, vpc_id: int, subnet_id: int) -> None:
    subnet = subnet_of(account.state, vpc_id, subnet_id)
    _refuse_used(account.state, subnet)
    account.drop(subnet)
    account.note("subnet_delete", _about_subnet(subnet))


def subnet_of(state: State, vpc_id: int, subnet_id: int) -> Subnet:
    state.find(Vpc, vpc_id)
    subnet = state.find(Subnet, subnet_id)
    if subnet.vpc_id != vpc_id:
        raise NotFound
    return subnet


def subnets_of(state: State, vpc_id: int) -> list[Subnet]:
    return [subnet for subnet in state.all(Subnet) if subnet.vpc_id == vpc_id]


def interfaces_in(state: State, subnet_id: int) -> list[tuple[InstanceConfig, Json]]:
    return [
        (config, interface)
        for config in state.all(InstanceConfig)
        for interface in config.interfaces
        if interface["subnet_id"] == subnet_id
    ]


def about(vpc: Vpc) -> Json:
    return entity("vpc", vpc.id, vpc.label, f"/v4/vpcs/{vpc.id}")


def _about_subnet(subnet: Subnet) -> Json:
    return entity("subnet", subnet.id, subnet.label, f"/v4/vpcs/{subnet.vpc_id}/subnets/{subnet.id}")


def _refuse_used(state: State, subnet: Subnet) -> None:
    balancers = [each for each in state.all(BalancerVpc) if each.subnet_id == subnet.id]
    if balancers or interfaces_in(state, subnet.id):
        raise Problem("Cannot delete a VPC subnet that is in use")


def _label(label: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?!.*--)[A-Za-z0-9-]{0,63}", label):
        raise Problem(LABEL_TEXT, "label")
    return label


def _unique_label(account: Account, label: str) -> str:
    if any(vpc.label == _label(label) for vpc in account.all(Vpc)):
        raise Problem("Label must be unique among your VPCs", "label")
    return _label(label)
