"""Plans in the words of `terraform show -json`, built from one estate as the module makes it.

The shapes are those that Terraform 1.11 wrote for the module on the lab (`test_module.py` compares the two).
"""

import copy
import json
from typing import Any

Json = dict[str, Any]
AT = "module.celadon"
BLUE1, BLUE2, GREEN1, GREEN2 = ("blue-1", "blue-2", "green-1", "green-2")
NUMBERS = {BLUE1: 11, BLUE2: 12, GREEN1: 21, GREEN2: 22}
PORTS = {80: 71, 443: 72}
BALANCER = 7
KEY = "-----BEGIN PRIVATE KEY-----\nnever shown\n-----END PRIVATE KEY-----"


def instance(name: str) -> Json:
    number = NUMBERS[name]
    return {
        "id": str(number),
        "label": name,
        "region": "us-ord",
        "type": "g6-nanode-1",
        "image": "linode/debian12",
        "private_ip": True,
        "private_ip_address": f"192.168.130.{number}",
        "ip_address": f"203.0.113.{number}",
        "ipv4": [f"192.168.130.{number}", f"203.0.113.{number}"],
        "firewall_id": 900,
        "authorized_keys": ["ssh-ed25519 AAAA admin"],
        "metadata": [{"user_data": KEY}],
        "tags": ["shop", name.split("-", maxsplit=1)[0]],
        "booted": True,
        "root_pass": None,
        "status": "running",
        "interface": [],
        "watchdog_enabled": True,
        "backups_enabled": False,
    }


def balancer() -> Json:
    return {
        "id": str(BALANCER), "label": "shop-nb", "region": "us-ord", "firewall_id": 901, "client_conn_throttle": 0,
        "ipv4": "198.51.100.7", "tags": ["shop"],
    }  # fmt: skip


def config(port: int) -> Json:
    tls = port == 443
    return {
        "id": str(PORTS[port]), "nodebalancer_id": BALANCER, "port": port, "protocol": "https" if tls else "http",
        "check": "http", "check_path": "/", "check_passive": False, "check_interval": 5, "stickiness": "none",
        "algorithm": "roundrobin", "ssl_cert": "CERT" if tls else None, "ssl_key": KEY if tls else None,
    }  # fmt: skip


def node(name: str, port: int) -> Json:
    return {
        "id": str(node_id(name, port)), "nodebalancer_id": BALANCER, "config_id": PORTS[port], "label": name,
        "address": f"192.168.130.{NUMBERS[name]}:5000", "weight": 100, "subnet_id": None,
        "mode": "accept" if name in (BLUE1, BLUE2) else "reject",
    }  # fmt: skip


def node_id(name: str, port: int) -> int:
    return PORTS[port] * 100 + NUMBERS[name]


def rule(label: str, ports: str, source: str) -> Json:
    return {"label": label, "action": "ACCEPT", "protocol": "TCP", "ports": ports, "ipv4": [source], "ipv6": None}


def firewall() -> Json:
    return {
        "id": "900", "label": "shop-app", "inbound_policy": "DROP", "outbound_policy": "ACCEPT", "disabled": False,
        "inbound": [rule("app", "5000", "192.168.255.0/24"), rule("ssh", "22", "203.0.113.0/24")],
        "linodes": sorted(NUMBERS.values()), "nodebalancers": [], "tags": ["shop"],
    }  # fmt: skip


def edge() -> Json:
    return {
        "id": "901", "label": "shop-edge", "inbound_policy": "DROP", "outbound_policy": "ACCEPT", "disabled": False,
        "inbound": [rule("web", "80, 443", "0.0.0.0/0")], "linodes": [], "nodebalancers": [BALANCER], "tags": [],
    }  # fmt: skip


def record() -> Json:
    return {"id": "5", "domain_id": 4, "name": "www", "record_type": "A", "target": "198.51.100.7", "ttl_sec": 300}


def estate() -> dict[str, tuple[str, Json]]:
    """Address to (type, values) of all that is there."""
    found: dict[str, tuple[str, Json]] = {}
    for name in NUMBERS:
        found[f'{AT}.linode_instance.app["{name}"]'] = ("linode_instance", instance(name))
        for port in PORTS:
            address = f'{AT}.linode_nodebalancer_node.p{port}["{name}"]'
            found[address] = ("linode_nodebalancer_node", node(name, port))
    found[f"{AT}.linode_nodebalancer.this"] = ("linode_nodebalancer", balancer())
    for port in PORTS:
        found[f"{AT}.linode_nodebalancer_config.p{port}"] = ("linode_nodebalancer_config", config(port))
    found[f"{AT}.linode_firewall.app"] = ("linode_firewall", firewall())
    found[f"{AT}.linode_firewall.edge"] = ("linode_firewall", edge())
    found[f"{AT}.linode_domain_record.a[0]"] = ("linode_domain_record", record())
    return found


def vm(name: str) -> str:
    return f'{AT}.linode_instance.app["{name}"]'


def nd(name: str, port: int = 80) -> str:
    return f'{AT}.linode_nodebalancer_node.p{port}["{name}"]'


def nb() -> str:
    return f"{AT}.linode_nodebalancer.this"


def cf(port: int) -> str:
    return f"{AT}.linode_nodebalancer_config.p{port}"


class PlanBuilder:
    """`PlanBuilder().replace(vm("blue-1"), image="linode/debian13").json`"""

    def __init__(self, *, there: bool = True) -> None:
        self.there = estate() if there else {}
        self.changes: dict[str, Json] = {}
        self.top: Json = {}

    def replace(
        self, at: str, /, *forced: str, reason: str = "replace_because_cannot_update", **after: Any
    ) -> "PlanBuilder":
        paths = [name.split(".") for name in forced] or [[name] for name in after]
        change = self._existing(at, ["delete", "create"], after)
        change["after"].pop("id", None)
        change["after_unknown"]["id"] = True
        if not reason.endswith("tainted"):
            change["replace_paths"] = [[part if not part.isdigit() else int(part) for part in path] for path in paths]
        self.changes[at]["action_reason"] = reason
        return self

    def update(self, at: str, /, *unknown: str, **after: Any) -> "PlanBuilder":
        change = self._existing(at, ["update"], after)
        for name in unknown:
            change["after"].pop(name, None)
            change["after_unknown"][name] = True
        return self

    def delete(self, address: str, reason: str = "delete_because_no_resource_config") -> "PlanBuilder":
        change = self._existing(address, ["delete"], {})
        change |= {"after": None, "after_unknown": {}}
        self.changes[address]["action_reason"] = reason
        return self

    def forget(self, address: str) -> "PlanBuilder":
        change = self._existing(address, ["forget"], {})
        change |= {"after": None, "after_unknown": {}}
        return self

    def create(self, address: str, kind: str, values: Json, *unknown: str) -> "PlanBuilder":
        values = {name: value for name, value in values.items() if name != "id"}
        change: Json = {"actions": ["create"], "before": None, "after": values, "after_unknown": {"id": True}}
        change["after_unknown"] |= dict.fromkeys(unknown, True)
        self.changes[address] = self._resource(address, kind, change)
        return self

    def destroy_all(self) -> "PlanBuilder":
        for address in self.there:
            self.delete(address, "")
        return self

    def with_top(self, **values: Any) -> "PlanBuilder":
        self.top |= values
        return self

    @property
    def tree(self) -> Json:
        unchanged = {}
        for address, (kind, values) in self.there.items():
            if address not in self.changes:
                change = {"actions": ["no-op"], "before": values, "after": values, "after_unknown": {}}
                unchanged[address] = self._resource(address, kind, change)
        changes = [*unchanged.values(), *self.changes.values()]
        later = [self._state(c["address"], c["type"], c["change"]["after"]) for c in changes if c["change"]["after"]]
        now = [self._state(address, kind, values) for address, (kind, values) in self.there.items()]
        return {
            "format_version": "1.2",
            "terraform_version": "1.11.4",
            "planned_values": {"root_module": {"child_modules": [{"address": AT, "resources": later}]}},
            "resource_changes": changes,
            "prior_state": {
                "format_version": "1.0",
                "values": {"root_module": {"child_modules": [{"address": AT, "resources": now}]}},
            },
            "configuration": {"root_module": {}},
            "timestamp": "2026-11-24T19:50:15Z",
            "applyable": True,
            "complete": True,
            "errored": False,
            **self.top,
        }

    @property
    def json(self) -> bytes:
        return json.dumps(self.tree).encode()

    def _existing(self, address: str, actions: list[str], after: Json) -> Json:
        kind, before = self.there[address]
        change: Json = {
            "actions": actions,
            "before": copy.deepcopy(before),
            "after": {**copy.deepcopy(before), **after},
            "after_unknown": {},
            "before_sensitive": self._sensitive(kind),
            "after_sensitive": self._sensitive(kind),
        }
        self.changes[address] = self._resource(address, kind, change)
        return change

    def _sensitive(self, kind: str) -> Json:
        parts = {"linode_instance": {"root_pass": True, "metadata": [{"user_data": True}]}}
        return parts.get(kind, {"ssl_key": True, "ssl_cert": True})

    def _resource(self, address: str, kind: str, change: Json) -> Json:
        return {
            "address": address, "mode": "managed", "type": kind, "name": address.rpartition(".")[2],
            "provider_name": "registry.terraform.io/linode/linode", "change": change,
        }  # fmt: skip

    def _state(self, address: str, kind: str, values: Json) -> Json:
        return {"address": address, "mode": "managed", "type": kind, "values": values}
