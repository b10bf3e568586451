"""What an instance is made of: disks, configs with their interfaces, addresses."""

import ipaddress
from collections.abc import Collection
from typing import TypeVar

from celadon.lab.facts import catalogue
from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.addresses import first_free, private_address
from celadon.lab.world.objects import BalancerVpc, Disk, Instance, InstanceConfig, Job, Json, Subnet
from celadon.lab.world.problems import NotFound, Problem

Part = TypeVar("Part", Disk, InstanceConfig)

SWAP_MB = 512
HELPERS: Json = {
    "updatedb_disabled": True,
    "distro": True,
    "modules_dep": True,
    "network": True,
    "devtmpfs_automount": True,
}
NO_DEVICES: Json = dict.fromkeys(("sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh"))


def install(account: Account, instance: Instance, image: str, space: int, swap: int, wanted: list[Json]) -> None:
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


def wipe(account: Account, linode_id: int) -> None:
    account.drop_where(Disk, lambda disk: disk.linode_id == linode_id)
    account.drop_where(InstanceConfig, lambda config: config.linode_id == linode_id)


def add_address(account: Account, linode_id: int, *, public: bool) -> str:
    instance = account.find(Instance, linode_id)
    if not public and instance.private_address:
        raise Problem("Linode already has a private IP address", "public")
    address = public_address(account.state) if public else private_address(addresses(account.state))
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


def set_rdns(account: Account, linode_id: int, address: str, name: str | None) -> Instance:
    """None: back to the name that Linode gives."""
    instance = account.find(Instance, linode_id)
    if address not in instance.ipv4:
        raise NotFound
    if address == instance.private_address:
        raise Problem("Private addresses have no reverse name", "rdns")
    names = {each: held for each, held in instance.rdns.items() if each != address}
    changed = account.amend(instance, {"rdns": {**names, address: name} if name else names})
    account.note("ipaddress_update", about(changed))
    return changed


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


def addresses(state: State) -> set[str]:
    return {address for instance in state.all(Instance) for address in instance.ipv4}


def public_address(state: State) -> str:
    return state.block.instance_address(addresses(state))


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
