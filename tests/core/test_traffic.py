"""Moving traffic: raise before lower, read back, ask again, and never below the floor."""

import msgspec
import pytest
from tests.core.builders import ACCEPT, BLUE, GREEN, NOW, REJECT, Facts

from celadon.core import traffic
from celadon.core.action import Act, Decision, Look, SetNode, Wait
from celadon.core.attempts import failure_key
from celadon.core.journal import ActionFailed, ActionWorked, Target
from celadon.core.observed import Mode

UP = Target(ACCEPT, 100)


def move(facts: Facts, targets: dict[int, Target]) -> Decision | None:
    return traffic.move(facts.scene, targets)


def changed(decision: Decision | None) -> list[tuple[int, str, bool]]:
    assert isinstance(decision, Act), decision
    return [(a.node, a.mode.value, a.lowers) for a in decision.actions if isinstance(a, SetNode)]


SWAP = {1: traffic.OFF, 2: traffic.OFF, 3: UP, 4: UP}


def test_raise_before_lower() -> None:
    assert changed(move(Facts(), SWAP)) == [(3, "accept", False), (4, "accept", False)]


def test_nothing_is_lowered_while_what_was_raised_is_not_up() -> None:
    facts = Facts().all(GREEN, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 3)
    assert move(facts, SWAP) == Wait(NOW + 4, "the balancer checks green-0, green-1")


def test_nothing_is_lowered_while_what_was_raised_neither_rose_nor_settled() -> None:
    facts = Facts().all(GREEN, mode=ACCEPT, weight=100, up=True, asked_at=NOW - 3)
    decision = move(facts, SWAP)
    assert isinstance(decision, Wait)
    assert "settle" in decision.because


@pytest.mark.parametrize("how", ["rose", "settled"])
def test_then_all_that_leave_are_lowered(how: str) -> None:
    facts = Facts().all(GREEN, mode=ACCEPT, weight=100, up=True, asked_at=NOW - (3 if how == "rose" else 70))
    facts.all(GREEN, rose=how == "rose")
    assert changed(move(facts, SWAP)) == [(1, "reject", True), (2, "reject", True)]


@pytest.mark.parametrize("how", ["refused", "under way"])
def test_what_nobody_knows_to_have_been_raised_must_settle(how: str) -> None:
    """An answer that shows it UP may be from before it was lowered, and the request to raise it came to nothing."""
    facts = Facts().all(GREEN, mode=ACCEPT, weight=100, up=True, asked_at=NOW - 3, rose=True)
    request = SetNode(facts.id(GREEN, 0), 80, "192.168.129.10:5000", ACCEPT, 100)
    if how == "refused":
        facts.event(ActionFailed(action=failure_key(request), error="503", at=NOW - 2))
    else:
        facts.in_flight = frozenset({request})
    decision = move(facts, SWAP)
    assert isinstance(decision, Wait)
    assert "settle" in decision.because
    facts.in_flight = frozenset()
    facts.event(ActionWorked(action=failure_key(request), at=NOW - 1))
    assert changed(move(facts, SWAP)) == [(1, "reject", True), (2, "reject", True)]


def test_the_floor_is_checked_for_every_node_that_leaves() -> None:
    """Two must serve; with one of the raised ones gone DOWN again nothing may leave."""
    facts = Facts().at("raised").is_(GREEN, 1, up=False)
    decision = move(facts, SWAP)
    assert not isinstance(decision, Act)


def test_below_the_floor_it_looks_and_waits_and_says_how_many_serve() -> None:
    facts = Facts().at("raised").is_(GREEN, 1, up=False)
    decision = move(facts, {1: traffic.OFF, 2: traffic.OFF, 3: UP})
    assert decision == Wait(NOW + 4, "port 80: 1 of 2 nodes serve without it")


def test_the_floor_of_each_port_counts_for_itself() -> None:
    facts = Facts(ports=(80, 443)).at("raised").is_(GREEN, 1, 443, up=False)
    out = {facts.id(BLUE, n, port): traffic.OFF for n in range(2) for port in (80, 443)}
    decision = move(facts, out)
    assert decision is not None
    assert decision.because.startswith("port 443: 1 of 2")


def test_the_floor_rests_on_fresh_answers() -> None:
    facts = Facts().at("raised").all(GREEN, read_at=NOW - 11)
    assert move(facts, SWAP) == Look((3, 4), "port 80: still serving without it?")


def test_a_node_asked_for_something_else_does_not_count() -> None:
    facts = Facts().at("raised").asks(GREEN, 1, mode=REJECT, weight=1, at=NOW - 2)
    decision = move(facts, {1: traffic.OFF, 2: traffic.OFF})
    assert decision is not None
    assert decision.because == "port 80: 1 of 2 nodes serve without it"


def test_what_takes_no_traffic_is_lowered_without_counting() -> None:
    facts = Facts().all(GREEN, mode=ACCEPT, up=False).all(BLUE, up=False)
    facts.all(GREEN, mode=Mode.DRAIN)
    assert changed(move(facts, {3: traffic.OFF, 4: traffic.OFF})) == [(3, "reject", False), (4, "reject", False)]


# -- asking ------------------------------------------------------------------------------------------


def test_what_was_asked_is_read_back_and_not_asked_again() -> None:
    facts = Facts().asks(GREEN, 0, mode=ACCEPT, at=NOW - 0.5)
    assert move(facts, {3: UP}) == Look((3,), "read back green-0")


def test_what_lags_is_polled_and_then_asked_for_again() -> None:
    facts = Facts().asks(GREEN, 0, mode=ACCEPT, at=NOW - 3)
    assert move(facts, {3: UP}) == Wait(NOW + 4, "green-0 not seen yet as asked for")
    facts.now = NOW + 4
    assert move(facts, {3: UP}) == Look((3,), "green-0 not seen yet as asked for")
    facts.now = NOW + 7
    assert changed(move(facts, {3: UP})) == [(3, "accept", False)]


def test_another_wish_is_asked_at_once() -> None:
    facts = Facts().asks(GREEN, 0, mode=ACCEPT, weight=1, at=NOW - 0.5)
    assert changed(move(facts, {3: UP})) == [(3, "accept", False)]


def test_one_put_at_a_time_for_a_node() -> None:
    facts = Facts()
    facts.in_flight = frozenset({SetNode(3, 80, "x", ACCEPT, 100)})
    assert changed(move(facts, {3: UP, 4: UP})) == [(4, "accept", False)]
    assert isinstance(move(facts, {3: UP}), Wait)


def test_seen_is_not_enough_where_something_else_was_asked() -> None:
    facts = Facts().at("raised").asks(GREEN, 0, mode=REJECT, weight=1, at=NOW - 100)
    assert changed(move(facts, {3: UP})) == [(3, "accept", False)]


def test_asked_is_not_enough_either() -> None:
    facts = Facts().asks(GREEN, 0, mode=ACCEPT, at=NOW - 5)
    assert not traffic.in_place(facts.scene, facts.nodes[3], UP)


def test_an_answer_from_before_the_request_proves_nothing() -> None:
    facts = Facts().is_(GREEN, 0, mode=ACCEPT, weight=100, read_at=NOW - 5).asks(GREEN, 0, mode=ACCEPT, at=NOW - 4)
    assert not traffic.in_place(facts.scene, facts.nodes[3], UP)


def test_the_weight_of_what_is_out_does_not_matter() -> None:
    facts = Facts()
    assert traffic.in_place(facts.scene, facts.nodes[3], traffic.OFF)
    assert not traffic.in_place(facts.scene, facts.nodes[1], Target(ACCEPT, 50))


def test_a_node_that_is_gone_is_nobodys_target() -> None:
    assert move(Facts(), {77: UP}) is None


# -- waiting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reads", "pause"), [(1, 5.0), (2, 7.5), (3, 11.25), (99, 5.0 * 1.5**6)])
def test_looks_grow_rarer_so_that_calls_do_not_grow_with_the_wait(reads: int, pause: float) -> None:
    facts = Facts().is_(GREEN, 0, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 5, reads=reads)
    assert traffic.await_up(facts.scene, [facts.nodes[3]]) == Wait(NOW - 1 + pause, "the balancer checks green-0")


def test_settling_ends_with_a_read() -> None:
    facts = Facts().is_(GREEN, 0, mode=ACCEPT, weight=100, up=True, asked_at=NOW - 60, read_at=NOW - 20)
    nodes = [facts.nodes[3]]
    assert isinstance(traffic.settle(facts.scene, nodes), Wait)
    facts.now = NOW + 1
    assert traffic.settle(facts.scene, nodes) == Look((3,), "is it settled?")
    facts.is_(GREEN, 0, read_at=NOW + 1)
    assert traffic.settle(facts.scene, [facts.nodes[3]]) is None


def test_the_floor_is_never_below_one_but_for_a_first_deploy_that_failed() -> None:
    assert traffic.floor(Facts(floor={80: 0}).scene, 80) == 1
    assert traffic.floor(Facts(floor={80: 2}).scene, 80) == 2
    assert traffic.floor(Facts(floor={}).scene, 443) == 1
    assert traffic.floor(Facts(first=True).back().scene, 80) == 0


def test_after_the_commit_nobody_waits_for_a_node_that_somebody_deleted() -> None:
    """Simulation: stable never retired, since the candidate could never be as many as must serve."""
    for stage, floor in (("shifted", 2), ("baking", 1), ("retire", 1)):
        facts = Facts().at(stage)  # type: ignore[arg-type]
        del facts.nodes[4]
        assert traffic.floor(facts.scene, 80) == floor, stage


def test_without_anything_to_poll_it_waits() -> None:
    facts = Facts(floor={80: 9})
    decision = move(facts, dict.fromkeys((1, 2, 3, 4), traffic.OFF))
    assert decision == Wait(None, "port 80: 0 of 9 nodes serve without it")


def test_labels_are_for_people_and_addresses_do_where_there_are_none() -> None:
    facts = Facts().is_(GREEN, 0, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 5)
    node = facts.nodes[3]
    facts.nodes[3] = msgspec.structs.replace(node, facts=msgspec.structs.replace(node.facts, label=""))
    decision = traffic.await_up(facts.scene, [facts.nodes[3]])
    assert decision is not None
    assert "192.168.129.10:8000" in decision.because
