"""Going back without a rollout to go back from: its home was lost, and a person or the replicas' labels say where to.

What opens is a rollout that is on its way back from its first moment, so the same rules take it there: the kept
colour is raised and seen to serve before a node of the other is lowered.
"""

from collections.abc import Mapping, Sequence

from celadon.core.errors import Refused
from celadon.core.intent import Rollout
from celadon.core.live import live
from celadon.core.observed import ConfigFacts, Mode, NodeFacts, ReplicaFacts, SlotFacts
from celadon.core.preflight import Scout, timing_on
from celadon.core.release import Colour, Release
from celadon.core.strategy import FULL_WEIGHT
from celadon.core.wanted import Wanted

UNKNOWN = "sha256:" + "0" * 64


def which_stays(wanted: Wanted, scout: Scout) -> Colour:
    """The stable colour by the labels of what runs: the candidate's replicas were started by the later rollout.

    Raises Refused where there is nothing to go back from, and where the labels do not tell.
    """
    nodes = {colour: _nodes(wanted, scout, colour) for colour in wanted.slots}
    busy = [colour for colour, its in nodes.items() if any(node.mode is not Mode.REJECT for node in its)]
    if len(busy) < 2:
        raise Refused("no rollout is open", hint="celadon status")
    labels = {colour: {each.rollout for each in _replicas(wanted, scout, colour)} for colour in Colour}
    told = " · ".join(f"{colour} runs {_rollouts(its)}" for colour, its in labels.items())
    blue, green = labels[Colour.BLUE], labels[Colour.GREEN]
    if len(blue) == len(green) == 1 and blue != green and 0 not in blue | green:
        return Colour.BLUE if min(blue) < min(green) else Colour.GREEN
    raise Refused(
        "which colour is stable cannot be told: the home's history is lost and the replicas' labels do not say",
        details=(told, live(nodes, None, None).because),
        hint="celadon abort --keep-colour COLOUR gives all traffic to that colour",
    )


def open_return(wanted: Wanted, keep: Colour, scout: Scout) -> Rollout:
    """The rollout that is opened to give `keep` all traffic. No preflight: it must work when things are bad."""
    configs = _configs(wanted, scout)
    kept = _nodes(wanted, scout, keep)
    for config in configs:
        if not any(node.port == config.port for node in kept):
            raise Refused(f"port {config.port} has no node of {keep}", hint="celadon status")
    if not any(seen.listening for seen in _slots(wanted, scout, keep)):
        raise Refused(
            f"nothing runs in {keep}, so it cannot take the traffic",
            hint=f"celadon status · to keep the other: celadon abort --keep-colour {keep.other}",
        )
    return Rollout(
        number=scout.next_rollout,
        app=wanted.app,
        kind="deploy",
        candidate=_release(wanted, scout, keep.other) or _unknown(wanted, scout),
        candidate_colour=keep.other,
        stable=_release(wanted, scout, keep),
        stable_colour=keep,
        slots=wanted.slots,
        ports=tuple(config.port for config in configs),
        balancer=scout.balancer.label,
        steps=(),
        timing=timing_on(wanted.timing, configs),
        health=wanted.health,
        verify=wanted.verify,
        hooks=wanted.hooks,
        bake_net=wanted.bake_net,
        keep=wanted.keep,
        settings_hash=wanted.settings_hash,
        config=wanted.config,
        kept_releases=tuple(known.id for known in scout.known[: wanted.keep]),
        floor={config.port: _floor(config, kept) for config in configs},
        baseline={node.id: node.weight if node.weight > 1 else FULL_WEIGHT for node in kept},
        opened_utc=scout.utc,
        test_port=wanted.test_port,
    )


def _configs(wanted: Wanted, scout: Scout) -> list[ConfigFacts]:
    found = [config for config in scout.balancer.configs if wanted.serves(config.port)]
    if not found:
        raise Refused(f"{scout.balancer.label} has none of the app's ports", hint="celadon check")
    return sorted(found, key=lambda config: config.port)


def _nodes(wanted: Wanted, scout: Scout, colour: Colour) -> list[NodeFacts]:
    addresses = {slot.node_address for slot in wanted.slots[colour]}
    return [node for config in _configs(wanted, scout) for node in config.nodes if node.address in addresses]


def _floor(config: ConfigFacts, kept: Sequence[NodeFacts]) -> int:
    """As many as serve now, at most what the kept colour has, never below one."""
    up = sum(1 for node in config.nodes if node.mode is Mode.ACCEPT and node.up)
    return max(1, min(up, sum(1 for node in kept if node.port == config.port)))


def _slots(wanted: Wanted, scout: Scout, colour: Colour) -> list[SlotFacts]:
    keys = {slot.key for slot in wanted.slots[colour]}
    return [
        seen for facts in scout.hosts.values() if not isinstance(facts, str) for seen in facts.slots if seen.key in keys
    ]


def _replicas(wanted: Wanted, scout: Scout, colour: Colour) -> list[ReplicaFacts]:
    return [seen.replica for seen in _slots(wanted, scout, colour) if seen.replica is not None and seen.replica.running]


def _release(wanted: Wanted, scout: Scout, colour: Colour) -> Release | None:
    """What runs there, of the newest rollout where it is mixed; None: nothing that is known."""
    running: Mapping[str, int] = {one.release: one.rollout for one in _replicas(wanted, scout, colour)}
    known = [release for release in scout.known if release.id in running]
    return max(known, key=lambda release: running[release.id], default=None)


def _unknown(wanted: Wanted, scout: Scout) -> Release:
    """A name for what nobody knows: it is taken out of the balancer, and left running."""
    runtime = scout.known[0].runtime if scout.known else "venv"
    return Release(app=wanted.app, version="unknown", artifact=UNKNOWN, runtime=runtime)


def _rollouts(numbers: set[int]) -> str:
    if not numbers:
        return "nothing of ours"
    return "rollout " + ", ".join(str(number) if number else "unknown" for number in sorted(numbers))
