"""A plan for people: what changes, which steps, how long. Made by running the core forward from what was seen."""

import itertools

import msgspec

from celadon.core.action import Decision, Finish, Halt
from celadon.core.intent import Intent
from celadon.core.observed import HostFacts, HostSight, Mode, NodeFacts, NodeSight, SlotSight
from celadon.core.plan import plan
from celadon.core.preflight import Opening, Scout, plan_id
from celadon.core.release import Colour, Release
from celadon.core.scene import Observed


class Change(msgspec.Struct, frozen=True):
    """One line of a plan: what becomes what."""

    what: str
    before: str
    after: str


class PlannedStep(msgspec.Struct, frozen=True):
    name: str
    because: str
    seconds: float


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The good path. Nothing executes it."""

    plan_id: str
    current: Release | None
    candidate: Release
    candidate_colour: Colour
    balancer: str
    address: str
    changes: tuple[Change, ...]
    steps: tuple[PlannedStep, ...]
    seconds: float
    warnings: tuple[str, ...] = ()


def forecast(opening: Opening, scout: Scout) -> Forecast:
    rollout = opening.rollout
    steps = _steps(opening, scout)
    return Forecast(
        plan_id=plan_id(opening, scout.balancer),
        current=rollout.stable,
        candidate=rollout.candidate,
        candidate_colour=rollout.candidate_colour,
        balancer=scout.balancer.label,
        address=scout.balancer.address,
        changes=_changes(rollout.stable, rollout.candidate, opening),
        steps=steps,
        seconds=sum(step.seconds for step in steps),
        warnings=opening.warnings,
    )


def _steps(opening: Opening, scout: Scout) -> tuple[PlannedStep, ...]:
    """One line for each stretch of decisions of the same kind."""
    intent = Intent(rollout=opening.rollout)
    path = list(plan(_expected_start(opening, scout), intent, 0.0))
    ends = [at for at, _ in path[1:]] + [path[-1][0]]
    phase, named = "shift", []
    for (_, decision), end in zip(path, ends, strict=True):
        name = name_of(decision, phase)
        phase = PHASE_AFTER.get(name, phase)
        named.append((name, decision.because, end))
    steps, began = [], 0.0
    for name, group in itertools.groupby(named, key=lambda item: item[0]):
        items = list(group)
        steps.append(PlannedStep(name, items[0][1], round(items[-1][2] - began, 1)))
        began = items[-1][2]
    return tuple(steps)


def name_of(decision: Decision, phase: str = "shift") -> str:
    """The stretch of a rollout that a decision belongs to. Changes of the balancer belong to the `phase` they serve."""
    if isinstance(decision, Finish | Halt):
        return "finish"
    for start, name in NAMES:
        if decision.because.startswith(start):
            return name
    return phase


PHASE_AFTER = {"commit": "bake", "bake": "retire"}  # what a change of the balancer is for, from then on
NAMES = (
    ("settings", "prepare"),
    ("release to", "prepare"),
    ("start ", "prepare"),
    ("probes", "probe"),
    ("warm-up", "probe"),
    ("test ", "test"),
    ("held", "hold"),
    ("hook ", "hook"),
    ("all traffic is confirmed", "commit"),
    ("verify", "commit"),
    ("bake", "bake"),
    ("drain", "retire"),
    ("stable is out", "retire"),
    ("stop ", "retire"),
    ("remove", "finish"),
)


def _changes(before: Release | None, after: Release, opening: Opening) -> tuple[Change, ...]:
    changes = [Change("release", before.version if before is not None else "none", after.version)]
    if before is None or before.artifact != after.artifact:
        changes.append(Change("artifact", before.artifact if before is not None else "none", after.artifact))
    old, new = dict(before.env) if before is not None else {}, dict(after.env)
    changes += [
        Change(f"env {name}", old.get(name, "unset"), new.get(name, "unset"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    secrets_old, secrets_new = dict(before.secrets) if before is not None else {}, dict(after.secrets)
    changes += [
        Change(f"secret {name}", "old" if name in secrets_old else "unset", "new" if name in secrets_new else "unset")
        for name in sorted(secrets_old.keys() | secrets_new.keys())
        if secrets_old.get(name) != secrets_new.get(name)
    ]
    changes += [Change(f"node {node.address} on port {node.port}", "missing", "reject") for node in opening.add]
    return tuple(changes)


def _expected_start(opening: Opening, scout: Scout) -> Observed:
    """What was seen, as a driver sees it that has looked for long enough."""
    rollout = opening.rollout
    addresses = {slot.node_address for slots in rollout.slots.values() for slot in slots}
    nodes = {
        node.id: NodeSight(facts=node, read_at=0.0, since=-rollout.timing.settle, reads=1, was_off=True, rose=False)
        for config in scout.balancer.configs
        for node in config.nodes
        if node.address in addresses
    }
    nodes |= _added(opening)
    hosts = {name: _host(facts) for name, facts in scout.hosts.items()}
    return Observed(nodes=nodes, hosts=hosts)


def _added(opening: Opening) -> dict[int, NodeSight]:
    added = {}
    for number, node in enumerate(opening.add, 1):
        facts = NodeFacts(node.port, node.config_id, -number, node.label, node.address, Mode.REJECT, 100, False)
        added[-number] = NodeSight(facts=facts, read_at=0.0, since=0.0, reads=1, was_off=True, rose=False)
    return added


def _host(facts: HostFacts | str) -> HostSight:
    if isinstance(facts, str):
        return HostSight(facts=None, seen_at=None, lost_since=0.0, problem=facts)
    slots = {slot.key: SlotSight(facts=slot) for slot in facts.slots}
    return HostSight(facts=facts, seen_at=0.0, lost_since=None, slots=slots)
