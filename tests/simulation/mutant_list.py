"""What is taken away, one piece a line: every rule of `decide.RULES`, and what traffic, judge, lease and loop rest on.

`rule` names the piece by module and function. A test asks that each rule and each named function has a mutant.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from celadon.core import attempts, going_back, judge, preflight, retiring, testers, traffic
from celadon.core import decide as deciding
from celadon.core import journal as journals
from celadon.core import live as lives
from celadon.core import scene as scenes
from celadon.core.action import Act, Decision, Record, Start
from celadon.core.journal import Abandoned, Returning, Target
from celadon.core.observed import Mode, NodeFacts, NodeSight
from celadon.core.release import Colour, Slot
from celadon.core.scene import Goal, Scene
from celadon.drive import app as apps
from celadon.drive import driver as driving
from celadon.drive import lease as leases
from celadon.drive import log as logs
from celadon.drive import memory as memories
from celadon.drive import perform as performing
from tests.simulation.mutants import Mutant, replaced, without


def _always(answer: object) -> Callable[..., Any]:
    return lambda *_args, **_more: answer


def _of(where: Any, name: str, what: str, instead: Any) -> Mutant:
    module = getattr(where, "__module__", where.__name__).rpartition(".")[2] if isinstance(where, type) else ""
    prefix = module or where.__name__.rpartition(".")[2]
    return Mutant(f"{prefix}.{name}", what, where, name, instead)


def _every_port(nodes: Mapping[Colour, Sequence[NodeFacts]]) -> list[int]:
    return sorted({node.port for its in nodes.values() for node in its})


def _floor_without_new_ports(*asked: Any, of: Any = preflight._floor) -> tuple[dict[int, int], dict[int, int]]:
    baseline, floor = of(*asked)
    new = {node.id for its in asked[2].values() for node in its if node.port in asked[-1]}
    return {id_: weight for id_, weight in baseline.items() if id_ not in new}, floor


# -- traffic -----------------------------------------------------------------------------------------


def _lower_at_once(scene: Scene, nodes: list[Any], targets: traffic.Targets) -> Decision:
    return traffic._ask(scene, nodes, targets, lowers=True)


def _lower_before_raise(scene: Scene, targets: traffic.Targets) -> Decision | None:
    nodes = [scene.observed.nodes[id_] for id_ in targets if id_ in scene.observed.nodes]
    wrong = [node for node in nodes if not traffic.in_place(scene, node, targets[node.facts.id])]
    return traffic._ask(scene, wrong, targets) if wrong else None


def _asked_is_enough(scene: Scene, node: Any, target: Any) -> bool:
    return scene.asked(node) == target or (scene.asked(node) is None and traffic._matches(node, target))


def _ask_once(scene: Scene, nodes: list[Any], targets: traffic.Targets, *, lowers: bool = False) -> Decision:
    left = [n for n in nodes if scene.journal.asked.get(n.facts.id) != targets[n.facts.id]]
    if left:
        return Act(tuple(traffic._change(n, targets[n.facts.id], lowers=lowers) for n in left), "ask once")
    return traffic.poll(scene, nodes, "asked once")


# -- going on ----------------------------------------------------------------------------------------


def _start_all(scene: Scene) -> Decision | None:
    if scene.goal is not Goal.FORWARD or scene.has_traffic:
        return None
    missing = tuple(Start(slot) for slot in scene.rollout.candidate_slots if not deciding._holds_candidate(scene, slot))
    return Act(missing, "start") if missing else None


def _go_back_always(scene: Scene) -> Decision | None:
    who = scene.intent.requests.go_back
    if not who or scene.goal is Goal.BACK or scene.journal.retiring_at is not None:
        return None
    return Act((Record(Returning(reason="asked for", asked_by=who)),), f"{who} asked to go back")


def _all_together(scene: Scene) -> Decision | None:
    """No first node that must be UP: all candidate nodes at once."""
    nodes = scene.candidate_nodes
    full = {node.facts.id: Target(Mode.ACCEPT, 100) for node in nodes}
    out = {node.facts.id: traffic.OFF for node in scene.stable_nodes}
    return traffic.move(scene, full | out) or traffic.await_up(scene, nodes)


# -- going back --------------------------------------------------------------------------------------


def _silent_unasked(scene: Scene, slot: Slot) -> float:
    host = scene.host(slot)
    return 0.0 if host is None or host.lost_since is None else scene.now - host.lost_since


def _seen_as_net(_scene: Scene, node: Any) -> bool:
    return bool(node.facts.mode is Mode.BACKUP)


def _all_at_once(scene: Scene, _stable: Any, home: traffic.Targets, off: traffic.Targets) -> Decision | None:
    return traffic.move(scene, home | off)


def _lone_at_once(scene: Scene, home: traffic.Targets, off: traffic.Targets) -> Decision | None:
    return traffic.move(scene, home | off)


def _net_for_ever(scene: Scene, node: NodeSight) -> bool:
    asked = scene.asked(node)
    return node.facts.mode is Mode.BACKUP or (asked is not None and asked.mode is Mode.BACKUP)


HOLDS = going_back._holds


def _down_before(scene: Scene, node: NodeSight) -> bool:
    return node.facts.up is not False and HOLDS(scene, node)


# -- lease, log, memory, loop ----------------------------------------------------------------------------


async def _always_taken(self: Any, raw: bytes | None, before: Any) -> bool:
    sent_at = self._clock.now()
    facts = leases.LeaseFacts(self.holder, (before.fence if before else 0) + 1, 0, self._clock.utc())
    new = msgspec.json.encode(facts)
    await self._store.swap_lease(await self._store.read_lease(), new)
    self._holds(new, sent_at)
    return True


async def _take_at_once(self: Any) -> None:
    while True:
        raw = await self._store.read_lease()
        if await self._swap(raw, leases.decode(raw)):
            return
        await self._clock.sleep(1.0)


async def _nothing(self: Any, *_args: Any) -> None:
    """Leaves it undone."""


async def _never_renewed(self: Any) -> None:
    self._renewed_at = self._clock.now()  # believes that it did


def _every_node_rose(self: Any, facts: Any, at: float) -> Any:
    return msgspec.structs.replace(SIGHT(self, facts, at), rose=True)


def _passes_add_up(before: Any, facts: Any, *, same_run: bool) -> tuple[int, int, str]:
    return PROBES(before, facts, same_run=before is not None)


def _steady_seen(self: Any, facts: Any, at: float) -> Any:
    before = self.nodes.get(facts.id)
    sight = SIGHT(self, facts, at)
    return msgspec.structs.replace(sight, since=before.since) if before is not None else sight


SIGHT = memories.Memory._sight
PROBES = memories.Memory._probes


async def _first_look_once(self: Any) -> None:
    await asyncio.gather(*(self._look_at(host) for host in self._hosts))


async def _perform_unfenced(self: Any, host: str) -> None:
    self._fenced.add(host)
    await LOOK_AT(self, host)


LOOK_AT = driving.Driver._look_at


def _only_candidate(self: Any) -> frozenset[str]:
    return frozenset({self._rollout.candidate.id})


MUTANTS: tuple[Mutant, ...] = (
    *(without(rule) for rule in deciding.RULES),
    replaced(deciding.start_missing, _start_all, "left-overs are started over"),
    replaced(going_back.go_back_if_asked, _go_back_always, "a committed first deploy is aborted"),
    # gates and steps
    _of(deciding, "run_test", "a test is passed unseen", _always(None)),
    _of(deciding, "await_approval", "nobody waits for promote", _always(None)),
    _of(deciding, "run_hook", "no hook runs", _always(None)),
    _of(deciding, "shift", "all candidate nodes at once", _all_together),
    _of(deciding, "_listed", "nobody looks for other nodes", _always(None)),
    _of(deciding, "_verified", "nothing is verified", _always(None)),
    _of(attempts, "_retry_at", "failed actions are tried again at once", lambda scene, _action: scene.now),
    _of(attempts, "subject", "nothing is under way", lambda action: (object(), action)),
    # the test port
    _of(testers, "_is_warm", "testers meet what is cold", _always(True)),
    # traffic
    _of(traffic, "move", "lowered before it is raised", _lower_before_raise),
    _of(traffic, "_lower", "lowered without counting the floor", _lower_at_once),
    _of(traffic, "floor", "the floor is nought", _always(0)),
    _of(traffic, "in_place", "seen is enough", lambda _scene, node, target: traffic._matches(node, target)),
    _of(traffic, "in_place", "asked is enough", _asked_is_enough),
    _of(traffic, "_ask", "what is not seen is not asked again", _ask_once),
    _of(traffic, "settle", "nothing settles", _always(None)),
    _of(traffic, "await_up", "nobody waits for UP", _always(None)),
    _of(traffic, "_await_floor", "what is raised is not waited for", _always(None)),
    _of(traffic, "rise_is_late", "a dead net is waited for", _always(False)),
    _of(traffic, "_is_down", "a candidate that is down counts for the floor", _always(False)),
    _of(traffic, "_stays_down", "a candidate that is down stays down", _always(True)),
    _of(traffic, "_has_stable", "a candidate leaves also where nothing of stable is listed", _always(True)),
    _of(traffic, "_time_to_rise_is_over", "dead stable capacity keeps the candidate", _always(False)),
    _of(traffic, "_poll_at", "the balancer is read without pause", lambda scene, _node: scene.now - 1.0),
    # scene
    _of(scenes.Scene, "settled", "everything is settled", _always(True)),
    _of(scenes.Scene, "unchanged_since", "settled forgets what was asked", lambda _scene, node: node.since),
    _of(scenes.Scene, "up", "accept is UP", lambda _scene, node: node.facts.mode is Mode.ACCEPT),
    _of(scenes.Scene, "serving", "UP is serving", lambda scene, node: scene.up(node)),
    _of(journals.Journal, "is_refused", "what was refused counts as raised", _always(False)),
    _of(scenes.Scene, "was_lowered", "a test port that was just closed is open at once", _always(False)),
    _of(scenes.Scene, "off", "reject is off", lambda _scene, node: node.facts.mode is Mode.REJECT),
    _of(scenes.Scene, "fresh", "every answer is fresh", _always(True)),
    _of(scenes.Scene, "overdue", "nothing is overdue", _always(False)),
    _of(scenes.Scene, "lost_for", "silent while nobody asks", _silent_unasked),
    # judge
    _of(judge, "_public", "failures are nobody's", _always(None)),
    _of(judge, "_replica", "no replica is judged", _always(None)),
    _of(judge, "_starting", "slow starters are waited for", _always(None)),
    _of(judge, "_lost", "a silent host is waited for", _always(None)),
    _of(judge, "_nodes_wrong", "nodes are as they should be", _always(None)),
    _of(judge, "_out_of_time", "the way forward has no deadline", _always(None)),
    _of(judge, "_command_failed", "a failed test is tried again", _always(None)),
    _of(judge, "_action_failed", "what fails is tried for ever", _always(None)),
    # going back
    _of(going_back, "_may_be_net", "only what is seen is a net", _seen_as_net),
    _of(going_back, "_served_by_backup", "the net is left at once", _always(False)),
    _of(going_back, "_is_sick", "the candidate is well", _always(False)),
    _of(going_back, "_seen_since", "old answers say who serves", _always(None)),
    _of(going_back, "_is_old_news", "an UP from before it exited counts", lambda scene, node: not scene.fresh(node)),
    _of(going_back, "_rest_must_hold", "a net holds as soon as it is asked for", _always(None)),
    _of(going_back, "_holds_alone", "one of several never holds alone", _always(False)),
    _of(going_back, "_holds", "whoever is seen as the net holds", lambda _scene, node: node.facts.mode is Mode.BACKUP),
    _of(going_back, "_may_be_net", "what was asked to be the net is it for ever", _net_for_ever),
    _of(going_back, "_holds", "down from before it was asked to be the net is dead", _down_before),
    _of(going_back, "_await_candidate", "nobody waits for a candidate that died", _always(None)),
    _of(going_back, "_is_unseen", "what is not seen as the net carries nobody", _always(False)),
    _of(going_back, "_kept_on", "taking a candidate out is never refused", _always([])),
    _of(going_back, "_leave_backup", "the net is raised all at once", _all_at_once),
    _of(going_back, "_leave_lone_backup", "a lone net is raised at once", _lone_at_once),
    # retiring
    _of(retiring, "_may_stop", "stopped without being out", _always(None)),
    _of(retiring, "_drained", "stopped without quiet", _always(None)),
    _of(
        retiring,
        "_abandon",
        "a silent host is abandoned at once",
        lambda scene, slot, _deadline: Act((Record(Abandoned(slot=slot.key)),), "abandon"),
    ),
    _of(retiring, "_gone", "what leaves is gone", _always(True)),
    # which colour is live, asked when a rollout opens
    _of(
        lives,
        "_by_journal",
        "two colours are one",
        lambda accepting, *_more: lives.Live("serving", min(next(iter(accepting.values()))), "a guess"),
    ),
    _of(
        lives,
        "_unless_down",
        "a colour that is down is live",
        lambda _nodes, colour: lives.Live("serving", colour, "accept"),
    ),
    _of(lives, "ports_in_use", "a port that nobody uses has a say", _every_port),
    _of(preflight, "_new_ports", "no port is new", _always(())),
    _of(preflight, "_floor", "going back forgets a new port", _floor_without_new_ports),
    _of(preflight, "_left_by_the_newest", "what is silent is unmanaged", _always(None)),
    _of(preflight, "_known_live", "whoever is live", _always(None)),
    _of(preflight, "_idle", "the candidate's colour may be in use", _always(None)),
    _of(apps, "adopts", "any open rollout is adopted", _always(True)),
    # the loop and what it rests on
    _of(driving, "asked_before", "asked is not written down before", _always(None)),
    _of(driving.Driver, "_first_look", "the balancer is not read first", _first_look_once),
    _of(driving.Driver, "_look_at", "hosts are not fenced", _perform_unfenced),
    _of(driving.Driver, "_keep_home", "nobody hears what people ask for", _nothing),
    _of(leases.Lease, "_swap", "a lease is taken whoever has it", _always_taken),
    _of(leases.Lease, "_take", "a lease is taken from the living", _take_at_once),
    _of(leases.Lease, "renew", "a lease is not renewed", _never_renewed),
    _of(leases.Lease, "remaining", "the lease always lasts", property(lambda self: self.ttl)),
    _of(memories.Memory, "changed_node", "settle counts from the decision", _always(None)),
    _of(memories.Memory, "did_not_ask", "a sleep counts as a host's silence", _always(None)),
    _of(logs.Log, "load", "the journal is not read", _nothing),
    _of(memories.Memory, "_sight", "every node rose", _every_node_rose),
    _of(memories.Memory, "_sight", "a changed node stays settled", _steady_seen),
    _of(memories.Memory, "_quiet", "quiet is assumed", lambda _self, _before, _facts, at: at),
    _of(memories.Memory, "_probes", "passes outlive the replica", staticmethod(_passes_add_up)),
    _of(performing.Performer, "_kept", "prune keeps only the candidate", _only_candidate),
)

# What no world can show, because something else keeps the promise as well: the test that kills it, and what doubles it.
TESTED: dict[str, tuple[str, str]] = {
    "failed actions are tried again at once": (
        "tests.core.test_rules.test_what_failed_a_moment_ago_waits",
        "a change that failed is read back before it is asked for again; of others the judge gives up six times sooner",
    ),
    "what is raised is not waited for": (
        "tests.core.test_traffic.test_nothing_is_lowered_while_what_was_raised_is_not_up",
        "`_lower` counts the floor; this one waits for more than was promised: for all that was raised",
    ),
    "reject is off": (
        "tests.core.test_rules.test_a_node_that_is_not_settled_keeps_its_replica",
        "`_drained` counts from settle on, and looks again before it stops anything",
    ),
    "old answers say who serves": (
        "tests.core.test_going_back.test_it_rests_on_answers_younger_than_itself",
        "`_is_old_news` and `_is_sick` ask for fresh answers beside a net, and `look_a_last_time` for those at the end",
    ),
    "two colours are one": (
        "tests.core.test_live.test_a_finished_rollout_settles_nothing",
        "`_idle` refuses to open over a colour that takes traffic; this one is what `status` says",
    ),
    "a colour that is down is live": (
        "tests.core.test_live.test_an_up_backup_serves_where_every_accept_node_is_down",
        "`_idle` refuses to open over a net; this one is what `status` says",
    ),
    "whoever is live": (
        "tests.core.test_preflight.test_nothing_is_opened_while_the_net_serves",
        "`_floor` refuses where no accept node is UP; this one says why, and what helps",
    ),
    "silent while nobody asks": (
        "tests.core.test_judge.test_a_host_is_silent_to_the_newest_question_and_not_to_now",
        "`did_not_ask` begins the silence anew; this one holds until the task that looks has run",
    ),
    "a changed node stays settled": (
        "tests.drive.test_memory.test_since_is_the_first_of_an_unbroken_run",
        "settle also counts from when a node was asked, and what others change is asked for again",
    ),
    "passes outlive the replica": (
        "tests.drive.test_memory.test_passes_in_a_row_belong_to_one_replica",
        "each start of a replica is warmed up anew, and one that exited after it was warm is left",
    ),
}
