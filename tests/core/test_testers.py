"""The test port: who is let in and when, what users wait for, and that nothing on it holds users back."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from tests.core.builders import ACCEPT, BLUE, GREEN, NOW, OPENED, REJECT, TIMING, Facts, Stage, slot
from tests.core.test_preflight import balancer, config, opens, scout, wanted

from celadon.core.action import Act, Finish, Look, Record, RunCommand, SetNode, Wait
from celadon.core.errors import Refused
from celadon.core.intent import Hook
from celadon.core.journal import Returning
from celadon.core.plan import plan
from celadon.core.strategy import blue_green
from celadon.core.wanted import Options

TEST = 8081


class WithTestPort(Facts):
    """As `Facts`, with a test port in front of both colours, closed."""

    def __init__(self, **rollout: Any) -> None:
        super().__init__(**({"test_port": TEST} | rollout))
        for colour in (BLUE, GREEN):
            for index in range(self.slots):
                self._add_node(colour, index, TEST)
        for node in [node for node in self.nodes.values() if node.facts.port == TEST]:
            shut = msgspec.structs.replace(node.facts, mode=REJECT, up=False)
            self.nodes[node.facts.id] = msgspec.structs.replace(node, facts=shut, was_off=True)

    def at(self, stage: Stage) -> "WithTestPort":
        super().at(stage)
        return self

    def tested(self, **seen: Any) -> "WithTestPort":
        """The candidate's nodes there were raised, and are UP unless it says otherwise."""
        for index in range(self.slots):
            self.is_(GREEN, index, TEST, **({"mode": ACCEPT, "up": True, "rose": True, "asked_at": OPENED + 30} | seen))
        return self

    def shut(self) -> "WithTestPort":
        for index in range(self.slots):
            self.is_(GREEN, index, TEST, mode=REJECT, weight=1, up=False, asked_at=OPENED + 65)
        return self


@dataclass
class Change:
    """What a decision changes: ports and modes by address."""

    ports: set[int]
    modes: dict[str, str]

    @classmethod
    def of(cls, facts: Facts) -> "Change":
        changes = [action for action in facts.actions() if isinstance(action, SetNode)]
        return cls({change.port for change in changes}, {c.address: c.mode.value for c in changes})


GREENS = [slot(GREEN, index).node_address for index in range(2)]
LET_IN = Change({TEST}, dict.fromkeys(GREENS, "accept"))
LET_OUT = Change({TEST}, dict.fromkeys(GREENS, "reject"))


def test_a_warm_candidate_is_let_in_and_stable_is_not() -> None:
    assert Change.of(WithTestPort().at("warm")) == LET_IN


@pytest.mark.parametrize("stage", ["opened", "prepared", "started", "healthy"])
def test_nobody_is_let_in_before_it_is_warm(stage: Stage) -> None:
    decision = WithTestPort().at(stage).decide()
    assert not isinstance(decision, Act) or not any(isinstance(action, SetNode) for action in decision.actions)


def test_tests_wait_until_the_balancer_itself_calls_all_of_them_up() -> None:
    smoke = {"steps": blue_green(("smoke",), hold=False), "tests": (Hook(name="smoke", command=("x",)),)}
    unknown = WithTestPort(**smoke).at("warm").tested(up=None, rose=False, asked_at=NOW - 5)
    assert isinstance(unknown.decide(), Look | Wait)
    assert WithTestPort(**smoke).at("warm").tested().actions() == (RunCommand("test", "smoke"),)


def test_an_up_from_before_counts_only_when_it_lasts() -> None:
    old = WithTestPort().at("warm").tested(rose=False, asked_at=NOW - 5)
    decision = old.decide()
    assert isinstance(decision, Wait)
    assert decision.because.startswith("test port: settle")


def test_users_follow_all_at_once_on_a_fresh_up() -> None:
    facts = WithTestPort().at("warm").tested()
    assert Change.of(facts) == Change({80}, dict.fromkeys(GREENS, "accept"))
    assert {action.weight for action in facts.actions() if isinstance(action, SetNode)} == {100}
    stale = WithTestPort().at("warm").tested().seen_again(NOW - TIMING.fresh - 1)
    decision = stale.decide()
    assert isinstance(decision, Look)
    assert set(decision.nodes) == {stale.id(GREEN, index, TEST) for index in range(2)}


def test_the_wait_is_bounded_and_ends_in_going_back() -> None:
    late = WithTestPort().at("warm").tested(up=False, rose=False, asked_at=NOW - TIMING.up_within - 1)
    (action,) = late.actions()
    assert isinstance(action, Record)
    assert isinstance(action.event, Returning)
    assert action.event.reason == f"the balancer did not call green-0 UP on port {TEST} in time"


def test_a_node_that_is_missing_there_is_no_pass() -> None:
    facts = WithTestPort().at("warm").tested()
    del facts.nodes[facts.id(GREEN, 1, TEST)]
    (action,) = facts.actions()
    assert isinstance(action, Record)
    assert isinstance(action.event, Returning)
    assert f"port {TEST} lost its node for green-1" in action.event.reason


def test_after_the_shift_testers_are_let_out_and_only_then_it_is_committed() -> None:
    assert Change.of(WithTestPort().at("shifted").tested()) == LET_OUT
    assert isinstance(WithTestPort().at("shifted").tested().shut().actions()[0], Record)


def test_no_floor_holds_there() -> None:
    """Both are taken out at once, though nobody else is in."""
    changes = [action for action in WithTestPort().at("shifted").tested().actions() if isinstance(action, SetNode)]
    assert len(changes) == 2


def test_a_serving_floor_is_never_met_by_testers_nodes() -> None:
    facts = WithTestPort().at("raised").tested()
    facts.is_(GREEN, 1, 80, up=False, rose=False)
    assert not any(change.lowers for change in _changes(facts))


def _changes(facts: Facts) -> list[SetNode]:
    decision = facts.decide()
    return [a for a in decision.actions if isinstance(a, SetNode)] if isinstance(decision, Act) else []


def test_going_back_raises_stable_before_it_thinks_of_testers() -> None:
    facts = WithTestPort().at("shifted").tested().back()
    assert {(change.port, change.mode) for change in _changes(facts)} == {(80, ACCEPT)}


def test_a_failed_candidate_leaves_the_test_port_before_it_is_stopped() -> None:
    facts = WithTestPort().at("warm").tested().back().seen_again()
    assert Change.of(facts) == LET_OUT
    shut = WithTestPort().at("warm").tested()
    for index in range(2):
        shut.is_(GREEN, index, TEST, mode=REJECT, weight=1, up=False, asked_at=NOW - 3)
    decision = shut.back().seen_again().decide()
    assert isinstance(decision, Wait)  # until it has settled: a tester may still be sent there
    assert "settle" in decision.because


def test_stable_that_somebody_opened_there_is_shut_before_anything_starts() -> None:
    facts = WithTestPort().is_(BLUE, 0, TEST, mode=ACCEPT, up=True)
    assert Change.of(facts) == Change({TEST}, {slot(BLUE, 0).node_address: "reject"})


def test_going_back_to_a_kept_release_passes_no_test_port() -> None:
    (action,) = WithTestPort(kind="rollback").at("warm").actions()
    assert isinstance(action, SetNode)
    assert (action.port, action.weight) == (80, 1)


def test_a_plan_has_no_node_at_weight_one_and_ends_well() -> None:
    path = [d for _, d in plan(WithTestPort().observed, WithTestPort().intent, NOW)]
    raised = [a for d in path if isinstance(d, Act) for a in d.actions if isinstance(a, SetNode) and a.mode is ACCEPT]
    assert {(action.port, action.weight) for action in raised} == {(TEST, 100), (80, 100)}
    assert isinstance(path[-1], Finish)


# -- may it open? ----------------------------------------------------------------------------------


def test_a_missing_config_is_refused_with_the_way_to_make_it() -> None:
    with pytest.raises(Refused) as refused:
        opens(wanted(test_port=TEST), scout())
    assert refused.value.message == f"web has no config for the test port {TEST}"
    assert refused.value.hint is not None
    assert f"linode-cli nodebalancers config-create 7 --port {TEST} --protocol http" in refused.value.hint
    assert "--check_path /up" in refused.value.hint


def test_no_user_comes_through_it() -> None:
    facts = balancer(config(), config(TEST, blue=REJECT))
    rollout = opens(wanted(test_port=TEST), scout(facts)).rollout
    assert (rollout.ports, rollout.test_port, rollout.floor) == ((80,), TEST, {80: 2})


def test_what_it_checks_must_be_fit_too() -> None:
    facts = balancer(config(), config(TEST, blue=REJECT, check="none"))
    with pytest.raises(Refused, match=f"port {TEST}: no health check"):
        opens(wanted(test_port=TEST), scout(facts))


def test_its_missing_nodes_are_added_like_others() -> None:
    facts = balancer(config(), config(TEST, nodes=()))
    added = opens(wanted(test_port=TEST), scout(facts)).add
    assert {(node.port, node.config_id) for node in added} == {(TEST, TEST * 10)}
    assert len(added) == 4


def test_going_back_does_not_ask_for_it() -> None:
    assert opens(wanted(test_port=TEST), scout(), Options(gates=False)).rollout.test_port == TEST
