"""Fifty slots retire in about the time of two: they are read together, and one that is being stopped holds up none."""

import pytest

from celadon.core.action import Act, Action, Decision, Look, Stop, Wait
from celadon.core.decide import decide
from celadon.core.intent import Health, Intent, Rollout, Timing, Verify
from celadon.core.journal import EMPTY, Asked, Committed, Event, Opened, Retiring, StepDone, Warmed, fold
from celadon.core.observed import (
    HostFacts,
    HostSight,
    Mode,
    NodeFacts,
    NodeSight,
    Probe,
    PublicSight,
    ReplicaFacts,
    SlotFacts,
    SlotSight,
)
from celadon.core.release import Colour, Release, Slot
from celadon.core.retiring import LOOKS_AT_ONCE
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green

OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker")
NOW = 1000.0
STALE, FRESH = NOW - 100, NOW


def slots(colour: Colour, count: int) -> tuple[Slot, ...]:
    return tuple(
        Slot(f"{colour.value}-{n}", f"192.168.{128 + (colour is Colour.GREEN)}.{n + 1}", 80) for n in range(count)
    )


def retiring(count: int, *, read_at: dict[int, float], in_flight: frozenset[Action] = frozenset()) -> Decision:
    """Blue has `count` slots, all out of the balancer and quiet; `read_at`: when their nodes were read last."""
    its = {colour: slots(colour, count) for colour in Colour}
    nodes: dict[int, NodeSight] = {}
    hosts: dict[str, HostSight] = {}
    events: list[Event] = [Opened(at=100.0), StepDone(index=0, at=150.0), Committed(at=200.0), Retiring(at=900.0)]
    for colour, release, mode in ((Colour.BLUE, OLD, Mode.REJECT), (Colour.GREEN, NEW, Mode.ACCEPT)):
        for number, slot in enumerate(its[colour]):
            id_ = number if colour is Colour.BLUE else 1000 + number
            weight = 100 if mode is Mode.ACCEPT else 1
            facts = NodeFacts(80, 80, id_, slot.host, slot.node_address, mode, weight, up=mode is Mode.ACCEPT)
            nodes[id_] = NodeSight(
                facts=facts, read_at=read_at.get(id_, FRESH), since=300.0, reads=3, was_off=True, rose=True
            )
            asked = Asked(node=id_, mode=mode, weight=weight, at=250.0)
            events += [asked, Warmed(slot=slot.key, replica="1", at=110.0)] if release is NEW else [asked]
            replica = ReplicaFacts(release.id, "1", running=True, restarts=0, exit_code=None)
            sight = SlotSight(
                facts=SlotFacts(slot.key, replica, listening=True, open=0, opened=9),
                passes=3,
                since=300.0,
                quiet_since=400.0,
            )
            seen = HostFacts(slot.host, "1", 0.0, 10**10, 1, frozenset({release.id}), frozenset({release.artifact}), ())
            hosts[slot.host] = HostSight(facts=seen, seen_at=NOW, lost_since=None, slots={slot.key: sight})
    rollout = Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        candidate_colour=Colour.GREEN,
        stable=OLD,
        stable_colour=Colour.BLUE,
        slots=its,
        ports=(80,),
        balancer="balancer",
        steps=blue_green((), hold=False),
        timing=Timing(bake=1.0),
        health=Health(probe=Probe("/", "shop")),
        verify=Verify(url="http://127.0.0.1"),
        floor={80: count},
        baseline=dict.fromkeys(range(count), 100),
    )
    observed = Observed(
        nodes=nodes,
        hosts=hosts,
        public=PublicSight(sent=100, passes=100, since=300.0),
        journal=fold(EMPTY, events, offset=0.0, now=NOW),
        in_flight=in_flight,
    )
    return decide(observed, Intent(rollout=rollout), NOW)


def blue(number: int) -> Slot:
    return slots(Colour.BLUE, number + 1)[number]


def test_all_that_may_stop_are_stopped_at_once() -> None:
    decision = retiring(3, read_at={})
    assert isinstance(decision, Act)
    assert decision.actions == tuple(Stop(blue(n), OLD.id) for n in range(3))


def test_stale_answers_are_renewed_in_one_look() -> None:
    decision = retiring(3, read_at={0: STALE, 1: STALE, 2: STALE})
    assert isinstance(decision, Look)
    assert decision.nodes == (0, 1, 2)


def test_a_look_is_small_enough_that_its_first_answer_is_still_fresh() -> None:
    decision = retiring(50, read_at=dict.fromkeys(range(50), STALE))
    assert isinstance(decision, Look)
    assert decision.nodes == tuple(range(LOOKS_AT_ONCE))


@pytest.mark.parametrize("read_at", [STALE, FRESH])
def test_one_that_is_being_stopped_holds_up_no_other(read_at: float) -> None:
    decision = retiring(2, read_at={1: read_at}, in_flight=frozenset({Stop(blue(0), OLD.id)}))
    if read_at == STALE:
        assert decision == Look((1,), f"{blue(1).key}: still out?")
    else:
        assert isinstance(decision, Act)
        assert decision.actions == (Stop(blue(1), OLD.id),)


def test_nothing_else_begins_while_the_last_one_is_being_stopped() -> None:
    decision = retiring(1, read_at={}, in_flight=frozenset({Stop(blue(0), OLD.id)}))
    assert decision == Wait(None, "a replica is being stopped")
