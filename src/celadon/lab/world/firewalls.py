"""Cloud Firewalls: rules and what they are attached to. The lab keeps them and filters nothing."""

import hashlib
import ipaddress
import json
import re
from collections.abc import Sequence

from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.objects import Balancer, EntityType, Firewall, FirewallDevice, Instance, Json
from celadon.lab.world.problems import NotFound, Problem
from celadon.lab.world.tags import clean_tags

RULES_LIMIT = 25
ADDRESSES_LIMIT = 255
PROTOCOLS = ("TCP", "UDP", "ICMP", "IPENCAP")
POLICIES = ("ACCEPT", "DROP")
KINDS: dict[EntityType, type[Instance | Balancer]] = {"linode": Instance, "nodebalancer": Balancer}


def create(account: Account, body: Json) -> Firewall:
    now = account.stamp()
    firewall = Firewall(
        id=account.new_id(),
        label=_unique_label(account, body["label"]),
        created=now,
        updated=now,
        tags=clean_tags(body.get("tags")),
    )
    firewall = account.amend(firewall, _rules(firewall, body["rules"]))
    devices = body.get("devices") or {}
    wanted: list[tuple[EntityType, int]] = [
        *(("linode", each) for each in devices.get("linodes") or []),
        *(("nodebalancer", each) for each in devices.get("nodebalancers") or []),
    ]
    for kind, entity_id in wanted:
        attach(account, firewall.id, entity_id, kind, field="devices")
    account.note("firewall_create", about(firewall))
    return firewall


def update(account: Account, firewall_id: int, body: Json) -> Firewall:
    firewall = account.find(Firewall, firewall_id)
    changes: Json = {"updated": account.stamp()}
    if body.get("label") not in (None, firewall.label):
        changes["label"] = _unique_label(account, body["label"])
    if body.get("tags") is not None:
        changes["tags"] = clean_tags(body["tags"])
    if body.get("status") is not None:
        if body["status"] not in ("enabled", "disabled"):
            raise Problem("Must be one of enabled, disabled", "status")
        changes["status"] = body["status"]
    changed = account.amend(firewall, changes)
    action = "firewall_update"
    if changed.status != firewall.status:
        action = "firewall_enable" if changed.status == "enabled" else "firewall_disable"
    account.note(action, about(changed))
    return changed


def set_rules(account: Account, firewall_id: int, body: Json) -> Firewall:
    """Replaces both lists; a list that is left out is emptied."""
    firewall = account.find(Firewall, firewall_id)
    changed = account.amend(
        firewall, {**_rules(firewall, body), "version": firewall.version + 1, "updated": account.stamp()}
    )
    account.note("firewall_update", about(changed))
    return changed


def delete(account: Account, firewall_id: int) -> None:
    firewall = account.find(Firewall, firewall_id)
    for device in devices_of(account.state, firewall_id):
        account.drop(device)
    account.drop(firewall)
    account.note("firewall_delete", about(firewall))


def attach(
    account: Account, firewall_id: int, entity_id: int, kind: EntityType, *, field: str | None = None
) -> FirewallDevice:
    try:
        firewall = account.find(Firewall, firewall_id)
        account.find(KINDS[kind], entity_id)
    except NotFound:
        if field is None:
            raise
        raise Problem("Not found", field) from None
    if any((each.entity_type, each.entity_id) == (kind, entity_id) for each in account.all(FirewallDevice)):
        raise Problem(f"{kind} {entity_id} is already assigned to a firewall", "id")
    now = account.stamp()
    device = FirewallDevice(
        id=account.new_id(),
        firewall_id=firewall_id,
        entity_id=entity_id,
        entity_type=kind,
        created=now,
        updated=now,
    )
    account.note("firewall_device_add", about(firewall), secondary=about_entity(account.state, device))
    return account.put(device)


def detach(account: Account, firewall_id: int, device_id: int) -> None:
    firewall = account.find(Firewall, firewall_id)
    device = device_of(account.state, firewall_id, device_id)
    account.drop(device)
    account.note("firewall_device_remove", about(firewall), secondary=about_entity(account.state, device))


def detach_all(account: Account, entity_id: int, kind: EntityType) -> None:
    for device in account.all(FirewallDevice):
        if (device.entity_type, device.entity_id) == (kind, entity_id):
            account.drop(device)


def assign(account: Account, entity_id: int, kind: EntityType, firewall_ids: Sequence[int]) -> None:
    """Exactly these firewalls for this entity."""
    account.find(KINDS[kind], entity_id)
    detach_all(account, entity_id, kind)
    for firewall_id in firewall_ids:
        attach(account, firewall_id, entity_id, kind, field="firewall_ids")


def device_of(state: State, firewall_id: int, device_id: int) -> FirewallDevice:
    state.find(Firewall, firewall_id)
    device = state.find(FirewallDevice, device_id)
    if device.firewall_id != firewall_id:
        raise NotFound
    return device


def devices_of(state: State, firewall_id: int) -> list[FirewallDevice]:
    return [device for device in state.all(FirewallDevice) if device.firewall_id == firewall_id]


def firewalls_of(state: State, entity_id: int, kind: EntityType) -> list[Firewall]:
    return [
        state.find(Firewall, device.firewall_id)
        for device in state.all(FirewallDevice)
        if (device.entity_type, device.entity_id) == (kind, entity_id)
    ]


def about(firewall: Firewall) -> Json:
    return entity("firewall", firewall.id, firewall.label, f"/v4/networking/firewalls/{firewall.id}")


def about_entity(state: State, device: FirewallDevice) -> Json:
    held = state.find(KINDS[device.entity_type], device.entity_id)
    path = "linode/instances" if device.entity_type == "linode" else "nodebalancers"
    return entity(device.entity_type, held.id, held.label, f"/v4/{path}/{held.id}")


def fingerprint(firewall: Firewall) -> str:
    """Of the rules alone, so that equal rules have equal fingerprints."""
    rules = [firewall.inbound, firewall.inbound_policy, firewall.outbound, firewall.outbound_policy]
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:8]


def _rules(firewall: Firewall, body: Json) -> Json:
    changes: Json = {}
    for name in ("inbound", "outbound"):
        changes[name] = [_rule(rule, f"rules.{name}[{index}]") for index, rule in enumerate(body.get(name) or [])]
        policy = f"{name}_policy"
        changes[policy] = body.get(policy) or getattr(firewall, policy)
        if changes[policy] not in POLICIES:
            raise Problem(f"Must be one of {', '.join(POLICIES)}", f"rules.{policy}")
    if len(changes["inbound"]) + len(changes["outbound"]) > RULES_LIMIT:
        raise Problem(f"A firewall has at most {RULES_LIMIT} rules", "rules")
    return changes


def _rule(rule: Json, where: str) -> Json:
    protocol, action = str(rule.get("protocol", "")).upper(), str(rule.get("action", "")).upper()
    if protocol not in PROTOCOLS:
        raise Problem(f"Must be one of {', '.join(PROTOCOLS)}", f"{where}.protocol")
    if action not in POLICIES:
        raise Problem(f"Must be one of {', '.join(POLICIES)}", f"{where}.action")
    label = rule.get("label") or ""
    if label and not 3 <= len(label) <= 32:
        raise Problem("Length must be 3-32 characters", f"{where}.label")
    addresses = rule.get("addresses") or {}
    made: Json = {
        "action": action,
        "protocol": protocol,
        "label": label,
        "description": rule.get("description") or "",
    }
    made["addresses"] = {
        family: [_network(each, f"{where}.addresses.{family}") for each in addresses.get(family) or []]
        for family in ("ipv4", "ipv6")
        if addresses.get(family)
    }
    if sum(len(each) for each in made["addresses"].values()) > ADDRESSES_LIMIT:
        raise Problem(f"A rule has at most {ADDRESSES_LIMIT} addresses", f"{where}.addresses")
    ports = rule.get("ports") or ""
    if ports and protocol in ("ICMP", "IPENCAP"):
        raise Problem(f"Ports are not allowed for {protocol}", f"{where}.ports")
    if ports and not re.fullmatch(r"\s*\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*\s*", ports):
        raise Problem("Must be ports and ranges of ports, with commas between", f"{where}.ports")
    if ports:
        made["ports"] = ports
    return made


def _network(text: str, where: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise Problem(f"{text} is not a valid network", where) from None
    return text


def _unique_label(account: Account, label: str) -> str:
    if any(firewall.label == label for firewall in account.all(Firewall)):
        raise Problem("Label must be unique among your Cloud Firewalls", "label")
    return label
