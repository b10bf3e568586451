"""Linode instances: create, change, power, rebuild, delete."""

import base64
import binascii
import uuid

from celadon.lab.facts import catalogue
from celadon.lab.world import firewalls, locks
from celadon.lab.world.account import Account, entity
from celadon.lab.world.addresses import private_address, public_ipv6
from celadon.lab.world.instance_parts import (
    SWAP_MB,
    about,
    addresses,
    configs_of,
    install,
    public_address,
    refuse_busy,
    wipe,
)
from celadon.lab.world.objects import Event, Instance, Job, JobKind, Json, Node, SshKey
from celadon.lab.world.problems import Problem
from celadon.lab.world.profile import KEY
from celadon.lab.world.tags import clean_tags

USER_DATA_LIMIT = 65_535  # bytes, decoded: the API's own sentence
ALERTS: Json = {"cpu": 90, "io": 10_000, "network_in": 10, "network_out": 10, "transfer_quota": 80}
TRANSITIONS: dict[JobKind, tuple[str, str]] = {  # the status meanwhile, and the event's action
    "create": ("provisioning", "linode_create"),
    "boot": ("booting", "linode_boot"),
    "shutdown": ("shutting_down", "linode_shutdown"),
    "reboot": ("rebooting", "linode_reboot"),
    "rebuild": ("rebuilding", "linode_rebuild"),
}


def create(account: Account, body: Json) -> Instance:
    region = catalogue.region(body["region"])
    chosen = catalogue.type(body["type"])
    image = catalogue.image(body["image"]) if body.get("image") else None
    keys = _authorized_keys(account, body)
    if image and not (body.get("root_pass") or keys):
        raise Problem("Must provide valid root_pass, authorized_keys, or authorized_users")
    linode_id = account.new_id()
    now = account.stamp()
    public = public_address(account.state)
    private = (private_address(addresses(account.state)),) if body.get("private_ip") else ()
    instance = Instance(
        id=linode_id,
        label=_unique_label(account, body.get("label") or f"linode{linode_id}"),
        region=region["id"],
        type=chosen["id"],
        image=image["id"] if image else None,
        status="provisioning",
        ipv4=(public, *private),
        ipv6=f"{public_ipv6(public)}/128",
        created=now,
        updated=now,
        host_uuid=uuid.uuid5(uuid.NAMESPACE_OID, str(linode_id)).hex,
        tags=clean_tags(body.get("tags")),
        group=body.get("group") or "",
        user_data=_user_data(body),
        authorized_keys=keys,
        alerts=ALERTS,
        backups_enabled=bool(body.get("backups_enabled")),
        disk_encryption=body.get("disk_encryption") or "enabled",
        interface_generation=body.get("interface_generation") or "legacy_config",
        maintenance_policy=body.get("maintenance_policy") or "linode/migrate",
    )
    account.put(instance)
    if image:
        swap = SWAP_MB if body.get("swap_size") is None else body["swap_size"]
        install(account, instance, image["label"], chosen["disk"], swap, body.get("interfaces") or [])
    if body.get("firewall_id"):
        firewalls.attach(account, body["firewall_id"], linode_id, "linode", field="firewall_id")
    about_image = entity("image", image["id"], image["label"], f"/v4/images/{image['id']}") if image else None
    booted = body.get("booted")
    _begin(account, instance, "create", boot=bool(image) and booted is not False, secondary=about_image)
    return instance


def update(account: Account, linode_id: int, body: Json) -> Instance:
    instance = account.find(Instance, linode_id)
    changes: Json = {"updated": account.stamp()}
    if body.get("label") not in (None, instance.label):
        changes["label"] = _unique_label(account, body["label"])
    if body.get("tags") is not None:
        changes["tags"] = clean_tags(body["tags"])
    if body.get("alerts"):
        changes["alerts"] = {**instance.alerts, **body["alerts"]}
    for name in ("group", "watchdog_enabled", "maintenance_policy"):
        if body.get(name) is not None:
            changes[name] = body[name]
    changed = account.amend(instance, changes)
    account.note("linode_update", about(changed))
    return changed


def power(account: Account, linode_id: int, kind: JobKind) -> None:
    """`boot`, `shutdown` or `reboot`. The answer comes at once; the job does it."""
    instance = account.find(Instance, linode_id)
    refuse_busy(account, linode_id)
    if kind == "boot" and instance.status == "running":
        raise Problem(f"Linode {linode_id} already booted.")
    if kind != "shutdown" and not configs_of(account.state, linode_id):
        raise Problem("No configuration profile to boot", "config_id")
    status = TRANSITIONS[kind][0]
    booted = next(iter(configs_of(account.state, linode_id)), None)
    secondary = None
    if booted:
        url = f"/v4/linode/instances/{linode_id}/configs/{booted.id}"
        secondary = entity("linode_config", booted.id, booted.label, url)
    _begin(account, account.amend(instance, {"status": status}), kind, secondary=secondary)


def rebuild(account: Account, linode_id: int, body: Json) -> Instance:
    """A new disk of an image: everything on the old one is gone, addresses and labels stay."""
    instance = account.find(Instance, linode_id)
    refuse_busy(account, linode_id)
    image = catalogue.image(body["image"])
    keys = _authorized_keys(account, body)
    if not (body.get("root_pass") or keys):
        raise Problem("Must provide valid root_pass, authorized_keys, or authorized_users")
    wipe(account, linode_id)
    changes: Json = {"image": image["id"], "status": "rebuilding", "authorized_keys": keys}
    if body.get("metadata"):
        changes["user_data"] = _user_data(body)
    changed = account.amend(instance, {**changes, "updated": account.stamp()})
    install(account, changed, image["label"], catalogue.type(changed.type)["disk"], SWAP_MB, [])
    _begin(account, changed, "rebuild", boot=body.get("booted") is not False)
    return changed


def delete(account: Account, linode_id: int) -> None:
    """Gone at once, and with it, silently, every NodeBalancer node at its addresses (documented in issues only)."""
    instance = account.find(Instance, linode_id)
    locks.refuse_delete(account, "linode", linode_id)
    account.drop_where(Node, lambda node: node.address.rpartition(":")[0] in instance.ipv4)
    account.drop_where(Job, lambda job: job.linode_id == linode_id)
    wipe(account, linode_id)
    firewalls.detach_all(account, linode_id, "linode")
    account.drop(instance)
    event = account.note("linode_delete", about(instance), "scheduled")
    account.put(Job(id=account.new_id(), kind="delete", linode_id=linode_id, event_id=event.id))


def _begin(
    account: Account, instance: Instance, kind: JobKind, *, boot: bool = True, secondary: Json | None = None
) -> Event:
    event = account.note(TRANSITIONS[kind][1], about(instance), "scheduled", secondary)
    account.put(Job(id=account.new_id(), kind=kind, linode_id=instance.id, event_id=event.id, boot=boot))
    return event


def _unique_label(account: Account, label: str) -> str:
    if any(instance.label == label for instance in account.all(Instance)):
        raise Problem("Label must be unique among your linodes", "label")
    return label


def _authorized_keys(account: Account, body: Json) -> tuple[str, ...]:
    keys = [key.strip() for key in body.get("authorized_keys") or []]
    if not all(KEY.fullmatch(key) for key in keys):
        raise Problem("Invalid SSH key", "authorized_keys")
    for user in body.get("authorized_users") or []:
        if user != account.state.username:
            raise Problem("User does not exist", "authorized_users")
        keys += [key.ssh_key for key in account.all(SshKey)]
    return tuple(dict.fromkeys(keys))


def _user_data(body: Json) -> str:
    encoded = (body.get("metadata") or {}).get("user_data") or ""
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("user_data must be base64 encoded", "metadata.user_data") from None
    if len(decoded) > USER_DATA_LIMIT:
        raise Problem("Unencoded user_data must not exceed 65535 bytes", "metadata.user_data")
    return str(encoded)
