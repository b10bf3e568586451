"""The test port: a second config of the balancer, behind a firewall, on which testers meet the candidate first.

Two rules of `decide.RULES` and what `shift` ends with. Its nodes are kept apart from the users' (`Scene.test_nodes`):
no serving floor holds on it, and nothing that happens there changes who serves users.
"""

import msgspec

from celadon.core import traffic
from celadon.core.action import Act, Decision, Look, Wait
from celadon.core.journal import Target
from celadon.core.observed import Mode
from celadon.core.release import Slot
from celadon.core.scene import Goal, Scene
from celadon.core.strategy import FULL_WEIGHT, SetWeight


def open_test_port(scene: Scene) -> Decision | None:
    """The candidate is let in once it is warm, and nothing goes on before the balancer itself calls it UP there."""
    if not _is_their_turn(scene):
        return None
    mine = scene.candidate_test_nodes
    targets = {node.facts.id: traffic.OFF for node in scene.test_nodes}
    targets |= {node.facts.id: Target(Mode.ACCEPT, FULL_WEIGHT) for node in mine}
    decision = traffic.move(scene, targets) or traffic.await_up(scene, mine)
    # An UP from before may still be shown: it counts once it was seen to turn UP, or has lasted.
    unsure = [node for node in mine if not node.rose or scene.was_lowered(node)]
    decision = decision or traffic.settle(scene, unsure)
    if decision is None and _users_are_next(scene):
        old = tuple(node.facts.id for node in mine if not scene.fresh(node))
        decision = Look(old, "still UP there, before users follow?") if old else None
    return _told(decision, "test port")


def close_test_port(scene: Scene) -> Decision | None:
    """Whenever it is not the candidate's turn, whoever opened it. On the way forward `shift` does it at its end."""
    shifting = scene.goal is Goal.FORWARD and scene.has_traffic
    return None if shifting or _is_their_turn(scene) else shut(scene)


def shut(scene: Scene) -> Decision | None:
    """None once every node of the test port was asked to reject, and is seen so."""
    targets = {node.facts.id: traffic.OFF for node in scene.test_nodes}
    return _told(traffic.move(scene, targets), "close the test port")


def _is_their_turn(scene: Scene) -> bool:
    """From the candidate's last warm-up to the first traffic. Going back to a kept release passes no gate."""
    if scene.goal is not Goal.FORWARD or scene.has_traffic or not scene.rollout.tested_first:
        return False
    return all(_is_warm(scene, slot) for slot in scene.rollout.candidate_slots)


def _is_warm(scene: Scene, slot: Slot) -> bool:
    """A host that is not seen is as it was: the judge says when it is lost."""
    sight = scene.slot(slot)
    if sight is None:
        return slot.key in scene.warm_slots
    replica = sight.facts.replica
    return replica is not None and (slot.key, replica.id) in scene.journal.warmed


def _users_are_next(scene: Scene) -> bool:
    """While a hook runs before the shift nothing is asked: the number of calls must not grow with the wait."""
    index, steps = scene.journal.steps_done, scene.rollout.steps
    return not scene.observed.in_flight and index < len(steps) and isinstance(steps[index], SetWeight)


def _told(decision: Decision | None, where: str) -> Decision | None:
    """The same change with the port's name before it: people read what a change is for."""
    if not isinstance(decision, Act | Look | Wait):
        return decision
    return msgspec.structs.replace(decision, because=f"{where}: {decision.because}")
