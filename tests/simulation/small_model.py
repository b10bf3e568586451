"""The smallest world, exhaustively: one host a colour, one port, one crash, one thing that an operator asks for.

Not drawn but enumerated: from each state every next step is taken, so all interleavings of what the driver does, of
what the balancer makes of it when, of the crash and of the operator are seen. The core and the driver's memory are
the real ones; the loop around them is the plainest there is: look when told to, act side by side, wait one tick.
Instants matter by their age only, and ages beyond every deadline are alike: so the states are finite.

python -m tests.simulation.small_model [nothing|go_back|pause …]
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from celadon.core.action import (
    Act,
    Action,
    Finish,
    Halt,
    Look,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    SetNode,
    Start,
    Stop,
    WarmUpSlot,
)
from celadon.core.decide import decide
from celadon.core.intent import Health, Intent, Requests, Rollout, Timing, Verify
from celadon.core.journal import (
    EMPTY,
    Driving,
    Event,
    Finished,
    Journal,
    Opened,
    Pruned,
    Started,
    Stopped,
    Warmed,
    fold,
)
from celadon.core.observed import (
    BalancerFacts,
    ConfigFacts,
    HostFacts,
    Mode,
    NodeFacts,
    Probe,
    ProbeFacts,
    PublicSight,
    ReplicaFacts,
    SlotFacts,
)
from celadon.core.release import Colour, Release, Slot
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green
from celadon.drive.memory import Memory
from celadon.drive.perform import asked_before
from tests.simulation.search import Broken, Explored, search

OLD = Release(app="shop", version="v1", artifact="old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="new", runtime="docker")
SLOTS = {colour: Slot(colour.value, f"192.168.{130 + n}.10", 5000) for n, colour in enumerate(Colour)}
BLUE, GREEN = 1, 2  # the ids of their nodes
OF = {BLUE: Colour.BLUE, GREEN: Colour.GREEN}
TIMING = Timing(
    settle=1.0,
    bake=1.0,
    drain=1.0,
    quiet=0.0,
    interval=1.0,
    start_within=9.0,
    up_within=9.0,
    deadline=1e6,
    lost=9.0,
    fresh=1.0,
    poll=1.0,
    repeat=3.0,
    retry=1.0,
    verify_within=9.0,
)
MOMENT = 0.0625  # a look takes a moment: what was read after it was asked for is younger
OLDEST = 12.0  # ages from here on are alike: older than everything that is waited for
WISHES = {"nothing": {}, "go_back": {"go_back": "ada"}, "pause": {"paused": True}}
QUICK = ("nothing", "go_back")  # a pause beside a crash takes more than twenty minutes


NOTHING_ASKED = Requests()


@dataclass(frozen=True)
class Node:
    """`mode` as the API shows it; `applied` as the data plane has it; `due` when the newest change must be applied."""

    mode: Mode
    applied: Mode
    up: bool | None
    due: float = 0.0


@dataclass(frozen=True)
class State:
    now: float
    nodes: dict[int, Node]
    running: dict[Colour, str]  # what runs where, by release
    journal: Journal = EMPTY
    memory: Memory | None = None  # None: nobody drives
    flying: frozenset[Action] = frozenset()
    ghosts: frozenset[SetNode] = frozenset()  # a dead driver's, still on their way
    settings: bool = False
    artifact: bool = False
    alone_since: float | None = None  # all users are on the candidate
    requests: Requests = NOTHING_ASKED
    crashes: int = 1
    wishes: int = 1
    steps: tuple[str, ...] = field(default=(), compare=False)


def rollout() -> Rollout:
    return Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        candidate_colour=Colour.GREEN,
        stable=OLD,
        stable_colour=Colour.BLUE,
        slots={colour: (slot,) for colour, slot in SLOTS.items()},
        ports=(80,),
        balancer="balancer",
        steps=blue_green((), hold=False),
        timing=TIMING,
        health=Health(probe=Probe("/", "shop"), passes=1),
        verify=Verify(url="http://127.0.0.1", passes=1, rate=1e6),
        floor={80: 1},
        baseline={BLUE: 100},
    )


ROLLOUT = rollout()


def beginning() -> State:
    nodes = {BLUE: Node(Mode.ACCEPT, Mode.ACCEPT, up=True), GREEN: Node(Mode.REJECT, Mode.REJECT, up=False)}
    state = State(now=100.0, nodes=nodes, running={Colour.BLUE: OLD.id})
    return wrote(state, Opened())


def wrote(state: State, *events: Event) -> State:
    stamped = [msgspec.structs.replace(event, at=state.now) for event in events]
    return replace(state, journal=fold(state.journal, stamped, offset=0.0, now=state.now))


# -- what may happen next --------------------------------------------------------------------------


def steps(state: State, wish: str) -> Iterator[tuple[str, State]]:
    """Every next step: the driver's, the balancer's, time's, the crash's and the operator's."""
    if state.memory is None:
        yield "a driver starts", started(state)
    else:
        yield from _driver(state)
        if state.crashes:
            ghosts = frozenset(action for action in state.flying if isinstance(action, SetNode))
            yield "CRASH", replace(state, memory=None, flying=frozenset(), ghosts=ghosts, crashes=0)
    if state.wishes and WISHES[wish]:
        yield wish, replace(state, requests=Requests(**WISHES[wish]), wishes=0)  # type: ignore[arg-type]
    elif state.requests.paused:
        yield "unpause", replace(state, requests=Requests())
    for ghost in state.ghosts:
        yield f"late {ghost.node} {ghost.mode.value}", _put(replace(state, ghosts=state.ghosts - {ghost}), ghost)
    for id_, node in state.nodes.items():
        if node.applied is not node.mode:
            yield f"applied {id_}", _applied(state, id_)
        elif node.applied is not Mode.REJECT and node.up is not _well(state, id_):
            yield f"checked {id_}", _with(state, id_, replace(node, up=_well(state, id_)))


def _driver(state: State) -> Iterator[tuple[str, State]]:
    """Each action under way may end now; else the next decision; time passes only where the driver waits."""
    for action in state.flying:
        yield f"done {type(action).__name__}", performed(state, action)
    decision = decide(observed(state), Intent(ROLLOUT, state.requests), state.now)
    match decision:
        case Act(actions=actions):
            asked = [event for action in actions if (event := asked_before(action)) is not None]
            yield decision.because, replace(wrote(state, *asked), flying=state.flying | set(actions))
        case Look(nodes=nodes):
            yield decision.because, looked(state, nodes)
        case Finish(result=result):
            if state.journal.finished is None:
                yield f"FINISH {result}", wrote(state, Finished(result=result, reason=""))  # type: ignore[arg-type]
        case Halt():
            raise Broken(f"it halts: {decision.because}")
        case _:
            if not state.flying:
                yield "tick", ticked(state)


def ticked(state: State) -> State:
    """One interval: what is due applies, checks pass or fail, dead drivers' writes are given up, hosts are seen."""
    later = replace(state, now=math.floor(state.now) + 1.0, ghosts=frozenset())
    for id_, node in later.nodes.items():
        if node.applied is not node.mode and node.due <= later.now:
            later = _applied(later, id_)
        elif node.applied is node.mode and node.applied is not Mode.REJECT:
            later = _with(later, id_, replace(node, up=_well(later, id_)))
    return saw_hosts(later)


def started(state: State) -> State:
    memory = Memory((slot.node_address for slot in SLOTS.values()), [slot.host for slot in SLOTS.values()])
    return looked(saw_hosts(wrote(replace(state, memory=memory), Driving(who="x", fence=1))), ())


def _copy(memory: Memory) -> Memory:
    other = Memory((slot.node_address for slot in SLOTS.values()), ())
    other.nodes, other.hosts, other._opened = memory.nodes, memory.hosts, dict(memory._opened)
    return other


def looked(state: State, nodes: tuple[int, ...]) -> State:
    assert state.memory is not None
    memory = _copy(state.memory)
    state = replace(state, now=state.now + MOMENT)
    facts = {id_: _facts(state, id_) for id_ in state.nodes}
    if nodes:
        for id_ in nodes:
            memory.saw_node(id_, facts[id_], state.now)
    else:
        config = ConfigFacts(80, 1, "http", "http", 1.0, 1, False, "none", tuple(facts.values()))
        memory.saw_balancer(BalancerFacts(1, "b", "a", 0, (config,)), state.now)
    return replace(state, memory=memory)


def _facts(state: State, id_: int) -> NodeFacts:
    node, slot = state.nodes[id_], SLOTS[OF[id_]]
    return NodeFacts(
        80, 1, id_, slot.host, slot.node_address, node.mode, 1 if node.mode is Mode.REJECT else 100, node.up
    )


def saw_hosts(state: State) -> State:
    assert state.memory is not None
    memory = _copy(state.memory)
    for colour, slot in SLOTS.items():
        green = colour is Colour.GREEN
        release = state.running.get(colour)
        expected = NEW.id if green else OLD.id
        slots = SlotFacts(slot.key, open=0, opened=0)
        if release is not None:
            replica = ReplicaFacts(release, "1", running=True, restarts=0, exit_code=None)
            probe = ProbeFacts(True, 200, "", 0.0)
            slots = SlotFacts(slot.key, replica, listening=True, open=0, opened=0, probe=probe)
        facts = HostFacts(
            slot.host,
            "1",
            0.0,
            10**10,
            1,
            frozenset({NEW.id} if green and state.settings else ()),
            frozenset({NEW.artifact} if green and state.artifact else ()),
            (slots,),
        )
        memory.saw_host(slot.host, facts, state.now, {slot.key: expected})
    return replace(state, memory=memory)


def observed(state: State) -> Observed:
    assert state.memory is not None
    good = state.alone_since is not None and state.now > state.alone_since
    public = PublicSight(passes=9 if good else 0, since=state.alone_since if good else None)
    return Observed(
        nodes=state.memory.nodes,
        hosts=state.memory.hosts,
        public=public,
        journal=state.journal,
        in_flight=frozenset(state.flying),
    )


def performed(state: State, action: Action) -> State:
    """The action as it reaches the world, what is written of it, and the look at its host that follows."""
    state = replace(state, flying=state.flying - {action})
    match action:
        case Record(event=event):
            return _check_record(wrote(state, event), event)
        case PutSettings():
            return saw_hosts(replace(state, settings=True))
        case PutArtifact():
            return saw_hosts(replace(state, artifact=True))
        case Start(slot=slot):
            running = state.running | {Colour.GREEN: NEW.id}
            return saw_hosts(wrote(replace(state, running=running), Started(slot=slot.key)))
        case WarmUpSlot(slot=slot, replica=replica):
            return wrote(state, Warmed(slot=slot.key, replica=replica))
        case SetNode():
            return _put(state, action)
        case Stop(slot=slot, release=release):
            return saw_hosts(wrote(_stopped(state, slot), Stopped(slot=slot.key, release=release, cut=0)))
        case Prune(host=host):
            return wrote(state, Pruned(host=host))
        case _:
            raise Broken(f"nobody asked for {action}")


def _put(state: State, action: SetNode) -> State:
    if action.node == GREEN and action.mode is Mode.ACCEPT and Colour.GREEN not in state.running:
        raise Broken("no_weight_before_probed: there is nothing to send users to")
    node = state.nodes[action.node]
    if node.applied is not node.mode:  # two changes on their way: the first applies first
        node = _applied(state, action.node).nodes[action.node]
    return _with(state, action.node, replace(node, mode=action.mode, due=state.now + TIMING.settle))


def _applied(state: State, id_: int) -> State:
    """Leaving reject begins the checks anew; a backup is checked here, as it was before."""
    node = state.nodes[id_]
    up = False if node.mode is Mode.REJECT else None if node.applied is Mode.REJECT else node.up
    return _with(state, id_, replace(node, applied=node.mode, up=up))


def _with(state: State, id_: int, node: Node) -> State:
    state = replace(state, nodes=state.nodes | {id_: node})
    takers = _takers(state)
    if takers != [GREEN]:
        return replace(state, alone_since=None)
    return state if state.alone_since is not None else replace(state, alone_since=state.now)


def _well(state: State, id_: int) -> bool:
    return OF[id_] in state.running


# -- what must never be seen -------------------------------------------------------------------------


def _takers(state: State) -> list[int]:
    up = [id_ for id_, node in state.nodes.items() if node.up and _well(state, id_)]
    return [id_ for id_ in up if state.nodes[id_].applied is Mode.ACCEPT] or [
        id_ for id_ in up if state.nodes[id_].applied is Mode.BACKUP
    ]


def _stopped(state: State, slot: Slot) -> State:
    colour = next(colour for colour, its in SLOTS.items() if its == slot)
    id_ = next(id_ for id_, its in OF.items() if its is colour)
    if state.nodes[id_].applied is not Mode.REJECT:
        raise Broken(f"no_signal: {slot.key} can still receive requests")
    if colour is Colour.BLUE and (state.journal.committed_at is None or state.journal.returning is not None):
        raise Broken("commit_point: stable is stopped")
    return replace(state, running={its: release for its, release in state.running.items() if its is not colour})


def _check_record(state: State, event: Event) -> State:
    if type(event).__name__ == "Committed":
        applied = {id_: node.applied for id_, node in state.nodes.items()}
        if applied != {BLUE: Mode.REJECT, GREEN: Mode.ACCEPT}:
            raise Broken(f"confirmed: {applied} at the commit")
    return state


def check(state: State) -> None:
    if not _takers(state):
        raise Broken("no_request_lost: nobody serves")
    finished = state.journal.finished
    if finished is not None:
        winner = GREEN if finished.result == "done" else BLUE
        serving = [id_ for id_, node in state.nodes.items() if node.mode is Mode.ACCEPT]
        if not state.ghosts and serving != [winner]:
            raise Broken(f"truth: {finished.result}, and {serving} serve")
        if set(state.running) != {OF[winner]}:
            raise Broken(f"same_end: {finished.result}, and {state.running} run")


# -- all of it -----------------------------------------------------------------------------------


def key(state: State) -> bytes:
    """Two states with the same key have the same future."""
    now, journal = state.now, state.journal

    def age(at: float | None) -> float | None:
        return None if at is None else min(OLDEST, now - at)

    memory = state.memory
    parts = (
        [(n.mode, n.applied, n.up, age(n.due) if n.applied is not n.mode else None) for n in state.nodes.values()],
        sorted(state.running.items()),
        (state.settings, state.artifact, age(state.alone_since), state.crashes, state.wishes, state.requests),
        sorted(map(repr, state.flying)),
        sorted(map(repr, state.ghosts)),
        sorted((id_, t.mode, t.weight, age(journal.asked_at[id_])) for id_, t in journal.asked.items()),
        (sorted(journal.raised), sorted(journal.netted), sorted(journal.warmed), journal.steps_done),
        (age(journal.committed_at), journal.returning is not None, age(journal.returning_at), age(journal.driving_at)),
        (
            journal.retiring_at is not None,
            sorted(journal.stopped),
            sorted(journal.pruned),
            journal.paused_at is not None,
        ),
        (journal.finished is not None, journal.opened_at is not None),
        None
        if memory is None
        else (
            [
                (
                    id_,
                    n.facts.mode,
                    n.facts.up,
                    age(n.read_at),
                    age(n.since),
                    min(n.reads, 7),
                    n.was_off,
                    n.rose,
                )
                for id_, n in sorted(memory.nodes.items())
            ],
            [
                (
                    name,
                    age(h.seen_at),
                    h.facts,
                    [(k, min(s.passes, 2), s.fails, age(s.quiet_since)) for k, s in h.slots.items()],
                )
                for name, h in sorted(memory.hosts.items())
            ],
        ),
    )
    return msgspec.msgpack.encode(parts, enc_hook=sorted)


def explore(wish: str, *, crashes: int = 1) -> Explored:
    """All interleavings with what this wish asks for. Raises Broken with the shortest way to a broken promise."""
    return search(
        replace(beginning(), crashes=crashes),
        steps=lambda state: steps(state, wish),
        check=check,
        key=key,
        end=lambda state: state.journal.finished.result if state.journal.finished is not None else None,
    )


def main() -> int:
    stuck = 0
    for wish in sys.argv[1:] or QUICK:
        began = time.process_time()
        found = explore(wish)
        stuck += found.stuck
        say(f"one crash, {wish}: {found} in {time.process_time() - began:.1f} s")
    return bool(stuck)


say = print  # what this is for

if __name__ == "__main__":
    sys.exit(main())
