"""Linode instances over HTTP: views, and the table of routes."""

from collections.abc import Callable

from celadon.lab.api.balancers import balancer_view
from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.api.firewalls import firewall_view
from celadon.lab.facts import catalogue
from celadon.lab.world import firewalls, instance_parts, instances
from celadon.lab.world.account import State
from celadon.lab.world.objects import Balancer, Disk, Instance, InstanceConfig, JobKind, Lock, Node
from celadon.lab.world.problems import NotFound, Problem

INSTANCE = "/linode/instances/{instance:int}"
CONFIG, DISK = "/configs/{config:int}", "/disks/{disk:int}"
HIDDEN = ("rdns", "user_data", "authorized_keys", "backups_enabled")


def instance_view(state: State, instance: Instance) -> Json:
    plan = catalogue.type(instance.type)
    locks = [
        lock.lock_type for lock in state.all(Lock) if (lock.entity_type, lock.entity_id) == ("linode", instance.id)
    ]
    return {
        **shown(instance, *HIDDEN),
        "specs": {
            **{name: plan[name] for name in ("disk", "memory", "vcpus", "gpus", "transfer")},
            "accelerated_devices": plan.get("accelerated_devices", 0),
        },
        "backups": {
            "enabled": instance.backups_enabled,
            "available": False,
            "schedule": {"day": None, "window": None},
            "last_successful": None,
        },
        "has_user_data": bool(instance.user_data),
        "hypervisor": "kvm",
        "placement_group": None,
        "lke_cluster_id": None,
        "capabilities": [],
        "locks": locks,
    }


def address_view(state: State, instance: Instance, address: str) -> Json:
    public = address != instance.private_address
    network, _, _ = address.rpartition(".")
    interfaces = [each for config in instance_parts.configs_of(state, instance.id) for each in config.interfaces]
    in_vpc = next((each for each in interfaces if each["ipv4"] and each["ipv4"].get("nat_1_1")), None)
    nat = None
    if in_vpc and address == instance.ipv4[0]:
        nat = {"address": in_vpc["ipv4"]["vpc"], "subnet_id": in_vpc["subnet_id"], "vpc_id": in_vpc["vpc_id"]}
    return {
        "address": address,
        "gateway": f"{network}.1" if public else None,
        "subnet_mask": "255.255.255.0" if public else "255.255.128.0",
        "prefix": 24 if public else 17,
        "type": "ipv4",
        "public": public,
        "rdns": instance.rdns.get(address, f"{address}.ip.linodeusercontent.com") if public else None,
        "linode_id": instance.id,
        "interface_id": None,
        "region": instance.region,
        "vpc_nat_1_1": nat,
        "reserved": False,
        "tags": [],
    }


def addresses_view(state: State, instance: Instance) -> Json:
    """All lists are there, and empty rather than null: the provider reads them unchecked."""
    views = [address_view(state, instance, address) for address in instance.ipv4]
    slaac = instance.ipv6.removesuffix("/128")
    ipv6 = {"type": "ipv6", "linode_id": instance.id, "interface_id": None, "region": instance.region, "rdns": None}
    return {
        "ipv4": {
            "public": [view for view in views if view["public"]],
            "private": [view for view in views if not view["public"]],
            "shared": [],
            "reserved": [],
            "vpc": _vpc_addresses(state, instance),
        },
        "ipv6": {
            "link_local": _ipv6(ipv6, f"fe80::{slaac.removeprefix('2001:db8::')}", public=False),
            "slaac": _ipv6(ipv6, slaac, public=True),
            "global": [],
            "vpc": [],
        },
    }


def _ipv6(base: Json, address: str, *, public: bool) -> Json:
    mask = "ffff:ffff:ffff:ffff::"
    return {**base, "address": address, "gateway": "fe80::1", "prefix": 64, "public": public, "subnet_mask": mask}


def _vpc_addresses(state: State, instance: Instance) -> list[Json]:
    return [
        {
            "address": interface["ipv4"]["vpc"],
            "address_range": None,
            "vpc_id": interface["vpc_id"],
            "subnet_id": interface["subnet_id"],
            "region": instance.region,
            "linode_id": instance.id,
            "config_id": config.id,
            "interface_id": interface["id"],
            "active": True,
            "nat_1_1": interface["ipv4"]["nat_1_1"],
            "gateway": None,
            "prefix": 24,
            "subnet_mask": "255.255.255.0",
        }
        for config in instance_parts.configs_of(state, instance.id)
        for interface in config.interfaces
        if interface["ipv4"]
    ]


def config_view(config: InstanceConfig) -> Json:
    return {**shown(config, "linode_id"), "created": None, "updated": None}


def disk_view(disk: Disk) -> Json:
    return shown(disk, "linode_id")


def list_instances(call: Call) -> list[Json]:
    return [instance_view(call.state, instance) for instance in call.state.all(Instance)]


def create(call: Call) -> Json:
    instance = instances.create(call.account, call.body)
    return instance_view(call.account.state, instance)


def view(call: Call) -> Json:
    return instance_view(call.state, call.find(Instance, "instance"))


def update(call: Call) -> Json:
    instance = instances.update(call.account, call.id("instance"), call.body)
    return instance_view(call.account.state, instance)


def delete(call: Call) -> Json:
    instances.delete(call.account, call.id("instance"))
    return {}


def power(kind: JobKind) -> Callable[[Call], Json]:
    def answer(call: Call) -> Json:
        instances.power(call.account, call.id("instance"), kind)
        return {}

    return answer


def rebuild(call: Call) -> Json:
    instance = instances.rebuild(call.account, call.id("instance"), call.body)
    return instance_view(call.account.state, instance)


def list_addresses(call: Call) -> Json:
    return addresses_view(call.state, call.find(Instance, "instance"))


def add_address(call: Call) -> Json:
    linode_id = call.id("instance")
    if call.body["type"] != "ipv4":
        raise Problem("Must be one of ipv4", "type")
    address = instance_parts.add_address(call.account, linode_id, public=call.body["public"])
    state = call.account.state
    return address_view(state, state.find(Instance, linode_id), address)


def view_address(call: Call) -> Json:
    instance = call.find(Instance, "instance")
    if call.path["address"] not in instance.ipv4:
        raise NotFound
    return address_view(call.state, instance, call.path["address"])


def delete_address(call: Call) -> Json:
    instance_parts.drop_address(call.account, call.id("instance"), call.path["address"])
    return {}


def list_all_addresses(call: Call) -> list[Json]:
    return [
        address_view(call.state, instance, address)
        for instance in call.state.all(Instance)
        for address in instance.ipv4
    ]


def view_any_address(call: Call) -> Json:
    for row in list_all_addresses(call):
        if row["address"] == call.path["address"]:
            return row
    raise NotFound


def update_address(call: Call) -> Json:
    address = call.path["address"]
    instance = instance_parts.set_rdns(call.account, call.id("instance"), address, call.body.get("rdns"))
    return address_view(call.account.state, instance, address)


def update_any_address(call: Call) -> Json:
    address = call.path["address"]
    linode_id = view_any_address(call)["linode_id"]
    instance = instance_parts.set_rdns(call.account, linode_id, address, call.body.get("rdns"))
    return address_view(call.account.state, instance, address)


def backups(*, enabled: bool) -> Callable[[Call], Json]:
    def answer(call: Call) -> Json:
        call.account.amend(call.account.find(Instance, call.id("instance")), {"backups_enabled": enabled})
        return {}

    return answer


def list_configs(call: Call) -> list[Json]:
    instance = call.find(Instance, "instance")
    return [config_view(config) for config in instance_parts.configs_of(call.state, instance.id)]


def create_config(call: Call) -> Json:
    return config_view(instance_parts.add_config(call.account, call.id("instance"), call.body))


def view_config(call: Call) -> Json:
    ids = call.id("instance"), call.id("config")
    return config_view(instance_parts.part_of(call.state, InstanceConfig, *ids))


def update_config(call: Call) -> Json:
    ids = call.id("instance"), call.id("config")
    return config_view(instance_parts.update_config(call.account, *ids, call.body))


def delete_config(call: Call) -> Json:
    ids = call.id("instance"), call.id("config")
    call.account.drop(instance_parts.part_of(call.account.state, InstanceConfig, *ids))
    return {}


def list_disks(call: Call) -> list[Json]:
    instance = call.find(Instance, "instance")
    return [disk_view(disk) for disk in instance_parts.disks_of(call.state, instance.id)]


def create_disk(call: Call) -> Json:
    return disk_view(instance_parts.add_disk(call.account, call.id("instance"), call.body))


def view_disk(call: Call) -> Json:
    return disk_view(instance_parts.part_of(call.state, Disk, call.id("instance"), call.id("disk")))


def update_disk(call: Call) -> Json:
    disk = instance_parts.part_of(call.account.state, Disk, call.id("instance"), call.id("disk"))
    changes = {"label": call.body["label"]} if call.body.get("label") else {}
    return disk_view(call.account.amend(disk, changes))


def delete_disk(call: Call) -> Json:
    instance_parts.delete_disk(call.account, call.id("instance"), call.id("disk"))
    return {}


def list_firewalls(call: Call) -> list[Json]:
    instance = call.find(Instance, "instance")
    return [firewall_view(each) for each in firewalls.firewalls_of(call.state, instance.id, "linode")]


def list_balancers(call: Call) -> list[Json]:
    instance = call.find(Instance, "instance")
    ids = {node.nodebalancer_id for node in call.state.all(Node) if node.address.rpartition(":")[0] in instance.ipv4}
    return [balancer_view(call, balancer) for balancer in call.state.all(Balancer) if balancer.id in ids]


def list_databases(_: Call) -> list[Json]:
    """The lab has none; the provider asks before it removes a subnet."""
    return []


def list_nothing(call: Call) -> list[Json]:
    """Volumes: the lab has none, and clients ask."""
    call.find(Instance, "instance")
    return []


ENDPOINTS = (
    Endpoint("GET", "/linode/instances", "linodes", list_instances, "list"),
    Endpoint("POST", "/linode/instances", "linodes", create, "create_instance"),
    Endpoint("GET", INSTANCE, "linodes", view),
    Endpoint("PUT", INSTANCE, "linodes", update),
    Endpoint("DELETE", INSTANCE, "linodes", delete),
    Endpoint("POST", f"{INSTANCE}/boot", "linodes", power("boot")),
    Endpoint("POST", f"{INSTANCE}/reboot", "linodes", power("reboot")),
    Endpoint("POST", f"{INSTANCE}/shutdown", "linodes", power("shutdown")),
    Endpoint("POST", f"{INSTANCE}/rebuild", "linodes", rebuild),
    Endpoint("GET", f"{INSTANCE}/ips", "linodes", list_addresses),
    Endpoint("POST", f"{INSTANCE}/ips", "linodes", add_address),
    Endpoint("GET", f"{INSTANCE}/ips/{{address}}", "linodes", view_address),
    Endpoint("PUT", f"{INSTANCE}/ips/{{address}}", "linodes", update_address),
    Endpoint("DELETE", f"{INSTANCE}/ips/{{address}}", "linodes", delete_address),
    Endpoint("POST", f"{INSTANCE}/backups/enable", "linodes", backups(enabled=True)),
    Endpoint("POST", f"{INSTANCE}/backups/cancel", "linodes", backups(enabled=False)),
    Endpoint("GET", f"{INSTANCE}/configs", "linodes", list_configs, "list"),
    Endpoint("POST", f"{INSTANCE}/configs", "linodes", create_config),
    Endpoint("GET", f"{INSTANCE}{CONFIG}", "linodes", view_config),
    Endpoint("PUT", f"{INSTANCE}{CONFIG}", "linodes", update_config),
    Endpoint("DELETE", f"{INSTANCE}{CONFIG}", "linodes", delete_config),
    Endpoint("GET", f"{INSTANCE}/disks", "linodes", list_disks, "list"),
    Endpoint("POST", f"{INSTANCE}/disks", "linodes", create_disk),
    Endpoint("GET", f"{INSTANCE}{DISK}", "linodes", view_disk),
    Endpoint("PUT", f"{INSTANCE}{DISK}", "linodes", update_disk),
    Endpoint("DELETE", f"{INSTANCE}{DISK}", "linodes", delete_disk),
    Endpoint("GET", f"{INSTANCE}/firewalls", "linodes", list_firewalls, "list"),
    Endpoint("GET", f"{INSTANCE}/nodebalancers", "linodes", list_balancers, "list"),
    Endpoint("GET", f"{INSTANCE}/volumes", "linodes", list_nothing, "list"),
    Endpoint("GET", "/networking/ips", "ips", list_all_addresses, "list"),
    Endpoint("GET", "/networking/ips/{address}", "ips", view_any_address),
    Endpoint("PUT", "/networking/ips/{address}", "ips", update_any_address),
    Endpoint("GET", "/databases/instances", "databases", list_databases, "list"),
)
