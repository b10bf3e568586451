"""Going back: what decides it, that it asks nothing, and in which order the world returns to stable."""

import msgspec
import pytest
from tests.core.builders import ACCEPT, BACKUP, BLUE, GREEN, NEW, NOW, ORDER, REJECT, TIMING, Facts, Stage, slot

from celadon.core.action import Finish, Halt, Look, Record, RunCommand, SetNode, Stop, Wait
from celadon.core.intent import Hook
from celadon.core.journal import Asked, CommandStarted, Committed, Paused, Pruned, Retiring, Returning
from celadon.core.observed import PublicSight

BEFORE_RETIRING: tuple[Stage, ...] = tuple(ORDER)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", BEFORE_RETIRING)
def test_going_back_is_possible_until_stable_is_signalled(stage: Stage) -> None:
    decision = Facts().at(stage).wants(go_back="ada").actions()
    assert decision == (Record(Returning(reason="asked for", asked_by="ada")),)


def test_once_stable_is_signalled_it_is_too_late() -> None:
    assert all(isinstance(action, Stop) for action in Facts().at("out").retiring().wants(go_back="ada").actions())


def test_it_is_decided_once() -> None:
    assert not any(isinstance(a, Record) for a in Facts().at("raised").back().wants(go_back="ada").actions())


def test_before_any_traffic_only_the_candidate_is_stopped() -> None:
    facts = Facts().at("healthy").back()
    facts.seen_again(NOW - 2)
    assert facts.actions() == (Stop(slot(GREEN, 0), NEW.id), Stop(slot(GREEN, 1), NEW.id))


def test_it_rests_on_answers_younger_than_itself() -> None:
    facts = Facts().at("healthy").back(at=NOW - 1).seen_again(NOW - 3)
    assert facts.decide() == Look((3, 4, 1, 2), "who serves now?")


def test_with_the_candidate_raised_it_goes_out_while_stable_serves() -> None:
    assert facts_modes(Facts().at("raised").back()) == {3: REJECT, 4: REJECT}


def test_after_the_shift_stable_is_raised_first() -> None:
    assert facts_modes(Facts().at("shifted").back()) == {1: ACCEPT, 2: ACCEPT}


def test_the_candidate_stays_until_stable_is_up_and_settled() -> None:
    facts = Facts().at("shifted").back().all(BLUE, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    assert isinstance(facts.decide(), Look | Wait)
    facts.all(BLUE, up=True)
    assert isinstance(facts.decide(), Look | Wait)
    facts.all(BLUE, rose=True)
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_in_the_bake_with_the_candidate_serving_stable_is_raised_all_at_once() -> None:
    assert facts_modes(Facts().at("baking").back()) == {1: ACCEPT, 2: ACCEPT}


def test_but_that_it_serves_is_looked_at_first() -> None:
    facts = Facts().at("baking").back(at=NOW - 0.5)
    assert facts.decide() == Look((3, 4, 1, 2), "who serves now?")


def net(**rollout: object) -> Facts:
    """The candidate is down in the bake: the backup carries the users, and has settled."""
    return settled_net(Facts(**rollout).at("baking").all(GREEN, up=False).back())  # type: ignore[arg-type]


def settled_net(facts: Facts) -> Facts:
    facts.events = [
        msgspec.structs.replace(event, at=NOW - 90) if isinstance(event, Asked) and event.mode is BACKUP else event
        for event in facts.events
    ]
    for index in range(len(facts.rollout.stable_slots)):
        facts.is_(BLUE, index, since=NOW - 89, read_at=NOW - 1)
    return facts


def test_a_net_that_was_asked_for_a_moment_ago_is_not_left_yet() -> None:
    """Simulation: one of two was raised out of a net that the other had not joined yet, and nobody served."""
    facts = net().is_(BLUE, 1, mode=BACKUP, weight=100, asked_at=NOW - 7, read_at=NOW - 1)
    decision = facts.decide()
    assert isinstance(decision, Wait)
    assert "settle" in decision.because


def test_the_net_is_left_one_address_at_a_time() -> None:
    assert facts_modes(net()) == {1: ACCEPT}


def test_and_the_next_only_when_the_first_is_up_and_settled() -> None:
    facts = net().is_(BLUE, 0, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    assert "checks" in facts.decide().because
    facts.is_(BLUE, 0, up=True)
    assert "settle" in facts.decide().because
    facts.now = NOW + 70
    facts.is_(BLUE, 0, read_at=NOW + 69)
    assert facts_modes(facts) == {2: ACCEPT}


def test_a_raised_node_that_does_not_come_up_gives_way_to_the_next() -> None:
    facts = net().is_(BLUE, 0, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    facts.now = NOW + 400
    assert facts.decide() == Look((2,), "is the net still there?")
    facts.is_(BLUE, 1, read_at=NOW + 399).all(GREEN, up=False, read_at=NOW + 399)
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}  # the next is the last that carries the users
    facts.all(GREEN, mode=REJECT, weight=1, up=False, asked_at=NOW - 3, read_at=NOW + 399)
    assert facts_modes(facts) == {2: ACCEPT}


def test_one_that_settled_as_something_else_than_the_net_is_raised_before_the_one_that_is() -> None:
    """Simulation: asking it to be the net was refused, and the other one, which carried everybody, was raised first."""
    assert facts_modes(net().is_(BLUE, 1, mode=REJECT, weight=1)) == {2: ACCEPT}


def test_what_holds_alone_beside_a_dead_net_waits_for_the_candidate_as_a_lone_net_does() -> None:
    """Simulation: with its neighbour dead it was raised at once, and nobody served while its checks began anew."""
    facts = net().is_(BLUE, 0, up=True).is_(BLUE, 1, up=False)
    assert facts_modes(facts) == {2: ACCEPT}
    facts.is_(BLUE, 1, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    assert isinstance(facts.decide(), Look | Wait)
    facts.now = NOW + 400
    facts.is_(BLUE, 0, read_at=NOW + 399).all(GREEN, up=False, read_at=NOW + 399)
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_a_lone_net_waits_for_a_candidate_that_may_be_back_in_seconds() -> None:
    assert isinstance(net(slots=1).decide(), Look | Wait)


def test_a_lone_net_stays_until_the_candidate_is_out_of_its_way() -> None:
    facts = net(slots=1)
    facts.now = NOW + 400
    facts.is_(GREEN, 0, up=False, read_at=NOW + 399).is_(BLUE, 0, read_at=NOW + 399)
    assert facts_modes(facts) == {2: REJECT}
    facts.is_(GREEN, 0, mode=REJECT, weight=1, up=False, asked_at=NOW - 3, read_at=NOW - 1)
    assert "settle" in facts.decide().because
    facts.is_(GREEN, 0, read_at=NOW + 399)
    assert facts_modes(facts) == {1: ACCEPT}


def test_a_net_that_is_not_seen_yet_is_a_net() -> None:
    """Simulation: an old reading showed it as reject, and it was raised as if it carried nobody."""
    facts = net(slots=1).is_(BLUE, 0, mode=REJECT, weight=1, up=False, since=NOW - 14)
    assert isinstance(facts.decide(), Look | Wait)


def test_a_net_is_looked_at_again_while_it_is_waited_for() -> None:
    """Simulation: that stable was the backup was an old answer, and nobody served while it was waited for."""
    facts = net(slots=1)
    facts.now = NOW + 30
    facts.is_(GREEN, 0, read_at=facts.now - 1)
    assert facts.decide() == Look((1,), "is the net still there?")


def test_a_candidate_counts_beside_the_net_when_it_was_probed_since() -> None:
    """Simulation: it died between its last probe and going back, and the whole net was raised beside it."""
    facts = settled_net(Facts().at("baking").back(at=NOW - 0.5).seen_again(NOW))
    for index in range(2):
        facts.is_(BLUE, index, read_at=NOW)
    assert facts_modes(facts) == {1: ACCEPT}
    for index in range(2):
        name = slot(GREEN, index).host
        facts.hosts[name] = msgspec.structs.replace(facts.hosts[name], seen_at=NOW)
    assert facts_modes(facts) == {1: ACCEPT, 2: ACCEPT}


def test_a_first_deploy_is_not_aborted_after_the_commit() -> None:
    """Simulation: nothing was left that could serve."""
    facts = Facts(first=True).at("shifted").event(Committed(at=NOW - 5)).wants(go_back="ada")
    assert not any(isinstance(action, Record) for action in facts.actions())


def test_nothing_is_chosen_while_a_decision_is_written_down() -> None:
    """Simulation: retiring and going back were written side by side, and stable was stopped in between."""
    facts = Facts().at("out").wants(go_back="ada")
    facts.in_flight = frozenset({Record(Retiring())})
    assert facts.decide() == Wait(None, "a decision is being written down")


def test_the_end_is_said_of_fresh_answers() -> None:
    """Simulation: somebody took a stable node out while the candidate drained, and it was called rolled back."""
    facts = Facts().at("prepared").back(at=NOW - 40).seen_again(NOW - 30)
    facts.event(*(Pruned(host=name, at=NOW) for name in facts.hosts))
    assert facts.decide() == Look((3, 4, 1, 2), "who serves at the end?")


def test_a_first_deploy_that_fails_takes_its_only_colour_out_and_stops_it() -> None:
    facts = Facts(first=True).at("raised").back()
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}
    facts.all(GREEN, mode=REJECT, weight=1, up=False, asked_at=NOW - 70, since=NOW - 69)
    for index in range(2):
        facts.sight(GREEN, index, quiet_since=NOW - 30)
    assert facts.actions() == (Stop(slot(GREEN, 0), NEW.id), Stop(slot(GREEN, 1), NEW.id))


def test_a_first_deploys_candidate_is_not_taken_away_after_the_commit() -> None:
    facts = Facts(first=True).at("shifted").event(Committed(at=NOW - 5))
    facts.public = PublicSight(failed=3, failed_on_candidate=3)
    assert not any(isinstance(action, Record) for action in facts.actions())


@pytest.mark.parametrize(("first", "result"), [(False, "rolled_back"), (True, "failed")])
def test_it_ends_with_the_reason_it_was_decided_for(first: bool, result: str) -> None:  # noqa: FBT001 - a table
    facts = Facts(first=first).at("prepared").back(reason="green-0 does not answer").seen_again(NOW - 1)
    facts.event(*(Pruned(host=name, at=NOW) for name in facts.hosts))
    assert facts.decide() == Finish(result, "green-0 does not answer")  # type: ignore[arg-type]


def test_it_is_never_paused() -> None:
    facts = Facts().at("raised").event(Paused(paused=True, at=NOW - 50)).back().wants(paused=False)
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_it_passes_no_gate_and_asks_nobody() -> None:
    hooks = (Hook(name="after_rollback", command=("x",)),)
    facts = Facts(hooks=hooks).at("prepared").back().seen_again(NOW - 1)
    assert facts.actions() == (RunCommand("hook", "after_rollback"),)
    facts.event(CommandStarted(kind="hook", name="after_rollback", at=NOW))
    assert not isinstance(facts.decide(), Halt)


def test_what_cannot_be_finished_ends_the_drive_and_not_the_service() -> None:
    facts = Facts().at("shifted").back()
    facts.now = NOW + 1801
    decision = facts.decide()
    assert isinstance(decision, Halt)
    assert not decision.needs_person


def test_dead_stable_capacity_does_not_keep_a_bad_candidate_in_front_of_users() -> None:
    facts = Facts().at("shifted").back().all(BLUE, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    facts.is_(BLUE, 0, up=True, rose=True)
    assert not isinstance(facts.decide(), Record)
    facts.now = NOW + 200
    facts.seen_again()
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_without_any_stable_node_the_candidate_stays() -> None:
    facts = Facts().at("shifted").back().all(BLUE, mode=ACCEPT, weight=100, up=False, asked_at=NOW - 4)
    facts.now = NOW + 200
    facts.seen_again()
    assert isinstance(facts.decide(), Look | Wait)


def test_a_candidate_that_the_balancer_calls_down_gives_nothing() -> None:
    """It may go at once, on an answer that is fresh, without waiting for stable."""
    facts = Facts().at("raised").all(GREEN, up=False, read_at=NOW - 30).back().all(BLUE, read_at=NOW - 1)
    assert facts.decide() == Look((3, 4), "is green-0, green-1 still down?")
    facts.all(GREEN, read_at=NOW - 1)
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_a_candidate_that_is_down_stays_where_somebody_deleted_all_of_stable() -> None:
    """It is all that users have, once it is back."""
    facts = Facts().at("raised").all(GREEN, up=False, read_at=NOW - 1).back().all(BLUE, read_at=NOW - 1)
    facts.nodes = {id_: node for id_, node in facts.nodes.items() if id_ not in {1, 2}}
    decision = facts.decide()
    assert isinstance(decision, Wait)
    assert decision.because == "port 80: 0 of 2 nodes serve without it: nothing of stable is left there"
    for index in range(2):
        facts.sight(GREEN, index, fails=int(TIMING.up_within / TIMING.interval))  # it will not be back
    assert facts_modes(facts) == {3: REJECT, 4: REJECT}


def test_a_stable_that_was_not_serving_is_not_raised() -> None:
    facts = Facts(baseline={1: 100}, floor={80: 1}).at("shifted").back()
    assert facts_modes(facts) == {1: ACCEPT}


def facts_modes(facts: Facts) -> dict[int, object]:
    changes = facts.actions()
    assert all(isinstance(change, SetNode) for change in changes), changes
    return {change.node: change.mode for change in changes if isinstance(change, SetNode)}


def test_weights_return_to_what_they_were() -> None:
    facts = Facts(baseline={1: 70, 2: 30}).at("shifted").back()
    assert {c.node: c.weight for c in facts.actions() if isinstance(c, SetNode)} == {1: 70, 2: 30}


def test_nodes_of_neither_colour_are_never_touched() -> None:
    facts = Facts().at("raised").back()
    node = facts.nodes[4]
    stranger = msgspec.structs.replace(node.facts, id=99, address="192.168.200.1:1")
    facts.nodes[99] = msgspec.structs.replace(node, facts=stranger)
    assert 99 not in facts_modes(facts)
    assert Asked(node=99, mode=BACKUP, weight=1) not in facts.events
    assert Retiring() not in facts.events
