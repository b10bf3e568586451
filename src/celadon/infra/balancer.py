"""The guard's rules for the NodeBalancer, its configs and its nodes."""

from collections.abc import Iterator, Mapping
from typing import Any

from celadon.core.observed import ConfigFacts, Mode, NodeFacts
from celadon.infra.facts import Facts
from celadon.infra.machines import as_id
from celadon.infra.plan import Change
from celadon.infra.refusal import Refusal, attribute, what

UNFIT = {
    "check": ("none", "without a health check nothing says that a node is UP"),
    "check_passive": (True, "a passive check takes a node out at its first 5xx"),
}
CERTIFICATE = ("ssl_cert", "ssl_key")
GOES_ON = ("delete", "replace")
LIFECYCLE = "in its block: lifecycle { ignore_changes = [mode, weight] }: a deploy owns both"


def judge_balancer(change: Change, facts: Facts) -> Iterator[Refusal]:
    if change.kind not in GOES_ON or not _is_ours(as_id(change.before.get("id")), change.before.get("label"), facts):
        return
    label = facts.balancer.label if facts.balancer is not None else str(change.before.get("label"))
    yield Refusal(
        resource=change.address,
        attribute=attribute(change),
        message=f"{what(change)}: {label} is where users knock, and its address goes with it",
        way_out="keep it as it is; who means to end it all: terraform destroy, without celadon",
        code="nodebalancer",
    )


def judge_config(change: Change, facts: Facts, *, new_certificate: bool) -> Iterator[Refusal]:
    if change.kind not in (*GOES_ON, "update") or not _in_ours(change.before, facts):
        return
    config = _config(change.before, facts)
    port = change.before.get("port")
    serves = _serves(config, facts)
    if change.kind in GOES_ON:
        if serves:
            yield _refuse(change, f"{what(change)}: port {port} serves users, and would not answer", "keep it as it is")
        return
    for name in ("port", "protocol"):
        if serves and change.changes(name):
            text = f"{change.address} would be changed ({change.step(name)}): port {port} serves users"
            yield _refuse(change, text, "add a second config beside it, and remove this one when nobody uses it", name)
    for name, (value, why) in UNFIT.items():
        if change.changes(name) and (change.after.get(name) == value or change.is_unknown(name)):
            yield _refuse(change, f"{change.address} would be changed ({change.step(name)}): {why}", "keep it", name)
    if change.changes("stickiness") and change.after.get("stickiness") != "none":
        text = f"{change.address} would be changed ({change.step('stickiness')}): it keeps users on an old colour"
        yield _refuse(change, text, 'stickiness = "none"', "stickiness")
    named = [name for name in CERTIFICATE if change.changes(name)]
    if named and serves and not new_certificate:
        text = f"{change.address} would be changed ({', '.join(named)}): users on port {port} get another certificate"
        yield _refuse(change, text, "if that is meant: --new-certificate · or celadon tls push", ", ".join(named))


def judge_node(change: Change, facts: Facts) -> Iterator[Refusal]:
    if change.kind in ("create", "replace") and _in_ours(change.after, facts) and change.after.get("mode") != "reject":
        mode = change.after.get("mode") or "accept, as it is not said"
        text = f"{change.address} would be made in mode {mode}: users would meet it before a deploy has tested it"
        yield _refuse(change, text, f'mode = "reject", and {LIFECYCLE}', "mode")
    if change.kind not in (*GOES_ON, "update") or not _in_ours(change.before, facts):
        return
    node = facts.node(as_id(change.before.get("id")) or 0)
    if change.kind == "update":
        yield from _node_in_place(change, node, facts)
        return
    why = _why_kept(node, facts)
    if why:
        text = f"{what(change)}: {why}"
        yield _refuse(change, text, "keep it; when its colour is idle, run it again   (celadon status)")


def notes(change: Change, facts: Facts) -> Iterator[str]:
    """What hurts nobody by itself, and is worth a second look."""
    if change.kind != "update":
        return
    if change.type == "linode_nodebalancer_config" and _in_ours(change.before, facts):
        steps = [change.step(name) for name in ("check", "check_path", "check_body", "check_interval", "check_timeout",
                 "check_attempts", "algorithm") if change.changes(name)]  # fmt: skip
        if steps:
            yield f"{change.address}: {', '.join(steps)}: every node is judged by it at once"
    if change.type == "linode_nodebalancer" and change.changes("client_conn_throttle"):
        yield f"{change.address}: {change.step('client_conn_throttle')}: check refuses one below verify.rate"


def _node_in_place(change: Change, node: NodeFacts | None, facts: Facts) -> Iterator[Refusal]:
    for name in ("mode", "weight"):
        if change.changes(name):
            text = f"{change.address} would be changed ({change.step(name)}): it is a deploy that moves users"
            yield _refuse(change, text, LIFECYCLE, name)
    why = _why_kept(node, facts)
    if change.changes("address") and why:
        text = f"{change.address} would be changed ({change.step('address')}): {why}"
        yield _refuse(change, text, "when its colour is idle, run it again   (celadon status)", "address")


def _why_kept(node: NodeFacts | None, facts: Facts) -> str:
    if node is None:
        return f"whether it serves is unknown: {facts.unknown}" if facts.unknown else ""
    if node.mode is not Mode.REJECT:
        return f"it is {node.mode.value} on port {node.port}"
    address = node.address.rpartition(":")[0]
    colours = {colour for machine in facts.machines if address in machine.addresses for colour in machine.colours}
    return next((facts.busy[colour] for colour in sorted(colours) if colour in facts.busy), "")


def _serves(config: ConfigFacts | None, facts: Facts) -> bool:
    """Whether users may get an answer on this port. UDP nodes have no modes, so they count as serving."""
    if config is None:
        return bool(facts.unknown)
    return config.protocol == "udp" or any(node.mode is not Mode.REJECT for node in config.nodes)


def _config(before: Mapping[str, Any], facts: Facts) -> ConfigFacts | None:
    configs = facts.balancer.configs if facts.balancer is not None else ()
    return next((config for config in configs if config.id == as_id(before.get("id"))), None)


def _in_ours(values: Mapping[str, Any], facts: Facts) -> bool:
    return _is_ours(as_id(values.get("nodebalancer_id")), None, facts)


def _is_ours(balancer_id: int | None, label: object, facts: Facts) -> bool:
    if facts.balancer is None:
        return bool(facts.unknown)
    return balancer_id == facts.balancer.id or label == facts.balancer.label


def _refuse(change: Change, message: str, way_out: str, name: str = "") -> Refusal:
    code = {"linode_nodebalancer_config": "config", "linode_nodebalancer_node": "node"}[change.type]
    return Refusal(
        resource=change.address, attribute=name or attribute(change), message=message, way_out=way_out, code=code
    )
