"""The guard's rule for firewalls: a change of rules must not shut the door that users come through."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from celadon.core.observed import Mode
from celadon.infra.facts import Facts
from celadon.infra.machines import as_id
from celadon.infra.plan import Change
from celadon.infra.refusal import Refusal

FROM_BALANCERS = ipaddress.IPv4Network("192.168.255.0/24")  # NodeBalancers' own addresses, as machines see them
EVERYBODY = ipaddress.IPv4Network("0.0.0.0/0")
PRIVATE = ipaddress.IPv4Network("192.168.128.0/17")


def judge_firewall(change: Change, facts: Facts) -> Iterator[Refusal]:
    """A firewall that is changed in place, or put before what had none."""
    rules = ("inbound", "inbound_policy", "disabled")
    if change.kind not in ("update", "create") or any(change.is_unknown(name) for name in rules):
        return
    before = change.before if change.kind == "update" else {"disabled": True}
    for whom, port, source in _doors(change, facts):
        if _open(before, port, source) and not _open(change.after, port, source):
            yield Refusal(
                resource=change.address,
                attribute="inbound",
                message=f"{change.address} would shut the door (inbound): {whom} gets nothing on port {port} any more",
                way_out=f"keep a rule that accepts TCP port {port} from {source}",
                code="firewall",
            )


def _doors(change: Change, facts: Facts) -> Iterator[tuple[str, int, ipaddress.IPv4Network]]:
    """Who is reached through this firewall, on which port, from where. Only what serves now has a door to lose."""
    serving = [node for node in facts.nodes if node.mode is not Mode.REJECT]
    linodes, balancers = _ids(change, "linodes"), _ids(change, "nodebalancers")
    behind = {address for machine in facts.machines if machine.id in linodes for address in machine.addresses}
    for address, port in sorted({(host, int(port)) for host, _, port in (n.address.rpartition(":") for n in serving)}):
        legacy = ipaddress.ip_address(address) in PRIVATE  # in a VPC the balancer's range is its own: not judged
        if address in behind and legacy:
            yield address, port, FROM_BALANCERS
    if facts.balancer is not None and facts.balancer.id in balancers:
        for port in sorted({node.port for node in serving}):
            yield facts.balancer.label, port, EVERYBODY


def _ids(change: Change, name: str) -> set[int]:
    """Those behind it; the provider lists the machines that were made with its `firewall_id`, too."""
    lists = [each for each in (change.before.get(name), change.after.get(name)) if isinstance(each, list)]
    return {found for its in lists for each in its if (found := as_id(each)) is not None}


def _open(firewall: Mapping[str, Any], port: int, source: ipaddress.IPv4Network) -> bool:
    if firewall.get("disabled") is True:
        return True
    rules = firewall.get("inbound")
    for rule in rules if isinstance(rules, list) else []:
        if isinstance(rule, dict) and _matches(rule, port, source):
            return rule.get("action") == "ACCEPT"
    return firewall.get("inbound_policy") == "ACCEPT"


def _matches(rule: Mapping[str, Any], port: int, source: ipaddress.IPv4Network) -> bool:
    if rule.get("protocol") != "TCP" or not _has_port(rule.get("ports"), port):
        return False
    networks = rule.get("ipv4")
    for text in networks if isinstance(networks, list) else []:
        try:
            network = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            continue  # a prefix list's name, or what the API will refuse
        if source.subnet_of(network):
            return True
    return False


def _has_port(ports: object, port: int) -> bool:
    """`80, 443, 8000-8010`; none: all."""
    if not isinstance(ports, str) or not ports.strip():
        return True
    for part in ports.split(","):
        low, dash, high = part.strip().partition("-")
        bounds = (low.strip(), (high if dash else low).strip())
        if all(bound.isascii() and bound.isdigit() and len(bound) < 6 for bound in bounds) and (
            int(bounds[0]) <= port <= int(bounds[1])
        ):
            return True
    return False
