"""Safety, taken away piece by piece: each mutant must break a promise that the unchanged code keeps.

A mutant replaces one function while it lives, or takes one rule off the list. `seeds`: where to look for it first.
A mutant that survives means that a promise, a fault or a world is missing, and not that the rule is.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from celadon.core import decide as deciding
from celadon.core import going_back, judge, retiring, traffic
from celadon.core import scene as scenes
from celadon.core.action import Act, Decision, Start
from celadon.core.observed import Mode
from celadon.core.scene import Scene
from celadon.drive import driver as driving
from celadon.drive import lease as leases
from celadon.drive import log as logs
from celadon.drive import memory as memories
from celadon.drive import perform as performing
from tests.simulation.story import draw, tell

Rule = Callable[[Scene], Decision | None]


class Mutant(msgspec.Struct, frozen=True):
    """`where`.`name` becomes `instead` while it lives."""

    what: str
    where: Any
    name: str
    instead: Any
    seeds: tuple[int, ...] = ()

    @contextmanager
    def alive(self) -> Iterator[None]:
        before = self.where.__dict__[self.name]
        setattr(self.where, self.name, self.instead)
        try:
            yield
        finally:
            setattr(self.where, self.name, before)


def without(rule: Rule, *seeds: int) -> Mutant:
    rules = tuple(other for other in deciding.RULES if other is not rule)
    return Mutant(f"no rule {rule.__name__}", deciding, "RULES", rules, seeds)


def _always(answer: object) -> Callable[..., Any]:
    return lambda *_args, **_more: answer


def _lower_at_once(scene: Scene, nodes: list[Any], targets: traffic.Targets) -> Decision:
    return traffic._ask(scene, nodes, targets, lowers=True)


def _lower_before_raise(scene: Scene, targets: traffic.Targets) -> Decision | None:
    nodes = [scene.observed.nodes[id_] for id_ in targets if id_ in scene.observed.nodes]
    wrong = [node for node in nodes if not traffic.in_place(scene, node, targets[node.facts.id])]
    return traffic._ask(scene, wrong, targets) if wrong else None


def _seen_is_enough(_scene: Scene, node: Any, target: Any) -> bool:
    return traffic._matches(node, target)


def _settled_by_since(scene: Scene, node: Any) -> Any:
    return node.since


def _start_all(scene: Scene) -> Decision | None:
    if scene.goal is not scenes.Goal.FORWARD or scene.has_traffic:
        return None
    missing = tuple(Start(slot) for slot in scene.rollout.candidate_slots if not deciding._holds_candidate(scene, slot))
    return Act(missing, "start") if missing else None


def _rules_with(rule: Rule, instead: Rule) -> tuple[Rule, ...]:
    return tuple(instead if other is rule else other for other in deciding.RULES)


async def _no_renewal(self: Any) -> None:
    self._renewed_at = self._clock.now()


async def _always_taken(self: Any, raw: bytes | None, before: Any) -> bool:
    sent_at = self._clock.now()
    facts = leases.LeaseFacts(self.holder, (before.fence if before else 0) + 1, 0, self._clock.utc())
    new = msgspec.json.encode(facts)
    await self._store.swap_lease(await self._store.read_lease(), new)
    self._holds(new, sent_at)
    return True


MUTANTS: tuple[Mutant, ...] = (
    without(going_back.go_back_if_asked, 3),
    without(deciding.protect_users, 2),
    without(going_back.restore_stable, 12),
    without(deciding.hold_when_paused, 828),
    without(deciding.prepare, 4),
    without(deciding.start_missing, 4),
    without(deciding.await_healthy, 1),
    without(deciding.take_step, 4),
    without(deciding.commit, 1),
    without(retiring.take_out, 1),
    without(retiring.drain_then_stop, 1),
    Mutant("a test is passed unseen", deciding, "run_test", _always(None), (6,)),
    Mutant("nobody waits for promote", deciding, "await_approval", _always(None), (4,)),
    Mutant("stopped without being out", retiring, "_may_stop", _always(None), (1,)),
    Mutant("stopped without quiet", retiring, "_drained", _always(None), (19, 16)),
    Mutant("left-overs are started over", deciding, "RULES", _rules_with(deciding.start_missing, _start_all), (50,)),
    Mutant("no fresh look before going back ends", going_back, "_seen_since", _always(None), (102, 58)),
    Mutant("the net is left at once", going_back, "_served_by_backup", _always(False)),
    Mutant("lowered without counting the floor", traffic, "_lower", _lower_at_once),
    Mutant("the floor is nought", traffic, "floor", _always(0)),
    Mutant("lowered before it is raised", traffic, "move", _lower_before_raise, (7, 1)),
    Mutant("seen is enough", traffic, "in_place", _seen_is_enough),
    Mutant("nothing settles", traffic, "settle", _always(None), (1,)),
    Mutant("nobody waits for UP", traffic, "await_up", _always(None)),
    Mutant("everything is settled", scenes.Scene, "settled", _always(True), (4,)),
    Mutant("settled forgets what was asked", scenes.Scene, "unchanged_since", _settled_by_since),
    Mutant("accept is UP", scenes.Scene, "up", lambda _scene, node: node.facts.mode is Mode.ACCEPT),
    Mutant("reject is off", scenes.Scene, "off", lambda _scene, node: node.facts.mode is Mode.REJECT, (4,)),
    Mutant("failures are nobody's", judge, "_public", _always(None), (29,)),
    Mutant("no replica is judged", judge, "_replica", _always(None)),
    Mutant("slow starters are waited for", judge, "_starting", _always(None)),
    Mutant("every node rose", memories.Memory, "_sight", None, (28,)),
    Mutant("quiet is assumed", memories.Memory, "_quiet", lambda _self, _before, _facts, at: at, (19,)),
    Mutant("asked is not written down before", driving, "asked_before", _always(None)),
    Mutant("a lease is taken from the living", leases.Lease, "_swap", _always_taken),
    Mutant(
        "prune keeps only the candidate",
        performing.Performer,
        "_kept",
        lambda self: frozenset({self._rollout.candidate.id}),
    ),
    Mutant("the journal is not read", logs.Log, "load", None),
)


def _every_node_rose(sight: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: msgspec.structs.replace(sight(*args), rose=True)


async def _read_nothing(self: Any) -> None:
    """A driver that believes that nothing has happened."""


MUTANTS = tuple(
    msgspec.structs.replace(mutant, instead=_every_node_rose(memories.Memory._sight))
    if mutant.name == "_sight"
    else msgspec.structs.replace(mutant, instead=_read_nothing)
    if mutant.name == "load"
    else mutant
    for mutant in MUTANTS
)


PATIENCE = 3000.0  # seconds of a story: without its deadlines a mutant may never end


def killed_by(mutant: Mutant, seeds: range, *, worlds: int) -> tuple[int, str] | None:
    """The first seed whose world sees the difference, and the promise; None: it survives so many worlds."""
    for seed in itertools.islice(dict.fromkeys((*mutant.seeds, *seeds)), worlds):
        with mutant.alive():
            found = _broken(seed)
        if found and not _broken(seed):
            return seed, found
    return None


def _broken(seed: int) -> str:
    try:
        return next(iter(tell(draw(seed), patience=PATIENCE).broken), "")
    except Exception as error:  # noqa: BLE001 - whatever it dies of, it was noticed
        return f"{type(error).__name__}: {error}"


def main() -> int:
    """Hunt every mutant through so many worlds, and name those that nobody noticed."""
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    survived = 0
    for mutant in MUTANTS:
        found = killed_by(mutant, range(worlds), worlds=worlds)
        survived += found is None
        print(f"{mutant.what}: {found or 'SURVIVED'}", flush=True)  # noqa: T201 - what it is for
    return survived


if __name__ == "__main__":
    sys.exit(main())
