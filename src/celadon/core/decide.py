"""The rollout, as one pure function: decide(observed, intent, now) -> Act | Look | Wait | Finish | Halt.

Rule 1: everything that chooses the next action lives here and in `traffic` and `judge`.
Rule 2: none of them can act. They import values only, so they cannot even try.

Read RULES first: it is the rollout, top to bottom. The first rule with an opinion wins.
"""

from collections.abc import Callable

from celadon.core import judge, traffic
from celadon.core.action import (
    Act,
    Action,
    Decision,
    Finish,
    Halt,
    Look,
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
from celadon.core.intent import HookMoment, Intent
from celadon.core.journal import Abandoned, Committed, Paused, Retiring, Returning, StepDone, Target
from celadon.core.observed import Mode, NodeSight, SlotSight
from celadon.core.release import Instant, Slot
from celadon.core.scene import Goal, Observed, Scene
from celadon.core.strategy import FULL_WEIGHT, Approve, RunTest, SetWeight

LOOKS_AT_ONCE = 16  # few enough that the first answer is still fresh when the last has come
RETRY_DOUBLINGS = 5  # the pause after a failure grows to 32 times the first


def decide(observed: Observed, intent: Intent, now: Instant) -> Decision:
    """What to do next, and why. Total: every state has an answer."""
    scene = Scene(observed, intent, now)
    for rule in RULES:
        decision = rule(scene)
        if decision is not None:
            return hold_back(decision, scene)
    return finish(scene)


# -- the rules, in order of precedence -----------------------------------------------------------


def already_finished(scene: Scene) -> Decision | None:
    finished = scene.journal.finished
    return Finish(finished.result, finished.reason) if finished is not None else None


def go_back_if_asked(scene: Scene) -> Decision | None:
    """Going back is possible until stable is signalled, asks nothing, and passes no gate."""
    who = scene.intent.requests.go_back
    if not who or scene.goal is Goal.BACK or scene.journal.retiring_at is not None:
        return None
    return Act((Record(Returning(reason="asked for", asked_by=who)),), f"{who} asked to go back")


def note_pause(scene: Scene) -> Decision | None:
    """Pausing stops the deadline's clock, so it is written down. Going back is never paused."""
    wanted = scene.intent.requests.paused
    if scene.goal is Goal.BACK or wanted == (scene.journal.paused_at is not None):
        return None
    return Act((Record(Paused(paused=wanted)),), "an operator paused" if wanted else "an operator unpaused")


def protect_users(scene: Scene) -> Decision | None:
    """A candidate that proves bad is left, before the commit and in the bake alike. Also while paused.

    After the commit only where there is something to go back to: a first deploy's candidate is all that users have.
    """
    if scene.goal is Goal.BACK or scene.journal.retiring_at is not None:
        return None
    if scene.journal.committed_at is not None and scene.rollout.stable_colour is None:
        return None
    verdict = judge.candidate(scene)
    if isinstance(verdict, Returning):
        return Act((Record(verdict),), verdict.reason)
    return verdict


def stop_when_stuck(scene: Scene) -> Decision | None:
    """Every wait has a deadline. Past the commit point and on the way back it ends the drive, not the service."""
    started = {Goal.BACK: scene.journal.returning_at, Goal.RETIRE: scene.journal.committed_at}.get(scene.goal)
    allowed = scene.timing.deadline + (scene.timing.bake if scene.goal is Goal.RETIRE else 0.0)
    if not scene.overdue(started, allowed):
        return None
    return Halt("it could not be finished in time", "celadon status · then run the same command again", False)


def restore_stable(scene: Scene) -> Decision | None:
    """Going back is safe with little knowledge, so it comes before looking around."""
    if scene.goal is not Goal.BACK:
        return None
    targets = {node.facts.id: traffic.OFF for node in scene.candidate_nodes}
    stable = [node for node in scene.stable_nodes if node.facts.id in scene.rollout.baseline]
    home = {node.facts.id: Target(Mode.ACCEPT, scene.rollout.baseline[node.facts.id]) for node in stable}
    away = [node for node in stable if not traffic.in_place(scene, node, home[node.facts.id])]
    # Whether the net may be raised at once hangs on the candidate, and the bake reads it ever more rarely.
    net = away and any(node.facts.mode is Mode.BACKUP for node in stable)
    if net and (decision := _seen_since(scene, scene.journal.returning_at)) is not None:
        return decision
    if net and (old := tuple(n.facts.id for n in scene.candidate_nodes if scene.up(n) and not scene.fresh(n))):
        return Look(old, "does the candidate still serve?")
    if away and _served_by_backup(scene):
        return _leave_backup(scene, stable, home, targets)
    return traffic.move(scene, home | targets) or _seen_since(scene, scene.journal.returning_at)


def run_before_prepare(scene: Scene) -> Decision | None:
    return run_hook(scene, "before_prepare") if scene.goal is Goal.FORWARD else None


def hold_when_paused(scene: Scene) -> Decision | None:
    """The safe points: before anything of the candidate's has traffic, and in the bake."""
    if scene.journal.paused_at is None:
        return None
    if (scene.goal is Goal.FORWARD and not scene.has_traffic) or scene.goal is Goal.BAKE:
        return Wait(None, "paused by an operator")
    return None


def prepare(scene: Scene) -> Decision | None:
    """Settings on all candidate hosts, then artifacts on all: a second machine then needs no secret."""
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    candidate = scene.rollout.candidate
    hosts = sorted({slot.host for slot in scene.rollout.candidate_slots})
    seen = {name: scene.observed.hosts.get(name) for name in hosts}
    unseen = [name for name, host in seen.items() if host is None or host.facts is None or host.lost_since is not None]
    facts = {name: host.facts for name, host in seen.items() if host is not None and host.facts is not None}
    settings = tuple(PutSettings(n) for n in hosts if n in facts and candidate.id not in facts[n].settings)
    if settings:
        return Act(settings, f"settings to {_hosts(settings)}")
    images = tuple(PutArtifact(n) for n in hosts if n in facts and candidate.artifact not in facts[n].artifacts)
    if images:
        return Act(images, f"release to {_hosts(images)}")
    return Wait(None, f"{', '.join(unseen)} does not answer") if unseen else None


def start_missing(scene: Scene) -> Decision | None:
    """Before the first traffic: what is missing is started. Later a missing replica is the judge's business."""
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    left: list[Stop] = []
    missing: list[Start] = []
    waits: list[Decision] = []
    for slot in scene.rollout.candidate_slots:
        if _holds_candidate(scene, slot):
            continue
        other = _left_over(scene, slot)
        if other is None:
            missing.append(Start(slot))
        elif (decision := _out_and_quiet(scene, slot)) is None:
            left.append(Stop(slot, other))
        else:
            waits.append(decision)
    if left:
        return Act(tuple(left), f"stop what an earlier rollout left in {', '.join(stop.slot.key for stop in left)}")
    if missing:
        return Act(tuple(missing), f"start {', '.join(start.slot.key for start in missing)}")
    return _soonest(waits)


def await_healthy(scene: Scene) -> Decision | None:
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    wanted = scene.rollout.health.passes
    sick = [slot for slot in scene.rollout.candidate_slots if _passes(scene.slot(slot)) < wanted]
    if not sick:
        return None
    waits = ", ".join(f"{slot.key} {_passes(scene.slot(slot))}/{wanted}" for slot in sick)
    return Wait(None, f"probes passed in a row: {waits}")


def warm_up(scene: Scene) -> Decision | None:
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    cold = []
    for slot in scene.rollout.candidate_slots:
        sight = scene.slot(slot)
        replica = sight.facts.replica.id if sight is not None and sight.facts.replica is not None else ""
        if (slot.key, replica) not in scene.journal.warmed:
            cold.append(WarmUpSlot(slot, replica))
    return Act(tuple(cold), "warm-up requests") if cold else None


def take_step(scene: Scene) -> Decision | None:
    """The strategy's next step. Each says itself when it is done."""
    index = scene.journal.steps_done
    if scene.goal is not Goal.FORWARD or index >= len(scene.rollout.steps):
        return None
    match scene.rollout.steps[index]:
        case RunTest(name=name):
            decision = run_test(scene, name)
        case Approve():
            decision = await_approval(scene, index)
        case SetWeight():
            decision = shift(scene)
    done = StepDone(index=index, waited=scene.held_for)
    return decision or Act((Record(done),), f"step {index + 1} of {len(scene.rollout.steps)} is done")


def commit(scene: Scene) -> Decision | None:
    """Seen and settled on all ports, and verified through the users' door: then it is written down."""
    if scene.goal is not Goal.FORWARD:
        return None
    if (decision := shift(scene)) is not None:  # a late write of a driver that died may have undone it
        return decision
    if (decision := traffic.settle(scene, scene.candidate_nodes + scene.stable_nodes)) is not None:
        return decision
    if (decision := _verified(scene)) is not None:
        return decision
    return Act((Record(Committed()),), "all traffic is confirmed on the candidate")


def after_commit(scene: Scene) -> Decision | None:
    return run_hook(scene, "after_commit") if scene.goal is Goal.BAKE else None


def bake(scene: Scene) -> Decision | None:
    """Stable stays warm as the balancer's own backup; a first deploy has nothing to keep."""
    if scene.goal is not Goal.BAKE:
        return None
    net = Mode(scene.rollout.bake_net)
    weights = scene.rollout.baseline
    stable = [node for node in scene.stable_nodes if node.facts.id in weights]
    targets = {node.facts.id: Target(net, weights[node.facts.id]) for node in stable}
    if net is Mode.REJECT:
        targets = {node.facts.id: traffic.OFF for node in stable}  # as the shift left them: nothing to ask
    keep = {node.facts.id: Target(Mode.ACCEPT, FULL_WEIGHT) for node in scene.candidate_nodes}
    if (decision := traffic.move(scene, keep | targets)) is not None:
        return decision
    if scene.intent.requests.until_commit:
        return Finish("committed", "stable stays warm; `celadon resume` or the next deploy finishes")
    committed = scene.journal.committed_at
    assert committed is not None  # noqa: S101 - BAKE means committed; for the type checker
    # Looked at ever more rarely, by the list: a driver that died may have left a write on its way.
    oldest = min((node.read_at for node in scene.observed.nodes.values()), default=scene.now)
    look_at = oldest + max(scene.timing.poll, oldest - committed)
    if scene.now >= look_at:
        return Look((), "bake: is the balancer as it should be?")
    return Wait(min(look_at, committed + scene.timing.bake), "bake: rollback changes only the balancer")


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
    waiting = _looks_together(waits) or _soonest(waits)
    return waiting or (Wait(None, "a replica is being stopped") if stopping else None)


def run_last_hooks(scene: Scene) -> Decision | None:
    return run_hook(scene, "after_rollback" if scene.goal is Goal.BACK else "after_finish")


def prune(scene: Scene) -> Decision | None:
    slots = (*scene.rollout.candidate_slots, *scene.rollout.stable_slots)
    hosts = sorted({slot.host for slot in slots if scene.reachable(slot)})
    left = tuple(Prune(host) for host in hosts if host not in scene.journal.pruned and not _given_up(scene, host))
    return Act(left, "remove what no rollback needs") if left else None


def let_actions_end(scene: Scene) -> Decision | None:
    """Nothing of ours may still run when the lease is given back."""
    return Wait(None, "an action is still under way") if scene.observed.in_flight else None


RULES: tuple[Callable[[Scene], Decision | None], ...] = (
    already_finished,
    go_back_if_asked,
    note_pause,
    protect_users,
    stop_when_stuck,
    restore_stable,
    run_before_prepare,
    hold_when_paused,
    prepare,
    start_missing,
    await_healthy,
    warm_up,
    take_step,
    commit,
    after_commit,
    bake,
    take_out,
    drain_then_stop,
    run_last_hooks,
    prune,
    let_actions_end,
)


def finish(scene: Scene) -> Decision:
    if scene.goal is Goal.BACK:
        returning = scene.journal.returning
        assert returning is not None  # noqa: S101 - BACK means returning; for the type checker
        return Finish("failed" if scene.rollout.stable_colour is None else "rolled_back", returning.reason)
    return Finish("done", "the candidate serves and stable is retired")


# -- going back ----------------------------------------------------------------------------------


def _served_by_backup(scene: Scene) -> bool:
    """No accept node is UP somewhere, and stable is a backup there: users are on the net now.

    A stable node that was raised out of it counts once it has settled: whether a backup's health is checked is not
    documented, so its UP may be from before, and the rest of the net must hold until then.
    """
    sick = {slot.node_address for slot in scene.rollout.candidate_slots if _is_sick(scene, slot)}
    up = {node.facts.port for node in scene.candidate_nodes if scene.up(node) and node.facts.address not in sick}
    up |= {node.facts.port for node in scene.stable_nodes if scene.serving(node)}
    return any(node.facts.mode is Mode.BACKUP and node.facts.port not in up for node in scene.stable_nodes)


def _leave_lone_backup(scene: Scene, home: traffic.Targets, off: traffic.Targets) -> Decision | None:
    """A lone backup holds everything, so it moves beside a candidate that is UP, or when that one stays down.

    A candidate that died is often back in seconds; until then the net serves, and waiting harms nobody.
    """
    if all(scene.up(node) for node in scene.candidate_nodes):
        return traffic.move(scene, home | off)
    if not scene.overdue(scene.journal.returning_at, scene.timing.up_within):
        return traffic.await_up(scene, scene.candidate_nodes)
    return traffic.move(scene, off) or traffic.move(scene, home)


def _is_sick(scene: Scene, slot: Slot) -> bool:
    """As its host sees it; the balancer's own check is slower to notice. A host that is silent says nothing good."""
    sight = scene.slot(slot)
    return not scene.reachable(slot) or sight is None or sight.fails > 0


def _seen_since(scene: Scene, since: Instant | None) -> Decision | None:
    """Who serves is said of answers younger than the wish to go back: the balancer overrules what we know."""
    old = [n for n in scene.candidate_nodes + scene.stable_nodes if since is not None and n.read_at < since]
    return Look(tuple(node.facts.id for node in old), "who serves now?") if old else None


def _leave_backup(
    scene: Scene, stable: list[NodeSight], home: traffic.Targets, off: traffic.Targets
) -> Decision | None:
    """One address at a time, each UP before the next."""
    addresses = sorted({node.facts.address for node in stable})
    if len(addresses) == 1:
        return _leave_lone_backup(scene, home, off)
    for address in addresses:
        here = [node for node in stable if node.facts.address == address]
        targets = {node.facts.id: home[node.facts.id] for node in here}
        if traffic.rise_is_late(scene, here):
            continue  # it may be dead: the next one is tried
        decision = traffic.move(scene, targets) or traffic.await_up(scene, here) or traffic.settle(scene, here)
        if decision is not None:
            return decision
    return traffic.move(scene, home | off)


# -- steps ---------------------------------------------------------------------------------------


def shift(scene: Scene) -> Decision | None:
    """One candidate node at weight 1 until the serving config calls it UP, then all, then stable goes out."""
    nodes = scene.candidate_nodes
    if not scene.has_traffic and (decision := run_hook(scene, "before_shift")) is not None:
        return decision
    first = scene.rollout.candidate_slots[0].node_address
    pilots = [node for node in nodes if node.facts.address == first]
    if not all(scene.up(node) for node in pilots):
        one = {node.facts.id: scene.journal.asked.get(node.facts.id) or Target(Mode.ACCEPT, 1) for node in pilots}
        return traffic.move(scene, one) or traffic.await_up(scene, pilots)
    full = {node.facts.id: Target(Mode.ACCEPT, FULL_WEIGHT) for node in nodes}
    out = {node.facts.id: traffic.OFF for node in scene.stable_nodes}
    return traffic.move(scene, full | out) or traffic.await_up(scene, nodes)


def run_test(scene: Scene, name: str) -> Decision | None:
    """Tests may be repeated: they run without user traffic, so a crash in one starts it again."""
    if scene.journal.commands.get(("test", name)) is True:
        return None
    return Act((RunCommand("test", name),), f"test {name}")


def await_approval(scene: Scene, index: int) -> Decision | None:
    needed = 1 + sum(isinstance(step, Approve) for step in scene.rollout.steps[:index])
    if scene.intent.requests.promote_all or scene.intent.requests.promotions >= needed:
        return None
    return Wait(None, "held: celadon promote goes on, celadon abort goes back")


def run_hook(scene: Scene, moment: HookMoment) -> Decision | None:
    """Journaled before and after. A crash between asks a person, unless it is declared safe to repeat."""
    hook = scene.rollout.hook(moment)
    key = ("hook", moment)
    if hook is None or key in scene.journal.commands or moment in scene.intent.requests.settled_hooks:
        return None
    action = RunCommand("hook", moment)
    began = key in scene.journal.started_commands and action not in scene.observed.in_flight
    if began and not hook.safe_to_repeat and scene.goal is not Goal.BACK:
        return Halt(
            f"hook {moment} was running when its driver died: nobody knows whether it finished",
            "look, then: celadon promote (it is done, go on) · celadon abort (go back)",
            needs_person=True,
        )
    if began and not hook.safe_to_repeat:
        return None  # going back passes no gate; the journal shows that it began
    return Act((action,), f"hook {moment}")


def _verified(scene: Scene) -> Decision | None:
    public = scene.observed.public
    asked = [at for id_, at in scene.journal.asked_at.items() if id_ in scene.observed.nodes]
    since = max(asked, default=scene.journal.opened_at or scene.now)
    verify, wanted = scene.rollout.verify, scene.rollout.verify.passes
    # Answers that nobody signed belong to a run that may have begun before the shift: of these enough must have
    # come since, which an unbroken run at a known rate shows by its length.
    enough = wanted / verify.rate + scene.timing.interval
    began_after = public.since is not None and public.since >= since
    if public.passes >= wanted and public.since is not None and (began_after or scene.now >= since + enough):
        return None
    if scene.overdue(since, scene.timing.settle + scene.timing.verify_within):
        reason = f"not verified through {verify.url}: {public.passes} of {wanted} good answers in a row"
        return Act((Record(Returning(reason=reason)),), reason)
    return Wait(None, f"verify through the users' door: {public.passes} of {wanted} good answers in a row")


# -- retiring ------------------------------------------------------------------------------------


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
    touched = any(node.facts.id in scene.journal.raised | scene.rollout.baseline.keys() for node in nodes)
    if not scene.reachable(slot):
        return _abandon(scene, slot, _drain_until(scene, nodes))
    return _drained(scene, slot, nodes, had_traffic=touched)


def _out_and_quiet(scene: Scene, slot: Slot) -> Decision | None:
    """What an earlier rollout left is signalled only when it is as certainly out as a stable that retires."""
    nodes = scene.nodes_at(slot)
    return traffic.settle(scene, nodes) or _drained(scene, slot, nodes, had_traffic=True)


def _drained(scene: Scene, slot: Slot, nodes: list[NodeSight], *, had_traffic: bool) -> Decision | None:
    """None once nobody is waiting for an answer from there, or the drain deadline has passed, on fresh answers."""
    deadline = _drain_until(scene, nodes)
    sight = scene.slot(slot)
    since = sight.quiet_since if sight is not None else None
    quiet = since is not None and scene.now >= since + scene.timing.quiet
    if had_traffic and not quiet and scene.now < deadline:
        return Wait(deadline, f"drain {slot.key}: {_open(sight)}")
    stale = [node for node in nodes if not scene.fresh(node)]
    return Look(tuple(node.facts.id for node in stale), f"{slot.key}: still out?") if stale else None


def _drain_until(scene: Scene, nodes: list[NodeSight]) -> Instant:
    settled = (scene.unchanged_since(node) + scene.timing.settle for node in nodes)
    return max(settled, default=scene.now) + scene.timing.drain


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


def _soonest(waits: list[Decision]) -> Decision | None:
    """Looks and acts before waits; of waits the one that ends first."""
    for decision in waits:
        if not isinstance(decision, Wait):
            return decision
    timed = [wait for wait in waits if isinstance(wait, Wait)]
    if not timed:
        return None
    return min(timed, key=lambda wait: wait.until if wait.until is not None else float("inf"))


# -- shared questions ----------------------------------------------------------------------------


def _left_over(scene: Scene, slot: Slot) -> str | None:
    """Our own running replica of another release in a candidate's slot: an abandoned one whose host came back."""
    sight = scene.slot(slot)
    replica = sight.facts.replica if sight is not None else None
    if replica is None or not replica.running or replica.release == scene.rollout.candidate.id:
        return None
    return replica.release


def _holds_candidate(scene: Scene, slot: Slot) -> bool:
    sight = scene.slot(slot)
    if sight is None:
        return True  # unknown: nothing is started on a guess
    replica = sight.facts.replica
    return replica is not None and replica.release == scene.rollout.candidate.id and (replica.running or _exits(sight))


def _exits(sight: SlotSight) -> bool:
    """It exited and its supervisor brings it back: the judge counts these."""
    return sight.facts.replica is not None and sight.facts.replica.restarts > 0


def _passes(sight: SlotSight | None) -> int:
    return sight.passes if sight is not None else 0


def _hosts(actions: tuple[PutSettings, ...] | tuple[PutArtifact, ...]) -> str:
    return ", ".join(action.host for action in actions)


def _given_up(scene: Scene, host: str) -> bool:
    """Housekeeping that keeps failing must not keep a rollout open."""
    failed = scene.journal.failures.get(failure_key(Prune(host)))
    return failed is not None and failed[0] >= judge.ATTEMPTS


def subject(action: Action) -> tuple[object, ...]:
    """What an action is about: two about the same thing never run at once."""
    match action:
        case SetNode(node=node):
            return ("node", node)
        case Start(slot=slot) | Stop(slot=slot) | WarmUpSlot(slot=slot):
            return ("slot", slot.key)
        case PutSettings(host=host):
            return ("settings", host)
        case PutArtifact(host=host):
            return ("artifact", host)
        case Prune(host=host):
            return ("prune", host)
        case RunCommand(kind=kind, name=name):
            return ("command", kind, name)
        case Record(event=event):
            return ("record", event)


def failure_key(action: Action) -> str:
    """The words failures of this action are counted by."""
    if isinstance(action, SetNode):
        return f"SetNode {action.node} {action.mode.value} {action.weight}"
    return " ".join(str(part) for part in (type(action).__name__, *subject(action)[1:]))


def hold_back(decision: Decision, scene: Scene) -> Decision:
    """Leave out what is under way or failed a moment ago. Trying again gets rarer; giving up is the judge's."""
    if isinstance(decision, Wait) and decision.until is not None and decision.until <= scene.now:
        return Wait(None, decision.because)  # a rule waits for something else by now; the loop must not spin
    if not isinstance(decision, Act):
        return decision
    busy = {subject(action) for action in scene.observed.in_flight}
    free = [action for action in decision.actions if subject(action) not in busy]
    if not free:
        return Wait(None, decision.because)
    due = {action: _retry_at(scene, action) for action in free}
    ready = tuple(action for action in free if due[action] <= scene.now)
    if ready:
        return Act(ready, decision.because)
    return Wait(min(due.values()), f"{decision.because}: a moment ago this failed")


def _retry_at(scene: Scene, action: Action) -> Instant:
    failed = scene.journal.failures.get(failure_key(action))
    if failed is None:
        return scene.now
    return failed[1] + scene.timing.retry * 2.0 ** min(failed[0] - 1, RETRY_DOUBLINGS)
