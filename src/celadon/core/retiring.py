"""The end of a rollout: out of the balancer, drained, stopped, tidied. Rules of `decide.RULES`."""

from celadon.core import judge, traffic
from celadon.core.action import Act, Decision, Finish, Look, Prune, Record, Stop, Wait
from celadon.core.attempts import failure_key
from celadon.core.journal import Abandoned, Retiring, Target
from celadon.core.observed import Mode, NodeSight, SlotSight
from celadon.core.release import Instant, Slot
from celadon.core.scene import Goal, Scene
from celadon.core.strategy import FULL_WEIGHT

LOOKS_AT_ONCE = 16  # few enough that the first answer is still fresh when the last has come


def take_out(scene: Scene) -> Decision | None:
    """Retire: stable gets nothing any more, on any port, and that is seen."""
    if scene.goal is not Goal.RETIRE or scene.rollout.stable_colour is None:
        return None
    keep = {node.facts.id: Target(Mode.ACCEPT, FULL_WEIGHT) for node in scene.candidate_nodes}
    targets = {node.facts.id: traffic.OFF for node in scene.stable_nodes}
    return traffic.move(scene, keep | targets)


def drain_then_stop(scene: Scene) -> Decision | None:
    """Never signal from accept, backup or drain; only what is off, fresh, and quiet or past the drain deadline."""
    if scene.goal is Goal.RETIRE and scene.rollout.unmanaged:
        return None
    stopping = {action.slot for action in scene.observed.in_flight if isinstance(action, Stop)}
    waits: list[Decision] = []
    ready: list[Slot] = []
    for slot in scene.leaving_slots:
        if slot in stopping or _gone(scene, slot):
            continue
        decision = _may_stop(scene, slot)
        if decision is None:
            ready.append(slot)
        else:
            waits.append(decision)
    if ready:
        return _stop(scene, ready)
    waiting = _looks_together(waits) or soonest(waits)
    return waiting or (Wait(None, "a replica is being stopped") if stopping else None)


def prune(scene: Scene) -> Decision | None:
    """What no way back needs is removed, once a host; a host that cannot be tidied keeps no rollout open."""
    slots = (*scene.rollout.candidate_slots, *scene.rollout.stable_slots)
    hosts = sorted({slot.host for slot in slots if scene.reachable(slot)})
    left = tuple(Prune(host) for host in hosts if host not in scene.journal.pruned and not _given_up(scene, host))
    return Act(left, "remove what no rollback needs") if left else None


def look_a_last_time(scene: Scene) -> Decision | None:
    """What is said at the end is said of fresh answers: draining took a while, and others can change a balancer."""
    nodes = scene.candidate_nodes + scene.stable_nodes + scene.test_nodes
    old = [node for node in nodes if not scene.fresh(node)]
    return Look(tuple(node.facts.id for node in old[:LOOKS_AT_ONCE]), "who serves at the end?") if old else None


def let_actions_end(scene: Scene) -> Decision | None:
    """Nothing of ours may still run when the lease is given back."""
    return Wait(None, "an action is still under way") if scene.observed.in_flight else None


def finish(scene: Scene) -> Decision:
    if scene.goal is Goal.BACK:
        returning = scene.journal.returning
        assert returning is not None  # noqa: S101 - BACK means returning; for the type checker
        return Finish("failed" if scene.rollout.stable_colour is None else "rolled_back", returning.reason)
    return Finish("done", "the candidate serves and stable is retired")


def _gone(scene: Scene, slot: Slot) -> bool:
    """Nothing of the leaving release is left in the slot, as its host says; or it was abandoned."""
    if slot.key in scene.journal.abandoned:
        return True
    if not scene.reachable(slot):
        return False
    sight = scene.slot(slot)
    if sight is None:
        return False
    replica = sight.facts.replica
    leaving = _leaving_release(scene)
    return replica is None or replica.release != leaving or (not replica.running and _was_stopped(scene, slot))


def _was_stopped(scene: Scene, slot: Slot) -> bool:
    return (slot.key, _leaving_release(scene)) in scene.journal.stopped


def _leaving_release(scene: Scene) -> str:
    release = scene.rollout.candidate if scene.goal is Goal.BACK else scene.rollout.stable
    return release.id if release is not None else ""


def _may_stop(scene: Scene, slot: Slot) -> Decision | None:
    nodes = scene.nodes_at(slot)
    on = [node for node in nodes if not scene.off(node)]
    if on:
        return traffic.settle(scene, on) or Wait(None, f"{slot.key} is not out of the balancer")
    known = scene.journal.raised | scene.rollout.baseline.keys()
    # Where somebody deleted its node, nobody knows what it carried.
    ports = len(scene.rollout.ports) + (scene.rollout.test_port is not None)
    touched = any(node.facts.id in known for node in nodes) or len(nodes) < ports
    if not scene.reachable(slot):
        return _abandon(scene, slot, _drain_until(scene, nodes))
    return _drained(scene, slot, nodes, had_traffic=touched)


def out_and_quiet(scene: Scene, slot: Slot) -> Decision | None:
    """What an earlier rollout left is signalled only when it is as certainly out as a stable that retires."""
    nodes = scene.nodes_at(slot)
    return traffic.settle(scene, nodes) or _drained(scene, slot, nodes, had_traffic=True)


def _drained(scene: Scene, slot: Slot, nodes: list[NodeSight], *, had_traffic: bool) -> Decision | None:
    """None once nobody is waiting for an answer from there, or the drain deadline has passed, on fresh answers.

    Quiet is counted when the balancer has settled: until then it may still send a request, after the newest count.
    """
    deadline = _drain_until(scene, nodes)
    sight, host = scene.slot(slot), scene.host(slot)
    since = sight.quiet_since if sight is not None else None
    counted_at = host.seen_at if host is not None else None
    counted = counted_at is not None and counted_at >= deadline - scene.timing.drain
    quiet = counted and since is not None and scene.now >= since + scene.timing.quiet
    if had_traffic and not quiet and scene.now < deadline:
        return Wait(deadline, f"drain {slot.key}: {_open(sight)}")
    stale = [node for node in nodes if not scene.fresh(node)]
    return Look(tuple(node.facts.id for node in stale), f"{slot.key}: still out?") if stale else None


def _drain_until(scene: Scene, nodes: list[NodeSight]) -> Instant:
    journal = scene.journal
    leaving = journal.returning_at if journal.returning_at is not None else journal.committed_at
    since = max((scene.unchanged_since(node) for node in nodes), default=leaving if leaving is not None else scene.now)
    return since + scene.timing.settle + scene.timing.drain


def _abandon(scene: Scene, slot: Slot, deadline: Instant) -> Decision:
    over = max(deadline, scene.now - scene.lost_for(slot)) + scene.timing.lost
    if scene.now >= over:
        return Act((Record(Abandoned(slot=slot.key)),), f"{slot.host} is dead and gets no traffic: left for later")
    return Wait(over, f"{slot.host} does not answer")


def _stop(scene: Scene, slots: list[Slot]) -> Decision:
    if scene.goal is Goal.RETIRE and scene.journal.retiring_at is None:
        return Act((Record(Retiring()),), "stable is out of the balancer and quiet")
    release = _leaving_release(scene)
    return Act(tuple(Stop(slot, release) for slot in slots), f"stop {', '.join(slot.key for slot in slots)}")


def _open(sight: SlotSight | None) -> str:
    if sight is None or sight.facts.open is None:
        return "open connections cannot be counted"
    return f"{sight.facts.open} open" if sight.facts.open else "waiting for quiet"


def _looks_together(waits: list[Decision]) -> Decision | None:
    """Fifty slots that are read and stopped one after the other take fifty times as long as two."""
    looks = [decision for decision in waits if isinstance(decision, Look)]
    nodes = [node for look in looks for node in look.nodes]
    return Look(tuple(nodes[:LOOKS_AT_ONCE]), looks[0].because) if looks else None


def soonest(waits: list[Decision]) -> Decision | None:
    """Looks and acts before waits; of waits the one that ends first."""
    for decision in waits:
        if not isinstance(decision, Wait):
            return decision
    timed = [wait for wait in waits if isinstance(wait, Wait)]
    if not timed:
        return None
    return min(timed, key=lambda wait: wait.until if wait.until is not None else float("inf"))


def _given_up(scene: Scene, host: str) -> bool:
    """Housekeeping that keeps failing must not keep a rollout open."""
    failed = scene.journal.failures.get(failure_key(Prune(host)))
    return failed is not None and failed[0] >= judge.ATTEMPTS
