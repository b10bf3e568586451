"""A rollout as steps that people follow: which one it is at, which are done, what each took. Pure.

`Progress` grows by one decision at a time. What it shows is derived from what the driver saw; it decides nothing.
"""

import msgspec

from celadon.cli.figures import clock, many
from celadon.core.action import (
    Act,
    Action,
    Decision,
    Finish,
    Halt,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    RunCommand,
    SetNode,
    Start,
    Stop,
    Wait,
    WarmUpSlot,
)
from celadon.core.intent import Intent, Rollout
from celadon.core.observed import Mode, NodeFacts
from celadon.core.release import Colour
from celadon.core.scene import Goal, Observed, Scene
from celadon.core.strategy import Approve, RunTest, SetWeight

BACK = ("return", "clear")


class Step(msgspec.Struct, frozen=True):
    """One step that is over."""

    name: str
    note: str
    seconds: float


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`began`: when this driver began, on its clock."""

    began: float = 0.0
    done: tuple[Step, ...] = ()
    now: str = ""
    since: float = 0.0
    note: str = ""  # what the present step did last
    because: str = ""
    until: float | None = None

    def after(self, observed: Observed, intent: Intent, decision: Decision, at: float) -> "Progress":
        """With one more decision seen."""
        name = step_of(observed, intent, decision, at)
        note = _note(decision, intent) or self.note
        until = decision.until if isinstance(decision, Wait) else None
        if not self.now:
            return Progress(began=at, now=name, since=at, note=note, because=decision.because, until=until)
        if name == self.now:
            return msgspec.structs.replace(self, note=note, because=decision.because, until=until)
        over = Step(self.now, self.note, at - self.since)
        note = _note(decision, intent)
        return Progress(
            began=self.began,
            done=(*self.done, over),
            now=name,
            since=at,
            note=note,
            because=decision.because,
            until=until,
        )


def step_of(observed: Observed, intent: Intent, decision: Decision, at: float) -> str:
    """The step's name. An action under way says it best; else where the rollout stands."""
    if isinstance(decision, (Finish, Halt)):
        return "end"
    scene = Scene(observed, intent, at)
    actions = (*(decision.actions if isinstance(decision, Act) else ()), *observed.in_flight)
    match scene.goal:
        case Goal.FORWARD:
            if decision.because.startswith("test port"):
                return "test"
            return _forward(scene, actions)
        case Goal.BAKE:
            return "bake"
        case Goal.RETIRE:
            return "finish" if _tidying(actions) else "retire"
        case Goal.BACK:
            return "finish" if _tidying(actions) else "return" if _still_on(scene) else "clear"


def _forward(scene: Scene, actions: tuple[Action, ...]) -> str:
    steps, done = scene.rollout.steps, scene.journal.steps_done
    if any(isinstance(action, (PutSettings, PutArtifact, Start)) for action in actions):
        return "prepare"
    if done >= len(steps):
        return "commit"
    to_users = any(isinstance(action, SetNode) and action.port != scene.rollout.test_port for action in actions)
    if scene.has_traffic or to_users:
        return "shift"
    if any(isinstance(action, RunCommand) and action.name == "before_prepare" for action in actions):
        return "prepare"
    warmed = {slot for slot, _ in scene.journal.warmed}
    slots = scene.rollout.candidate_slots
    if not all(_holds(scene, index) for index in range(len(slots))):
        return "prepare"
    if not all(slot.key in warmed for slot in slots):
        return "probe"
    match steps[done]:
        case RunTest():
            return "test"
        case Approve():
            return "hold"
        case SetWeight():
            return "shift"


def _holds(scene: Scene, index: int) -> bool:
    sight = scene.slot(scene.rollout.candidate_slots[index])
    replica = sight.facts.replica if sight is not None else None
    return replica is not None and replica.release == scene.rollout.candidate.id


def _still_on(scene: Scene) -> bool:
    return any(node.facts.mode is not Mode.REJECT for node in scene.candidate_nodes) or not all(
        scene.serving(node) for node in scene.stable_nodes if node.facts.id in scene.rollout.baseline
    )


def _tidying(actions: tuple[Action, ...]) -> bool:
    return any(
        isinstance(action, Prune)
        or (isinstance(action, RunCommand) and action.name in ("after_finish", "after_rollback"))
        for action in actions
    )


def _note(decision: Decision, intent: Intent) -> str:
    if not isinstance(decision, Act) or all(isinstance(action, Record) for action in decision.actions):
        return ""
    return ", ".join(dict.fromkeys(words_for(action, intent.rollout) for action in decision.actions))


def words_for(action: Action, rollout: Rollout) -> str:
    """What an action does, for people."""
    match action:
        case PutSettings(host=host):
            return f"settings to {host}"
        case PutArtifact(host=host):
            return f"release to {host}"
        case Start(slot=slot):
            return f"start on {slot.host}"
        case WarmUpSlot():
            return f"{rollout.health.warm_up_requests} warm-up requests each"
        case RunCommand(kind=kind, name=name):
            return f"{kind} {name}"
        case SetNode(address=address, mode=mode, weight=weight):
            host = next(
                (slot.host for slots in rollout.slots.values() for slot in slots if slot.node_address == address),
                address,
            )
            return f"{host} {mode.value}" + (f" at weight {weight}" if mode is Mode.ACCEPT and weight < 100 else "")
        case Stop(slot=slot):
            return f"stop on {slot.host}"
        case Prune(host=host):
            return f"tidy {host}"
        case Record(event=event):
            return type(event).__name__.lower()


def coming(progress: Progress, rollout: Rollout, *, back: bool) -> list[str]:
    """The steps that are still to come, in short."""
    if back:
        order = [("return", "stable back"), ("clear", "stop the candidate"), ("finish", "finish")]
    else:
        order = [("prepare", "prepare"), ("probe", "probe")]
        order += [("test", "test")] if rollout.tests else []
        order += [("hold", "hold")] if any(isinstance(step, Approve) for step in rollout.steps) else []
        order += [("shift", "shift"), ("commit", "commit")]
        if rollout.stable_colour is not None:
            net = f", {rollout.stable_colour} as {rollout.bake_net}"
            order += [
                ("bake", f"bake {clock(rollout.timing.bake)}{net}"),
                ("retire", f"retire {rollout.stable_colour}"),
            ]
        order += [("finish", "finish")]
    names = [name for name, _ in order]
    if progress.now in names:
        order = order[names.index(progress.now) + 1 :]
    elif progress.now == "end":
        order = []
    return [text for _, text in order]


class Side(msgspec.Struct, frozen=True):
    """One colour at a moment."""

    colour: Colour
    version: str
    share: int | None  # of the traffic, in percent; None: it cannot be said
    healthy: int | None  # slots whose newest probe passed; None: none was asked for
    slots: int
    open: int | None  # connections; None: not counted
    mode: str = ""


def sides(observed: Observed, rollout: Rollout) -> tuple[Side, ...]:
    """Both colours, blue first."""
    found = []
    for colour in Colour:
        slots = rollout.slots.get(colour, ())
        sights = [observed.hosts[slot.host].slots.get(slot.key) for slot in slots if slot.host in observed.hosts]
        probes = [sight.facts.probe for sight in sights if sight is not None and sight.facts.probe is not None]
        counts = [sight.facts.open for sight in sights if sight is not None and sight.facts.open is not None]
        found.append(
            Side(
                colour,
                version_in(rollout, colour),
                _share(observed, rollout, colour),
                sum(probe.ok for probe in probes) if probes else None,
                len(slots),
                sum(counts) if len(counts) == len(slots) and slots else None,
                _modes(observed, rollout, colour),
            )
        )
    return tuple(found)


def version_in(rollout: Rollout, colour: Colour) -> str:
    if colour is rollout.candidate_colour:
        return rollout.candidate.version
    if rollout.stable is not None:
        return rollout.stable.version
    return "unmanaged" if rollout.stable_colour is colour else "empty"


def _share(observed: Observed, rollout: Rollout, colour: Colour) -> int | None:
    """By weight over the nodes that are accept and not known to be down: how the balancer splits new connections."""
    mine = {slot.node_address for slot in rollout.slots.get(colour, ())}
    taking = [n for n in _users(observed, rollout) if n.mode is Mode.ACCEPT and n.up is not False]
    total = sum(node.weight for node in taking)
    if not observed.nodes or not total:
        return None
    return round(100 * sum(node.weight for node in taking if node.address in mine) / total)


def _users(observed: Observed, rollout: Rollout) -> list[NodeFacts]:
    return [node.facts for node in observed.nodes.values() if node.facts.port != rollout.test_port]


def _modes(observed: Observed, rollout: Rollout, colour: Colour) -> str:
    mine = {slot.node_address for slot in rollout.slots.get(colour, ())}
    modes = {node.mode.value for node in _users(observed, rollout) if node.address in mine}
    return modes.pop() if len(modes) == 1 else "mixed" if modes else ""


def stays(observed: Observed, rollout: Rollout) -> str:
    """One line for a drive that ends in the middle: what serves, and how well."""
    parts = [f"{side.share} % on {side.version}" for side in sides(observed, rollout) if side.share is not None]
    if not parts:
        return "the balancer was not seen to send anyone anywhere"
    return ", ".join(part for part in parts if not part.startswith("0 %")) or ", ".join(parts)


def public(observed: Observed) -> str:
    seen = observed.public
    return f"{many(seen.sent, 'request')}, {seen.failed:,} failed"
