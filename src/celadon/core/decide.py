"""The rollout, as one pure function: decide(observed, intent, now) -> Act | Look | Wait | Finish | Halt.

Rule 1: everything that chooses the next action lives here and in the modules that it names: `traffic` moves it,
`judge` says whether the candidate is good enough, `testers`, `going_back` and `retiring` hold the rules of their
phases, `attempts` keeps from trying again too soon.
Rule 2: none of them can act. They import values only, so they cannot even try.

Read RULES first: it is the rollout, top to bottom. The first rule with an opinion wins.
"""

from collections.abc import Callable

from celadon.core import judge, traffic
from celadon.core.action import (
    Act,
    Decision,
    Finish,
    Halt,
    Look,
    PutArtifact,
    PutSettings,
    Record,
    RunCommand,
    Start,
    Stop,
    Wait,
    WarmUpSlot,
)
from celadon.core.attempts import hold_back
from celadon.core.going_back import go_back_if_asked, restore_stable
from celadon.core.intent import HookMoment, Intent
from celadon.core.journal import Committed, Paused, Returning, StepDone, Target
from celadon.core.observed import Mode, SlotSight
from celadon.core.release import Instant, Slot
from celadon.core.retiring import (
    drain_then_stop,
    finish,
    let_actions_end,
    look_a_last_time,
    out_and_quiet,
    prune,
    soonest,
    take_out,
)
from celadon.core.scene import Goal, Observed, Scene
from celadon.core.strategy import FULL_WEIGHT, Approve, RunTest, SetWeight
from celadon.core.testers import close_test_port, open_test_port, shut


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
    """What the journal says to be over is over: only the intent may still have to be told."""
    finished = scene.journal.finished
    return Finish(finished.result, finished.reason) if finished is not None else None


def let_it_be_written(scene: Scene) -> Decision | None:
    """One decision at a time: while one is being written down, nothing is chosen that it may contradict."""
    writing = any(isinstance(action, Record) for action in scene.observed.in_flight)
    return Wait(None, "a decision is being written down") if writing else None


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


def run_before_prepare(scene: Scene) -> Decision | None:
    """The operator's first hook, before anything is changed anywhere."""
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
        elif (decision := out_and_quiet(scene, slot)) is None:
            left.append(Stop(slot, other))
        else:
            waits.append(decision)
    if left:
        return Act(tuple(left), f"stop what an earlier rollout left in {', '.join(stop.slot.key for stop in left)}")
    if missing:
        return Act(tuple(missing), f"start {', '.join(start.slot.key for start in missing)}")
    return soonest(waits)


def await_healthy(scene: Scene) -> Decision | None:
    """No traffic before the replica itself has answered well, so many times in a row, on its own host."""
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    wanted = scene.rollout.health.passes
    sick = [slot for slot in scene.rollout.candidate_slots if _passes(scene.slot(slot)) < wanted]
    if not sick:
        return None
    waits = ", ".join(f"{slot.key} {_passes(scene.slot(slot))}/{wanted}" for slot in sick)
    return Wait(None, f"probes passed in a row: {waits}")


def warm_up(scene: Scene) -> Decision | None:
    """Requests that wake the application up, once for each replica: users should not be the first."""
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
    if (decision := _listed(scene)) is not None:
        return decision
    return Act((Record(Committed()),), "all traffic is confirmed on the candidate")


def after_commit(scene: Scene) -> Decision | None:
    """The operator's hook after the commit point; also where the bake passed while nobody drove, or none is needed."""
    if scene.goal not in {Goal.BAKE, Goal.RETIRE} or scene.journal.retiring_at is not None:
        return None
    return run_hook(scene, "after_commit")


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


def run_last_hooks(scene: Scene) -> Decision | None:
    """The operator's hook at the end, of going back or of going on."""
    return run_hook(scene, "after_rollback" if scene.goal is Goal.BACK else "after_finish")


RULES: tuple[Callable[[Scene], Decision | None], ...] = (
    already_finished,
    let_it_be_written,
    go_back_if_asked,
    note_pause,
    protect_users,
    stop_when_stuck,
    restore_stable,
    close_test_port,
    run_before_prepare,
    hold_when_paused,
    prepare,
    start_missing,
    await_healthy,
    warm_up,
    open_test_port,
    take_step,
    commit,
    after_commit,
    bake,
    take_out,
    drain_then_stop,
    run_last_hooks,
    prune,
    look_a_last_time,
    let_actions_end,
)


# -- steps ---------------------------------------------------------------------------------------


def shift(scene: Scene) -> Decision | None:
    """One candidate node at weight 1 until the serving config calls it UP, then all, then stable goes out.

    With a test port the balancer has called all of them UP already: no first one goes ahead.
    """
    nodes = scene.candidate_nodes
    if not scene.has_traffic and (decision := run_hook(scene, "before_shift")) is not None:
        return decision
    first = scene.rollout.candidate_slots[0].node_address
    pilots = [node for node in nodes if node.facts.address == first]
    if not scene.rollout.tested_first and not all(scene.up(node) for node in pilots):
        one = {node.facts.id: scene.journal.asked.get(node.facts.id) or Target(Mode.ACCEPT, 1) for node in pilots}
        return traffic.move(scene, one) or traffic.await_up(scene, pilots)
    full = {node.facts.id: Target(Mode.ACCEPT, FULL_WEIGHT) for node in nodes}
    out = {node.facts.id: traffic.OFF for node in scene.stable_nodes}
    return traffic.move(scene, full | out) or traffic.await_up(scene, nodes) or shut(scene)


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


def _listed(scene: Scene) -> Decision | None:
    """Nodes are read one by one; only the list shows what somebody added to them."""
    if scene.observed.listed_at >= scene.now - scene.timing.fresh:
        return None
    return Look((), "is there anything else that takes traffic?")


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
