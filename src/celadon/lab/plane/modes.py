"""Who takes traffic: the four modes, turned into the two or three states that HAProxy knows. Pure.

HAProxy's own `backup` cannot be switched at run time and its own checks take a new server as UP before the first
one, so both are worked out here (research: 86 of 893 requests got 503 that way).
"""

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from celadon.lab.parts import NodeStatus, PlaneConfig, PlaneNode
from celadon.lab.plane.verdict import Verdict

ServerState = Literal["ready", "drain", "maint"]


class PlaneSwitches(Protocol):
    """What the real service leaves open. The lab's `Switches` has these among others."""

    @property
    def mode_delay_seconds(self) -> float: ...  # from the API's 200 to the change being true

    @property
    def backup_checked(self) -> bool: ...

    @property
    def reject_to_accept_unknown(self) -> bool: ...  # else a node comes back with the verdict it left with

    @property
    def redispatch(self) -> bool: ...  # whether the balancer hides a refused connection by trying another node


class Judged(msgspec.Struct, frozen=True):
    """A node as the data plane has it now, and what its checks said."""

    node: PlaneNode
    verdict: Verdict = Verdict()


def checked(node: PlaneNode, config: PlaneConfig, switches: PlaneSwitches) -> bool:
    if config.check == "none":
        return False
    match node.mode:
        case "accept":
            return True
        case "backup":
            return switches.backup_checked
        case "drain":
            return config.stickiness != "none"  # otherwise nobody is left to be served: like reject
        case "reject":
            return False


def shown(judged: Judged, config: PlaneConfig, switches: PlaneSwitches) -> NodeStatus:
    """The status as the API answers it. A node taken out shows as down; one never judged as Unknown."""
    if checked(judged.node, config, switches):
        return judged.verdict.status
    taken_out = judged.node.mode in ("reject", "drain")
    return "DOWN" if taken_out and judged.verdict.status != "Unknown" else "Unknown"


def succeed(old: Judged, new: PlaneNode, config: PlaneConfig, switches: PlaneSwitches) -> Judged:
    """A node changed by the account keeps what is known of it, unless the change makes that worthless."""
    if old.node.address != new.address:
        return Judged(new)
    was, will_be = (checked(node, config, switches) for node in (old.node, new))
    if will_be and not was:
        from_reject = old.node.mode in ("reject", "drain")
        keeps = from_reject and not switches.reject_to_accept_unknown
        return Judged(new, Verdict(old.verdict.status) if keeps else Verdict())
    if was and new.mode == "backup" and not will_be:
        return Judged(new)
    return Judged(new, old.verdict)


def server_states(judged: Iterable[Judged], config: PlaneConfig, switches: PlaneSwitches) -> dict[int, ServerState]:
    """The state of every node's server, by node id. Backups stand in when no accept node is UP."""
    nodes = tuple(judged)
    up = {each.node.id for each in nodes if _usable(each, config, switches)}
    net = not any(each.node.mode == "accept" and each.node.id in up for each in nodes)

    def state(each: Judged) -> ServerState:
        if each.node.id not in up:
            return "maint"
        match each.node.mode:
            case "accept":
                return "ready"
            case "backup":
                return "ready" if net else "maint"
            case "drain" if config.stickiness != "none":
                return "drain"
            case _:
                return "maint"

    return {each.node.id: state(each) for each in nodes}


def _usable(judged: Judged, config: PlaneConfig, switches: PlaneSwitches) -> bool:
    return not checked(judged.node, config, switches) or judged.verdict.status == "UP"
