"""NodeBalancers, their configs and nodes: calls in the provider's order, and their states."""

from tests.infra.stand_in.api import Api
from tests.infra.stand_in.planning import blank
from tests.infra.stand_in.wire import Json

PATH = "/nodebalancers"
CONFIG = (
    "port", "protocol", "proxy_protocol", "algorithm", "stickiness", "check", "check_interval", "check_timeout",
    "check_attempts", "check_path", "check_body", "check_passive", "udp_check_port", "ssl_cert", "ssl_key",
)  # fmt: skip
SECRETS = ("ssl_cert", "ssl_key")


class Balancers:
    kind = "linode_nodebalancer"

    def create(self, api: Api, plan: Json) -> Json:
        body = {
            "label": plan["label"],
            "region": plan["region"],
            "client_conn_throttle": plan["client_conn_throttle"],
            "client_udp_sess_throttle": plan["client_udp_sess_throttle"],
            "firewall_id": plan["firewall_id"],
            "tags": plan["tags"],
            "vpcs": [{name: value for name, value in vpc.items() if value} for vpc in plan["vpcs"] or []] or None,
            "configs": None,
        }
        made = api.post(PATH, {name: value for name, value in body.items() if value is not None})
        return self._state(api, made, plan)

    def read(self, api: Api, state: Json) -> Json | None:
        seen = api.maybe(f"{PATH}/{state['id']}")
        return None if seen is None else self._state(api, seen, state)

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        change = {name: plan[name] for name in ("label", "client_conn_throttle", "client_udp_sess_throttle")}
        return self._state(api, api.put(f"{PATH}/{prior['id']}", {**change, "tags": plan["tags"] or []}), plan)

    def delete(self, api: Api, state: Json) -> None:
        api.delete(f"{PATH}/{state['id']}")

    def imported(self, id_: str) -> Json:
        return {**blank(self.kind), "id": id_}

    def _state(self, api: Api, seen: Json, said: Json) -> Json:
        walls = api.rows(f"{PATH}/{seen['id']}/firewalls")
        vpcs = api.rows(f"{PATH}/{seen['id']}/vpcs")
        names = ("label", "region", "client_conn_throttle", "client_udp_sess_throttle", "tags", "hostname", "ipv4",
                 "ipv6", "created", "updated")  # fmt: skip
        return {
            **blank(self.kind),
            **{name: seen[name] for name in names},
            "id": str(seen["id"]),
            "firewall_id": said["firewall_id"],
            "firewalls": [_firewall(wall) for wall in walls],
            "transfer": [seen["transfer"]],
            "vpcs": [
                {"subnet_id": vpc["subnet_id"], "ipv4_range": vpc["ipv4_range"], "ipv6_range": vpc["ipv6_range"],
                 "ipv4_range_auto_assign": None}
                for vpc in vpcs
            ] or None,
        }  # fmt: skip


class Configs:
    kind = "linode_nodebalancer_config"

    def create(self, api: Api, plan: Json) -> Json:
        body = {**_asked(plan), "nodes": None}
        made = api.post(f"{PATH}/{plan['nodebalancer_id']}/configs", body)
        return self._state(made, plan)

    def read(self, api: Api, state: Json) -> Json | None:
        seen = api.maybe(self._path(state))
        return None if seen is None else self._state(seen, state)

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        return self._state(api.put(self._path(prior), _asked(plan)), plan)

    def delete(self, api: Api, state: Json) -> None:
        api.delete(self._path(state))

    def imported(self, id_: str) -> Json:
        balancer, config = id_.split(",")
        return {**blank(self.kind), "id": config, "nodebalancer_id": int(balancer)}

    def _path(self, state: Json) -> str:
        return f"{PATH}/{state['nodebalancer_id']}/configs/{state['id']}"

    def _state(self, seen: Json, said: Json) -> Json:
        return {
            **blank(self.kind),
            **{name: seen[name] for name in CONFIG if name not in SECRETS},
            **{name: said[name] for name in SECRETS},  # the API shows neither
            **{name: seen[name] for name in ("cipher_suite", "ssl_commonname", "ssl_fingerprint")},
            "udp_session_timeout": seen["udp_session_timeout"],
            "node_status": [seen["nodes_status"]],
            "nodebalancer_id": said["nodebalancer_id"],
            "id": str(seen["id"]),
        }


class Nodes:
    kind = "linode_nodebalancer_node"

    def create(self, api: Api, plan: Json) -> Json:
        body = {name: plan[name] for name in ("address", "label", "mode", "weight", "subnet_id")}
        made = api.post(self._parent(plan), {name: value for name, value in body.items() if value is not None})
        return self._state(api, made, plan)

    def read(self, api: Api, state: Json) -> Json | None:
        seen = api.maybe(f"{self._parent(state)}/{state['id']}")
        return None if seen is None else self._state(api, seen, state)

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        names = ("address", "label", "mode", "weight")
        change = {name: plan[name] for name in names if plan[name] is not None and plan[name] != prior[name]}
        return self._state(api, api.put(f"{self._parent(prior)}/{prior['id']}", change), plan)

    def delete(self, api: Api, state: Json) -> None:
        """Terraform removes nodes before their instance, so a node that is gone was not ours to lose: an error."""
        api.delete(f"{self._parent(state)}/{state['id']}", gone_is_fine=False)

    def imported(self, id_: str) -> Json:
        balancer, config, node = id_.split(",")
        return {**blank(self.kind), "id": node, "nodebalancer_id": int(balancer), "config_id": int(config)}

    def _parent(self, state: Json) -> str:
        return f"{PATH}/{state['nodebalancer_id']}/configs/{state['config_id']}/nodes"

    def _state(self, api: Api, seen: Json, said: Json) -> Json:
        vpc = api.maybe(f"{PATH}/{said['nodebalancer_id']}/vpcs/{seen['vpc_config_id'] or 0}")
        return {
            **blank(self.kind),
            **{name: seen[name] for name in ("address", "label", "mode", "weight", "status", "vpc_config_id")},
            "id": str(seen["id"]),
            "nodebalancer_id": said["nodebalancer_id"],
            "config_id": said["config_id"],
            "subnet_id": vpc["subnet_id"] if vpc else None,
        }


def _asked(plan: Json) -> Json:
    """Every field, with and without change; a certificate only where there is one. `cipher_suite` is never sent."""
    return {name: plan[name] for name in CONFIG if plan[name] is not None}


def _firewall(wall: Json) -> Json:
    rules = wall["rules"]
    return {
        **{name: wall[name] for name in ("id", "label", "tags", "status", "created", "updated")},
        **{f"{way}_policy": rules[f"{way}_policy"] for way in ("inbound", "outbound")},
        **{way: [_rule(rule) for rule in rules[way] or []] for way in ("inbound", "outbound")},
    }


def _rule(rule: Json) -> Json:
    addresses = rule.get("addresses") or {}
    return {
        **{name: rule.get(name) for name in ("action", "label", "protocol", "ports", "description")},
        "ipv4": addresses.get("ipv4") or None,
        "ipv6": addresses.get("ipv6") or None,
    }


firewall_rule = _rule
