"""The rollout from top to bottom when nothing goes wrong: the world at each stage, and what comes next."""

import pytest
from tests.core.builders import ACCEPT, BACKUP, BLUE, GREEN, NEW, NOW, OLD, REJECT, Facts, Stage, slot

from celadon.core.action import (
    Act,
    Finish,
    Look,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    SetNode,
    Start,
    Stop,
    Wait,
    WarmUpSlot,
)
from celadon.core.journal import Committed, Finished, Pruned, Retiring, StepDone, Stopped


def test_settings_come_first_on_all_candidate_hosts() -> None:
    assert Facts().actions() == (PutSettings("green-0"), PutSettings("green-1"))


def test_then_the_release_and_nothing_starts_before_all_have_it() -> None:
    facts = Facts().at("settings").host(GREEN, 0, artifacts=frozenset({NEW.artifact}))
    assert facts.actions() == (PutArtifact("green-1"),)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("prepared", (Start(slot(GREEN, 0)), Start(slot(GREEN, 1)))),
        ("healthy", (WarmUpSlot(slot(GREEN, 0), "1"), WarmUpSlot(slot(GREEN, 1), "1"))),
        ("warm", (SetNode(3, 80, "192.168.129.10:8000", ACCEPT, 1),)),
        (
            "pilot",
            (
                SetNode(3, 80, "192.168.129.10:8000", ACCEPT, 100),
                SetNode(4, 80, "192.168.129.11:8000", ACCEPT, 100),
            ),
        ),
        (
            "raised",
            (
                SetNode(1, 80, "192.168.128.10:8000", REJECT, 1, lowers=True),
                SetNode(2, 80, "192.168.128.11:8000", REJECT, 1, lowers=True),
            ),
        ),
        ("shifted", (Record(Committed()),)),
        (
            "committed",
            (SetNode(1, 80, "192.168.128.10:8000", BACKUP, 100), SetNode(2, 80, "192.168.128.11:8000", BACKUP, 100)),
        ),
        (
            "retire",
            (
                SetNode(1, 80, "192.168.128.10:8000", REJECT, 1, lowers=True),
                SetNode(2, 80, "192.168.128.11:8000", REJECT, 1, lowers=True),
            ),
        ),
        ("out", (Record(Retiring()),)),
    ],
)
def test_what_comes_next(stage: Stage, expected: tuple[object, ...]) -> None:
    assert Facts().at(stage).actions() == expected


def test_replicas_must_pass_several_probes_in_a_row() -> None:
    facts = Facts().at("started").sight(GREEN, 0, passes=3).sight(GREEN, 1, passes=2)
    assert facts.decide() == Wait(None, "probes passed in a row: green-1:8000 2/3")


def test_a_replica_that_was_replaced_is_warmed_up_again() -> None:
    facts = Facts().at("warm").replica(GREEN, 1, NEW, id="2").sight(GREEN, 1, passes=3)
    assert facts.actions() == (WarmUpSlot(slot(GREEN, 1), "2"),)


def test_the_step_is_over_when_stable_is_out() -> None:
    facts = Facts().at("raised").all(BLUE, mode=REJECT, weight=1, up=False, asked_at=NOW - 10)
    assert facts.actions() == (Record(StepDone(index=0)),)


def test_the_commit_waits_until_all_is_settled() -> None:
    facts = Facts().at("shifted").all(BLUE, mode=REJECT, weight=1, up=False, asked_at=NOW - 10)
    decision = facts.decide()
    assert isinstance(decision, Wait)
    assert decision.until == NOW - 10 + 0.5 + 60
    assert "settle" in decision.because


def test_the_bake_looks_ever_more_rarely_and_ends_by_itself() -> None:
    facts = Facts().at("baking")
    assert facts.decide() == Wait(NOW - 1 + 19, "bake: rollback changes only the balancer")
    facts.now = NOW + 25
    assert facts.decide() == Look((), "bake: is the balancer as it should be?")


def test_with_until_commit_the_bake_is_somebody_elses() -> None:
    decision = Facts().at("baking").wants(until_commit=True).decide()
    assert isinstance(decision, Finish)
    assert decision.result == "committed"


def test_without_a_net_stable_stays_out_during_the_bake() -> None:
    assert isinstance(Facts(bake_net="reject").at("committed").decide(), Wait)


def test_stable_is_stopped_only_after_it_was_written_down() -> None:
    facts = Facts().at("out").retiring()
    assert facts.actions() == (Stop(slot(BLUE, 0), OLD.id), Stop(slot(BLUE, 1), OLD.id))


def stopped(facts: Facts) -> Facts:
    for index in range(facts.slots):
        facts.replica(BLUE, index, None).event(Stopped(slot=slot(BLUE, index).key, release=OLD.id, cut=0, at=facts.now))
    return facts


def test_then_what_no_rollback_needs_is_removed_and_it_is_done() -> None:
    facts = stopped(Facts().at("out").retiring())
    assert facts.actions() == tuple(Prune(name) for name in ("blue-0", "blue-1", "green-0", "green-1"))
    facts.event(*(Pruned(host=name, at=facts.now) for name in facts.hosts))
    assert facts.decide() == Finish("done", "the candidate serves and stable is retired")


def test_it_ends_only_when_nothing_of_ours_still_runs() -> None:
    facts = stopped(Facts().at("out").retiring())
    facts.event(*(Pruned(host=name, at=facts.now) for name in facts.hosts))
    facts.in_flight = frozenset({Prune("blue-0")})
    assert facts.decide() == Wait(None, "an action is still under way")


def test_a_finished_rollout_says_so_and_nothing_else() -> None:
    facts = Facts().event(Finished(result="rolled_back", reason="green-0:8000 became unhealthy", at=NOW))
    assert facts.decide() == Finish("rolled_back", "green-0:8000 became unhealthy")


def test_a_first_deploy_needs_no_stable() -> None:
    facts = Facts(first=True).at("shifted")
    assert facts.actions() == (Record(Committed()),)
    facts.event(Committed(at=NOW - 5))
    assert all(isinstance(action, Prune) for action in facts.actions())


def test_an_unmanaged_stable_goes_out_of_the_balancer_and_is_never_stopped() -> None:
    facts = Facts(stable=None).at("out")
    assert all(isinstance(action, Prune) for action in facts.actions())


def test_every_port_is_moved() -> None:
    facts = Facts(ports=(80, 443)).at("warm")
    assert [(change.port, change.weight) for change in facts.actions() if isinstance(change, SetNode)] == [
        (80, 1),
        (443, 1),
    ]


def test_one_decision_is_one_act() -> None:
    assert isinstance(Facts().decide(), Act)
