"""Firewalls, VPCs, domains and keys: calls in the provider's order, and their states."""

from typing import Any

from tests.infra.stand_in.api import Api
from tests.infra.stand_in.balancers import firewall_rule
from tests.infra.stand_in.planning import blank
from tests.infra.stand_in.wire import Json

WALLS = "/networking/firewalls"


class Firewalls:
    kind = "linode_firewall"

    def create(self, api: Api, plan: Json) -> Json:
        devices = {name: plan[name] for name in ("linodes", "nodebalancers") if plan[name]}
        body = {"label": plan["label"], "tags": plan["tags"], "rules": _rules(plan), "devices": devices or None}
        made = api.post(WALLS, body)
        if plan["disabled"]:
            made = api.put(f"{WALLS}/{made['id']}", {"status": "disabled"})
        return self._state(api, made)

    def read(self, api: Api, state: Json) -> Json | None:
        seen = api.maybe(f"{WALLS}/{state['id']}")
        return None if seen is None else self._state(api, seen)

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        path = f"{WALLS}/{prior['id']}"
        status = "disabled" if plan["disabled"] else "enabled"
        seen = api.put(path, {"label": plan["label"], "tags": plan["tags"] or [], "status": status})
        api.put(f"{path}/rules", _rules(plan))
        return self._state(api, seen)

    def delete(self, api: Api, state: Json) -> None:
        api.delete(f"{WALLS}/{state['id']}")

    def imported(self, id_: str) -> Json:
        return {**blank(self.kind), "id": id_}

    def _state(self, api: Api, seen: Json) -> Json:
        path = f"{WALLS}/{seen['id']}"
        devices = api.rows(f"{path}/devices")
        rules = api.get(f"{path}/rules")

        def of(kind: str) -> list[int]:
            return [each["entity"]["id"] for each in devices if each["entity"]["type"] == kind]

        return {
            **blank(self.kind),
            **{name: seen[name] for name in ("label", "tags", "status", "created", "updated")},
            "id": str(seen["id"]),
            "disabled": seen["status"] == "disabled",
            **{name: rules[name] for name in ("inbound_policy", "outbound_policy")},
            **{way: [firewall_rule(rule) for rule in rules[way] or []] for way in ("inbound", "outbound")},
            "linodes": of("linode"),
            "nodebalancers": of("nodebalancer"),
            "interfaces": of("interface"),
            "devices": [
                {"id": each["id"], "entity_id": each["entity"]["id"],
                 **{name: each["entity"][name] for name in ("label", "type", "url")}}
                for each in devices
            ],
        }  # fmt: skip


def _rules(plan: Json) -> Json:
    ways = {way: [_rule(rule) for rule in plan[way]] or None for way in ("inbound", "outbound")}
    return {**ways, **{name: plan[name] for name in ("inbound_policy", "outbound_policy")}}


def _rule(rule: Json) -> Json:
    fields = {name: rule[name] for name in ("action", "label", "protocol", "ports", "description") if rule[name]}
    return {**fields, "addresses": {name: rule[name] for name in ("ipv4", "ipv6") if rule[name]}}


class Simple:
    """An object of one path whose state is what the API shows. `sent` at creation, `changed` at update."""

    def __init__(self, kind: str, path: str, sent: tuple[str, ...], changed: tuple[str, ...], **more: Any) -> None:
        self.kind, self._at, self._sent, self._changed = kind, path, sent, changed
        self._parents: tuple[str, ...] = more.get("parents", ())
        self._looks_again: bool = more.get("looks_again", False)
        self._looks_before: bool = more.get("looks_before", False)

    def create(self, api: Api, plan: Json) -> Json:
        made = api.post(self._at.format(**plan), {name: plan[name] for name in self._sent if plan[name] is not None})
        if self._looks_again:
            self._look(api, {**plan, "id": made["id"]})
        return self._state(made, plan)

    def read(self, api: Api, state: Json) -> Json | None:
        seen = self._look(api, state)
        return None if seen is None else self._state(seen, state)

    def update(self, api: Api, prior: Json, plan: Json) -> Json:
        body = {name: plan[name] for name in self._changed if plan[name] is not None}
        seen = api.put(self._path(prior), body)
        if self._looks_again:
            self._look(api, prior)
        return self._state(seen, plan)

    def delete(self, api: Api, state: Json) -> None:
        if self._looks_before:
            api.maybe(self._path(state))
        api.delete(self._path(state))

    def imported(self, id_: str) -> Json:
        *parents, own = id_.split(",")
        named = dict(zip(self._parents, map(int, parents), strict=True))
        return {**blank(self.kind), "id": own, **named}

    def _look(self, api: Api, state: Json) -> Json | None:
        seen: Json | None = api.maybe(self._path(state))
        if seen is not None and self.kind == "linode_domain_record":
            api.get(f"/domains/{state['domain_id']}")
        return seen

    def _path(self, state: Json) -> str:
        return f"{self._at.format(**state)}/{state['id']}"

    def _state(self, seen: Json, said: Json) -> Json:
        state = blank(self.kind)
        for name in state:
            if name in self._parents:
                state[name] = said[name]
            elif name == "id":
                state[name] = str(seen["id"])
            elif name == "record_type":
                state[name] = seen["type"]
            else:
                state[name] = self._shown(name, seen, said)
        return state

    def _shown(self, name: str, seen: Json, said: Json) -> Any:
        """Empty and zero where nobody said anything is null again, as the provider's own states have it."""
        value = seen.get(name)
        return said.get(name) if value in (None, "", 0, []) and not said.get(name) else value


class Subnets(Simple):
    def _shown(self, name: str, seen: Json, said: Json) -> Any:
        """Fields that an answer leaves out are empty in the provider's types."""
        if name == "nodebalancers":
            return [{"ipv6_ranges": [], **each} for each in seen.get(name) or []]
        return super()._shown(name, seen, said)


ZONE = ("domain", "type", "soa_email", "description", "ttl_sec", "retry_sec", "expire_sec", "refresh_sec",
        "master_ips", "axfr_ips", "group", "status", "tags")  # fmt: skip
RECORD = ("name", "target", "ttl_sec", "priority", "weight", "port", "service", "protocol", "tag")


class Records(Simple):
    def create(self, api: Api, plan: Json) -> Json:
        body = {name: plan[name] for name in RECORD if plan[name] is not None}
        made = api.post(self._at.format(**plan), {**body, "type": plan["record_type"]})
        self._look(api, {**plan, "id": made["id"]})
        return self._state(made, plan)


OTHERS = (
    Firewalls(),
    Simple("linode_vpc", "/vpcs", ("label", "region", "description"), ("label", "description")),
    Subnets("linode_vpc_subnet", "/vpcs/{vpc_id}/subnets", ("label", "ipv4"), ("label",), parents=("vpc_id",),
           looks_before=True),
    Simple("linode_domain", "/domains", ZONE, ZONE, looks_again=True),
    Records("linode_domain_record", "/domains/{domain_id}/records", RECORD, RECORD, parents=("domain_id",),
            looks_again=True),
    Simple("linode_sshkey", "/profile/sshkeys", ("label", "ssh_key"), ("label",)),
)  # fmt: skip
