"""Linode instances: create, change, power, delete; their disks, configs and addresses."""

import base64
import binascii
import ipaddress
import uuid
from collections.abc import Collection
from typing import TypeVar

from celadon.lab.facts import catalogue
from celadon.lab.world import firewalls, locks
from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.addresses import first_free, private_address, public_ipv6
from celadon.lab.world.objects import (
    BalancerVpc,
    Disk,
    Event,
    Instance,
    InstanceConfig,
    Job,
    JobKind,
    Json,
    Node,
    SshKey,
    Subnet,
)
from celadon.lab.world.problems import NotFound, Problem
from celadon.lab.world.profile import KEY
from celadon.lab.world.tags import clean_tags

Part = TypeVar("Part", Disk, InstanceConfig)

USER_DATA_LIMIT = 65_535  # bytes, decoded: the API's own sentence
SWAP_MB = 512
ALERTS: Json = {"cpu": 90, "io": 10_000, "network_in": 10, "network_out": 10, "transfer_quota": 80}
HELPERS: Json = {
    "updatedb_disabled": True,
    "distro": True,
    "modules_dep": True,
    "network": True,
    "devtmpfs_automount": True,
}
NO_DEVICES: Json = dict.fromkeys(("sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh"))
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
    public = _public_address(account.state)
    private = (private_address(_addresses(account.state)),) if body.get("private_ip") else ()
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
        _install(account, instance, image["label"], chosen["disk"], swap, body.get("interfaces") or [])
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
    _wipe(account, linode_id)
    changes: Json = {"image": image["id"], "status": "rebuilding", "authorized_keys": keys}
    if body.get("metadata"):
        changes["user_data"] = _user_data(body)
    changed = account.amend(instance, {**changes, "updated": account.stamp()})
    _install(account, changed, image["label"], catalogue.type(changed.type)["disk"], SWAP_MB, [])
    _begin(account, changed, "rebuild", boot=body.get("booted") is not False)
    return changed


def delete(account: Account, linode_id: int) -> None:
    """Gone at once, and with it, silently, every NodeBalancer node at its addresses (documented in issues only)."""
    instance = account.find(Instance, linode_id)
    locks.refuse_delete(account, "linode", linode_id)
    account.drop_where(Node, lambda node: node.address.rpartition(":")[0] in instance.ipv4)
    account.drop_where(Job, lambda job: job.linode_id == linode_id)
    _wipe(account, linode_id)
    firewalls.detach_all(account, linode_id, "linode")
    account.drop(instance)
    event = account.note("linode_delete", about(instance), "scheduled")
    account.put(Job(id=account.new_id(), kind="delete", linode_id=linode_id, event_id=event.id))


def add_address(account: Account, linode_id: int, *, public: bool) -> str:
    instance = account.find(Instance, linode_id)
    if not public and instance.private_address:
        raise Problem("Linode already has a private IP address", "public")
    address = _public_address(account.state) if public else private_address(_addresses(account.state))
    changed = account.amend(instance, {"ipv4": (*instance.ipv4, address), "updated": account.stamp()})
    account.note("linode_addip", about(changed))
    return address


def drop_address(account: Account, linode_id: int, address: str) -> None:
    instance = account.find(Instance, linode_id)
    if address not in instance.ipv4:
        raise NotFound
    if address in (instance.ipv4[0], instance.private_address):
        raise Problem("You cannot delete the last public address or a private address of a Linode")
    changed = account.amend(instance, {"ipv4": tuple(each for each in instance.ipv4 if each != address)})
    account.note("linode_deleteip", about(changed))


def add_disk(account: Account, linode_id: int, body: Json) -> Disk:
    instance = account.find(Instance, linode_id)
    refuse_busy(account, linode_id)
    disks = disks_of(account.state, linode_id)
    if sum(disk.size for disk in disks) + body["size"] > catalogue.type(instance.type)["disk"]:
        raise Problem("Insufficient space for this disk", "size")
    now = account.stamp()
    disk_id = account.new_id()
    label = body.get("label") or f"Disk {disk_id}"
    filesystem = body.get("filesystem") or "ext4"
    return account.put(
        Disk(
            id=disk_id,
            linode_id=linode_id,
            label=label,
            size=body["size"],
            filesystem=filesystem,
            created=now,
            updated=now,
        )
    )


def delete_disk(account: Account, linode_id: int, disk_id: int) -> None:
    refuse_busy(account, linode_id)
    account.drop(part_of(account.state, Disk, linode_id, disk_id))


def add_config(account: Account, linode_id: int, body: Json) -> InstanceConfig:
    account.find(Instance, linode_id)
    config = InstanceConfig(id=account.new_id(), linode_id=linode_id, label=body["label"], devices=NO_DEVICES)
    account.put(config)
    return update_config(account, linode_id, config.id, body)


def update_config(account: Account, linode_id: int, config_id: int, body: Json) -> InstanceConfig:
    config = part_of(account.state, InstanceConfig, linode_id, config_id)
    changes = {
        name: body[name]
        for name in ("label", "comments", "kernel", "memory_limit", "run_level", "virt_mode", "root_device")
        if body.get(name) is not None
    }
    if body.get("devices") is not None:
        changes["devices"] = {**NO_DEVICES, **body["devices"]}
    if body.get("helpers") is not None:
        changes["helpers"] = {**config.helpers, **body["helpers"]}
    if body.get("interfaces") is not None:
        changes["interfaces"] = interfaces(account, body["interfaces"])
    return account.amend(config, changes)


def refuse_busy(account: Account, linode_id: int) -> None:
    """The exact text that linodego waits and retries on."""
    if any(job.linode_id == linode_id for job in account.all(Job)):
        raise Problem("Linode busy.")


def part_of(state: State, kind: type[Part], linode_id: int, part_id: int) -> Part:
    part = state.find(kind, part_id)
    if part.linode_id != linode_id:
        raise NotFound
    return part


def disks_of(state: State, linode_id: int) -> list[Disk]:
    return [disk for disk in state.all(Disk) if disk.linode_id == linode_id]


def configs_of(state: State, linode_id: int) -> list[InstanceConfig]:
    return [config for config in state.all(InstanceConfig) if config.linode_id == linode_id]


def about(instance: Instance) -> Json:
    return entity("linode", instance.id, instance.label, f"/v4/linode/instances/{instance.id}")


def _begin(
    account: Account, instance: Instance, kind: JobKind, *, boot: bool = True, secondary: Json | None = None
) -> Event:
    event = account.note(TRANSITIONS[kind][1], about(instance), "scheduled", secondary)
    account.put(Job(id=account.new_id(), kind=kind, linode_id=instance.id, event_id=event.id, boot=boot))
    return event


def _install(account: Account, instance: Instance, image: str, space: int, swap: int, wanted: list[Json]) -> None:
    """The disks and the one config that an instance made from an image has (linodego reads `devices` unchecked)."""
    now = account.stamp()
    devices = dict(NO_DEVICES)
    sizes = [(f"{image} Disk", "ext4", space - swap), (f"{swap} MB Swap Image", "swap", swap)]
    for device, (label, filesystem, size) in zip(("sda", "sdb"), sizes, strict=True):
        if size <= 0:
            continue
        disk = Disk(
            id=account.new_id(),
            linode_id=instance.id,
            label=label,
            size=size,
            filesystem=filesystem,
            created=now,
            updated=now,
            disk_encryption=instance.disk_encryption,
        )
        account.put(disk)
        devices[device] = {"disk_id": disk.id, "volume_id": None}
    account.put(
        InstanceConfig(
            id=account.new_id(),
            linode_id=instance.id,
            label=f"My {image} Disk Profile",
            devices=devices,
            helpers=HELPERS,
            interfaces=interfaces(account, wanted),
        )
    )


def interfaces(account: Account, wanted: list[Json]) -> tuple[Json, ...]:
    """Legacy interfaces. One with purpose `vpc` gets an address of its subnet unless it names one."""
    made: list[Json] = []
    for each in wanted:
        shown: Json = {
            "id": account.new_id(),
            "purpose": each.get("purpose") or "public",
            "label": each.get("label"),
            "ipam_address": each.get("ipam_address"),
            "primary": bool(each.get("primary")),
            "active": True,
            "vpc_id": None,
            "subnet_id": None,
            "ipv4": None,
            "ip_ranges": each.get("ip_ranges") or [],
        }
        if shown["purpose"] == "vpc":
            subnet = account.find(Subnet, each.get("subnet_id") or 0)
            asked = each.get("ipv4") or {}
            address = asked.get("vpc") or vpc_address(account.state, subnet, made)
            ipv4 = {"vpc": address, "nat_1_1": asked.get("nat_1_1")}
            shown |= {"subnet_id": subnet.id, "vpc_id": subnet.vpc_id, "ipv4": ipv4}
        made.append(shown)
    return tuple(made)


def vpc_address(state: State, subnet: Subnet, also: Collection[Json] = ()) -> str:
    used = [each for config in state.all(InstanceConfig) for each in config.interfaces] + list(also)
    taken = {each["ipv4"]["vpc"] for each in used if each["subnet_id"] == subnet.id and each["ipv4"]}
    reserved = [ipaddress.ip_network(vpc.ipv4_range) for vpc in state.all(BalancerVpc) if vpc.subnet_id == subnet.id]
    hosts = list(ipaddress.ip_network(subnet.ipv4).hosts())[1:]  # the first is the gateway
    free = (str(host) for host in hosts if not any(host in network for network in reserved))
    return first_free(free, taken)


def _wipe(account: Account, linode_id: int) -> None:
    account.drop_where(Disk, lambda disk: disk.linode_id == linode_id)
    account.drop_where(InstanceConfig, lambda config: config.linode_id == linode_id)


def _unique_label(account: Account, label: str) -> str:
    if any(instance.label == label for instance in account.all(Instance)):
        raise Problem("Label must be unique among your linodes", "label")
    return label


def _addresses(state: State) -> set[str]:
    return {address for instance in state.all(Instance) for address in instance.ipv4}


def _public_address(state: State) -> str:
    return state.block.instance_address(_addresses(state))


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
