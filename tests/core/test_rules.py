"""Rules off the good path: pauses, gates, hooks, tests, hosts that do not answer, draining, retrying."""

import msgspec
import pytest
from tests.core.builders import ACCEPT, BLUE, GREEN, LEFT, NEW, NOW, OLD, REJECT, Facts, Stage, slot

from celadon.core.action import (
    Act,
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
from celadon.core.attempts import failure_key, subject
from celadon.core.decide import RULES
from celadon.core.intent import Hook, HookMoment
from celadon.core.journal import (
    Abandoned,
    ActionFailed,
    CommandFinished,
    CommandStarted,
    Paused,
    Pruned,
    Retiring,
    Returning,
    StepDone,
    Stopped,
)
from celadon.core.observed import PublicSight
from celadon.core.strategy import blue_green

# -- pauses ------------------------------------------------------------------------------------------


def test_a_pause_and_its_end_are_written_down() -> None:
    facts = Facts().at("warm").wants(paused=True)
    assert facts.actions() == (Record(Paused(paused=True)),)
    facts.event(Paused(paused=True, at=NOW - 1)).wants(paused=False)
    assert facts.actions() == (Record(Paused(paused=False)),)


@pytest.mark.parametrize("stage", ["opened", "started", "warm", "baking"])
def test_the_safe_points_hold(stage: Stage) -> None:
    facts = Facts().at(stage).wants(paused=True).event(Paused(paused=True, at=NOW - 1))
    assert facts.decide() == Wait(None, "paused by an operator")


@pytest.mark.parametrize("stage", ["pilot", "raised", "out"])
def test_half_a_shift_is_no_place_to_stop(stage: Stage) -> None:
    facts = Facts().at(stage).wants(paused=True).event(Paused(paused=True, at=NOW - 1))
    if stage == "out":
        facts.retiring()
    assert isinstance(facts.decide(), Act)


def test_a_paused_bake_does_not_end() -> None:
    facts = Facts().at("retire").wants(paused=True).event(Paused(paused=True, at=NOW))
    assert facts.decide() == Wait(None, "paused by an operator")


# -- tests, gates and hooks ----------------------------------------------------------------------------


def test_tests_run_before_traffic_and_again_after_a_crash() -> None:
    facts = Facts(tests=(Hook(name="smoke", command=("x",)),), steps=blue_green(("smoke",), hold=False)).at("warm")
    assert facts.actions() == (RunCommand("test", "smoke"),)
    facts.event(CommandStarted(kind="test", name="smoke", at=NOW - 50))
    assert facts.actions() == (RunCommand("test", "smoke"),)
    facts.in_flight = frozenset(facts.actions())
    assert facts.decide() == Wait(None, "test smoke")
    facts.in_flight = frozenset()
    facts.event(CommandFinished(kind="test", name="smoke", ok=True, at=NOW - 40))
    assert facts.actions() == (Record(StepDone(index=0)),)


def test_a_gate_waits_for_a_person() -> None:
    facts = Facts(steps=blue_green((), hold=True)).at("warm")
    assert facts.decide().because.startswith("held")
    assert isinstance(facts.wants(promotions=1).actions()[0], Record)


def test_promoting_all_opens_every_gate() -> None:
    assert isinstance(Facts(steps=blue_green((), hold=True)).at("warm").wants(promote_all=True).actions()[0], Record)


@pytest.mark.parametrize(
    ("moment", "stage"),
    [
        ("before_prepare", "opened"),
        ("before_shift", "warm"),
        ("after_commit", "committed"),
        ("after_finish", "out"),
    ],
)
def test_a_hook_runs_once_at_its_moment(moment: HookMoment, stage: Stage) -> None:
    facts = Facts(hooks=(Hook(name=moment, command=("x",)),)).at(stage)
    if moment == "after_finish":
        facts.retiring()
        for index in range(2):
            facts.replica(BLUE, index, None)
    hook = RunCommand("hook", moment)
    assert facts.actions() == (hook,)
    facts.event(CommandFinished(kind="hook", name=moment, ok=True, at=facts.now))
    assert hook not in facts.actions()


def test_a_hook_whose_end_nobody_knows_asks_a_person() -> None:
    facts = Facts(hooks=(Hook(name="before_shift", command=("x",)),)).at("warm")
    facts.event(CommandStarted(kind="hook", name="before_shift", at=NOW - 60))
    decision = facts.decide()
    assert isinstance(decision, Halt)
    assert decision.needs_person
    assert isinstance(facts.wants(settled_hooks=("before_shift",)).actions()[0], SetNode)


def test_a_hook_under_way_is_no_reason_to_ask() -> None:
    facts = Facts(hooks=(Hook(name="before_shift", command=("x",)),)).at("warm")
    facts.event(CommandStarted(kind="hook", name="before_shift", at=NOW - 60))
    facts.in_flight = frozenset({RunCommand("hook", "before_shift")})
    assert facts.decide() == Wait(None, "hook before_shift")


def test_a_hook_that_is_safe_to_repeat_is_repeated() -> None:
    facts = Facts(hooks=(Hook(name="before_shift", command=("x",), safe_to_repeat=True),)).at("warm")
    facts.event(CommandStarted(kind="hook", name="before_shift", at=NOW - 60))
    assert facts.actions() == (RunCommand("hook", "before_shift"),)


# -- preparing -----------------------------------------------------------------------------------------


def test_a_host_that_does_not_answer_is_waited_for() -> None:
    facts = Facts().at("prepared").silent(GREEN, 1, seconds=5)
    assert facts.decide() == Wait(None, "green-1 does not answer")


def test_a_host_never_seen_is_waited_for_and_nothing_starts_on_a_guess() -> None:
    facts = Facts().at("prepared")
    facts.hosts["green-1"] = msgspec.structs.replace(facts.hosts["green-1"], facts=None, slots={})
    assert facts.decide() == Wait(None, "green-1 does not answer")


def test_a_slot_without_an_answer_is_not_started_over() -> None:
    facts = Facts().at("prepared")
    facts.hosts["green-1"] = msgspec.structs.replace(facts.hosts["green-1"], slots={})
    assert facts.actions() == (Start(slot(GREEN, 0)),)


def test_a_replica_that_exited_for_good_is_started_again() -> None:
    facts = Facts().at("started").replica(GREEN, 1, NEW, running=False, exit_code=1)
    assert facts.actions() == (Start(slot(GREEN, 1)),)


def test_a_replica_that_its_supervisor_brings_back_is_left_to_it() -> None:
    facts = Facts().at("started").replica(GREEN, 1, NEW, running=False, restarts=1)
    assert isinstance(facts.decide(), Wait)


def test_what_exited_long_ago_is_started_over() -> None:
    facts = Facts().at("prepared").replica(GREEN, 0, LEFT, running=False)
    assert facts.actions() == (Start(slot(GREEN, 0)), Start(slot(GREEN, 1)))


def test_what_an_earlier_rollout_left_running_is_stopped_when_settled_and_quiet() -> None:
    facts = Facts(slots=1).at("prepared").replica(GREEN, 0, LEFT)
    facts.is_(GREEN, 0, since=NOW - 10)
    assert "settle" in facts.decide().because
    facts.is_(GREEN, 0, since=NOW - 70)
    assert facts.decide() == Wait(NOW - 70 + 60 + 60, "drain green-0:8000: waiting for quiet")
    facts.sight(GREEN, 0, quiet_since=NOW - 6)
    assert facts.actions() == (Stop(slot(GREEN, 0), LEFT.id),)


def test_a_left_over_does_not_keep_the_other_slots_waiting() -> None:
    facts = Facts().at("prepared").replica(GREEN, 0, LEFT).is_(GREEN, 0, since=NOW - 10)
    assert facts.actions() == (Start(slot(GREEN, 1)),)


# -- committing ----------------------------------------------------------------------------------------


def test_no_answers_through_the_users_door_are_no_pass() -> None:
    facts = Facts().at("shifted").all(BLUE, mode=REJECT, weight=1, up=False, asked_at=NOW - 65)
    facts.public = PublicSight(sent=500)
    assert facts.decide().because == "verify through the users' door: 0 of 3 good answers in a row"
    facts.now = NOW + 100
    facts.seen_again()
    (back,) = facts.actions()
    assert isinstance(back, Record)
    assert isinstance(back.event, Returning)
    assert back.event.reason.startswith("not verified through http://shop.example")


def test_a_change_that_was_undone_is_made_again_before_the_commit() -> None:
    facts = Facts().at("shifted").is_(BLUE, 0, mode=ACCEPT, weight=100, up=True)
    assert facts.actions() == (SetNode(1, 80, "192.168.128.10:8000", REJECT, 1, lowers=True),)


# -- retiring ------------------------------------------------------------------------------------------


def test_draining_waits_for_quiet_or_the_deadline() -> None:
    facts = Facts(slots=1).at("out").sight(BLUE, 0, quiet_since=None, open=3)
    assert facts.decide() == Wait(facts.now - 69.5 + 60 + 60, "drain blue-0:8000: 3 open")
    facts.sight(BLUE, 0, open=0)
    assert facts.decide().because == "drain blue-0:8000: waiting for quiet"
    facts.sight(BLUE, 0, quiet_since=facts.now - 4)
    assert isinstance(facts.decide(), Wait)
    facts.sight(BLUE, 0, quiet_since=facts.now - 5)
    assert facts.actions() == (Record(Retiring()),)


def test_what_cannot_be_counted_is_waited_for_until_the_deadline() -> None:
    facts = Facts(slots=1).at("out").sight(BLUE, 0, quiet_since=None, open=None)
    assert facts.decide().because == "drain blue-0:8000: open connections cannot be counted"
    facts.now += 60
    facts.seen_again()
    assert facts.actions() == (Record(Retiring()),)


def test_before_the_signal_the_balancer_is_asked_once_more() -> None:
    facts = Facts(slots=1).at("out")
    facts.now += 11
    assert facts.decide() == Look((1,), "blue-0:8000: still out?")


def test_a_node_that_is_not_settled_keeps_its_replica() -> None:
    facts = Facts(slots=1).at("out")
    facts.is_(BLUE, 0, since=facts.now - 50)
    assert "settle" in facts.decide().because


def test_a_request_younger_than_what_is_seen_starts_the_settling_anew() -> None:
    """A stale read may hide an accept and a reject: seed 145."""
    facts = Facts(slots=1).at("out").asks(BLUE, 0, mode=REJECT, weight=1, at=NOW + 295)
    assert "settle" in facts.decide().because


def test_a_node_that_somebody_else_took_out_is_out_when_settled() -> None:
    facts = Facts(slots=1).at("out")
    facts.events = [event for event in facts.events if getattr(event, "node", 0) != 1]
    assert facts.actions() == (Record(Retiring()),)


def test_a_dead_host_is_abandoned_past_its_deadline() -> None:
    facts = Facts(slots=1).at("out").silent(BLUE, 0, seconds=10)
    decision = facts.decide()
    assert isinstance(decision, Wait)
    facts.now += 200
    facts.seen_again()
    assert isinstance(facts.decide(), Wait)  # nobody has asked it for so long: the driver slept
    facts.silent(BLUE, 0, seconds=210)
    assert facts.actions() == (Record(Abandoned(slot="blue-0:8000")),)
    facts.event(Abandoned(slot="blue-0:8000", at=facts.now))
    assert facts.actions() == (Prune("green-0"),)


def test_of_several_slots_the_ready_ones_go_first() -> None:
    facts = Facts().at("out").retiring().sight(BLUE, 0, quiet_since=None, open=1)
    assert facts.actions() == (Stop(slot(BLUE, 1), OLD.id),)


def test_what_was_stopped_and_does_not_run_is_gone() -> None:
    facts = Facts(slots=1).at("out").retiring().replica(BLUE, 0, OLD, running=False)
    facts.sight(BLUE, 0, quiet_since=facts.now - 20)
    assert facts.actions() == (Stop(slot(BLUE, 0), OLD.id),)
    facts.event(Stopped(slot="blue-0:8000", release=OLD.id, cut=0, at=facts.now))
    assert all(isinstance(action, Prune) for action in facts.actions())


def test_a_slot_its_host_says_nothing_about_is_not_gone() -> None:
    facts = Facts(slots=1).at("out")
    facts.hosts["blue-0"] = msgspec.structs.replace(facts.hosts["blue-0"], slots={})
    assert isinstance(facts.decide(), Wait)


def test_housekeeping_that_keeps_failing_does_not_keep_a_rollout_open() -> None:
    facts = Facts(slots=1).at("out").retiring().replica(BLUE, 0, None)
    for _ in range(6):
        facts.event(ActionFailed(action="Prune blue-0", error="busy", at=facts.now - 200))
    facts.event(Pruned(host="green-0", at=facts.now))
    assert facts.decide().because == "the candidate serves and stable is retired"


def test_a_retirement_that_cannot_end_stops_the_drive() -> None:
    facts = Facts().at("out").is_(BLUE, 0, mode=ACCEPT)
    facts.now = NOW - 20 + 300 + 1800
    assert isinstance(facts.decide(), Halt)


# -- trying again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "pause"), [(1, 2.0), (2, 4.0), (3, 8.0), (5, 32.0)])
def test_trying_again_gets_rarer(failures: int, pause: float) -> None:
    facts = Facts(slots=1)
    for _ in range(failures):
        facts.event(ActionFailed(action="PutSettings green-0", error="no", at=NOW - 1))
    assert facts.decide() == Wait(NOW - 1 + pause, "settings to green-0: a moment ago this failed: no")
    facts.now = NOW - 1 + pause
    assert facts.actions() == (PutSettings("green-0"),)


def test_what_failed_a_moment_ago_waits() -> None:
    facts = Facts(slots=1).event(ActionFailed(action="PutSettings green-0", error="no", at=NOW - 1))
    assert isinstance(facts.decide(), Wait)


def test_what_is_under_way_is_not_begun_again_and_the_rest_is() -> None:
    facts = Facts()
    facts.in_flight = frozenset({PutSettings("green-0")})
    assert facts.actions() == (PutSettings("green-1"),)
    facts.in_flight = frozenset({PutSettings("green-0"), PutSettings("green-1")})
    assert facts.decide() == Wait(None, "settings to green-0, green-1")


def test_a_wait_that_is_over_does_not_spin() -> None:
    facts = Facts(slots=1).at("out").silent(BLUE, 0, seconds=10)
    facts.now += 10
    decision = facts.decide()
    assert isinstance(decision, Wait)
    assert decision.until is None or decision.until > facts.now


@pytest.mark.parametrize(
    ("action", "about", "key"),
    [
        (SetNode(3, 80, "a", ACCEPT, 100), ("node", 3), "SetNode 3 accept 100"),
        (Start(slot(GREEN)), ("slot", "green-0:8000"), "Start green-0:8000"),
        (Stop(slot(GREEN), "x"), ("slot", "green-0:8000"), "Stop green-0:8000"),
        (WarmUpSlot(slot(GREEN), "1"), ("slot", "green-0:8000"), "WarmUpSlot green-0:8000"),
        (PutSettings("web"), ("settings", "web"), "PutSettings web"),
        (PutArtifact("web"), ("artifact", "web"), "PutArtifact web"),
        (Prune("web"), ("prune", "web"), "Prune web"),
        (RunCommand("test", "smoke"), ("command", "test", "smoke"), "RunCommand test smoke"),
    ],
)
def test_two_actions_about_the_same_thing_never_run_at_once(action: object, about: object, key: str) -> None:
    assert subject(action) == about  # type: ignore[arg-type]
    assert failure_key(action) == key  # type: ignore[arg-type]


def test_two_records_are_the_same_only_if_they_say_the_same() -> None:
    assert subject(Record(Retiring())) == subject(Record(Retiring())) != subject(Record(Pruned(host="web")))


def test_every_rule_has_its_reason() -> None:
    assert all(rule.__name__ != "<lambda>" for rule in RULES)
    assert len(set(RULES)) == len(RULES)
