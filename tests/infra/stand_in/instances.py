"""linode_instance: its calls in the provider's order, and its state."""

import secrets
from typing import Any

from tests.infra.stand_in.api import NOT_FOUND, Answered, Api
from tests.infra.stand_in.planning import RESOURCES, blank, differs
from tests.infra.stand_in.wire import Json

KIND = "linode_instance"
PATH = "/linode/instances"
NEWEST: Json = {"+order": "desc", "+order_by": "created"}

# What the API never tells: it stays as the configuration said.
ONLY_SAID = (
    "authorized_keys", "authorized_users", "root_pass", "metadata", "backup_id", "firewall_id", "stackscript_id",
    "stackscript_data", "resize_disk", "migration_type", "network_helper", "timeouts", "group",
    "placement_group_externally_managed", "boot_config_label",
)  # fmt: skip


class Instances:
    def create(self, api: Api, plan: Json) -> Json:
        body: Json = {
            "region": plan["region"],
            "type": plan["type"],
            "label": plan["label"],
            "group": plan["group"],
            "root_pass": plan["root_pass"] or f"Random-{secrets.token_urlsafe(24)}",
            "authorized_keys": plan["authorized_keys"],
            "authorized_users": plan["authorized_users"],
            "image": plan["image"],
            "interfaces": _interfaces_asked(plan["interface"]),
            "backups_enabled": bool(plan["backups_enabled"]),
            "private_ip": bool(plan["private_ip"]),
            "tags": plan["tags"],
            "metadata": plan["metadata"][0] if plan["metadata"] else None,
            "firewall_id": plan["firewall_id"],
            "swap_size": plan["swap_size"],
            "booted": plan["booted"],
            "placement_group": None,
            "interface_generation": plan["interface_generation"],
            "disk_encryption": plan["disk_encryption"],
            "maintenance_policy": plan["maintenance_policy"],
        }
        made = api.post(PATH, {name: value for name, value in body.items() if value is not None})
        path = f"{PATH}/{made['id']}"
        if plan["watchdog_enabled"] is False:
            api.put(path, {"watchdog_enabled": False})
        wanted = "running" if plan["image"] and plan["booted"] is not False else "offline"
        api.until(f"{plan['label']} is {wanted}", lambda: api.get(path)["status"] == wanted)
        return _state(api, made["id"], plan)

    def read(self, api: Api, state: Json) -> Json | None:
        try:
            return _state(api, state["id"], state)
        except Answered as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return None

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        path = f"{PATH}/{prior['id']}"
        now = api.get(path)
        change = {
            name: plan[name]
            for name in ("label", "tags", "group", "watchdog_enabled", "maintenance_policy")
            if plan[name] is not None and differs(RESOURCES[KIND]["block"], name, plan[name], prior[name])
        }
        api.put(path, {"label": plan["label"], "tags": plan["tags"] or [], **change, "backups": {"schedule": {}}})
        api.get(f"/linode/types/{now['type']}")
        api.get(f"/linode/types/{plan['type']}")
        for name in ("type", "region", "private_ip", "interface"):
            if plan[name] != prior[name]:
                raise Answered("update", path, 0, f"the stand-in changes no {name} of an instance that exists")
        for config in api.rows(f"{path}/configs"):
            fields = ("label", "devices", "helpers", "interfaces", "memory_limit", "kernel", "run_level", "virt_mode")
            api.put(f"{path}/configs/{config['id']}", {name: config[name] for name in (*fields, "root_device")})
        api.rows(f"{path}/disks")
        return _state(api, prior["id"], plan)

    def delete(self, api: Api, state: Json) -> None:
        about = {"entity.id": int(state["id"]), "entity.type": "linode", "action": "linode_delete", **NEWEST}
        before = {event["id"] for event in api.rows("/account/events", where=about)}
        api.delete(f"{PATH}/{state['id']}", gone_is_fine=False)
        found: list[int] = []

        def seen() -> bool:
            found[:] = [event["id"] for event in api.rows("/account/events", where=about) if event["id"] not in before]
            return bool(found)

        api.until(f"{state['label']}: its deletion began", seen)
        event = f"/account/events/{found[0]}"
        api.until(f"{state['label']} is deleted", lambda: api.get(event)["status"] == "finished")

    def imported(self, id_: str) -> Json:
        return {**blank(KIND), "id": id_, "timeouts": None}


def _state(api: Api, id_: Any, before: Json) -> Json:
    path = f"{PATH}/{id_}"
    seen = api.get(path)
    addresses = api.get(f"{path}/ips")["ipv4"]
    disks = api.rows(f"{path}/disks")
    configs = api.rows(f"{path}/configs")
    private = [each["address"] for each in addresses["private"]]
    public = [each["address"] for each in addresses["public"]]
    interfaces = configs[0]["interfaces"] if configs else []
    backups = {**seen["backups"], "schedule": [seen["backups"]["schedule"]]}
    return {
        **blank(KIND),
        **{name: before[name] for name in ONLY_SAID},
        "id": str(seen["id"]),
        **{name: seen[name] for name in (
            "label", "region", "type", "image", "status", "tags", "ipv4", "ipv6", "watchdog_enabled", "host_uuid",
            "has_user_data", "lke_cluster_id", "capabilities", "locks", "disk_encryption", "interface_generation",
            "maintenance_policy",
        )},
        "specs": [seen["specs"]],
        "alerts": [seen["alerts"]],
        "backups": [{name: backups[name] for name in ("available", "enabled", "schedule")}],
        "backups_enabled": seen["backups"]["enabled"],
        "booted": seen["status"] == "running",
        "ip_address": public[0] if public else "",
        "private_ip": bool(private),
        "private_ip_address": private[0] if private else "",
        "shared_ipv4": [each["address"] for each in addresses["shared"]],
        "swap_size": sum(disk["size"] for disk in disks if disk["filesystem"] == "swap"),
        "interface": [_interface(each, said) for each, said in _beside(interfaces, before["interface"])],
    }  # fmt: skip


def _beside(interfaces: list[Json], said: list[Json]) -> list[tuple[Json, Json | None]]:
    return [(each, said[index] if index < len(said or []) else None) for index, each in enumerate(interfaces)]


def _interfaces_asked(blocks: list[Json]) -> list[Json] | None:
    return [
        {
            "purpose": each["purpose"],
            "primary": bool(each["primary"]),
            "subnet_id": each["subnet_id"],
            "ipv4": {name: value for name, value in each["ipv4"][0].items() if value} if each["ipv4"] else None,
        }
        for each in blocks
    ] or None


def _interface(seen: Json, said: Json | None) -> Json:
    """`nat_1_1 = "any"` stays what was said: what it became is an address among the others."""
    asked = said["ipv4"][0]["nat_1_1"] if said and said["ipv4"] else None
    ipv4 = seen["ipv4"]
    return {
        "active": seen.get("active", True),
        "id": seen["id"],
        "ip_ranges": seen.get("ip_ranges") or None,
        "ipam_address": seen.get("ipam_address") or None,
        "label": seen.get("label") or None,
        "primary": seen["primary"],
        "purpose": seen["purpose"],
        "subnet_id": seen["subnet_id"],
        "vpc_id": seen["vpc_id"],
        "ipv4": [{"nat_1_1": asked or ipv4["nat_1_1"], "vpc": ipv4["vpc"]}] if ipv4 else [],
        "ipv6": [],
    }
