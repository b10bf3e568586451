"""Each verdict: what returns a rollout by itself, and what is reported and changes nothing."""

from collections.abc import Callable

import msgspec
import pytest
from tests.core.builders import ACCEPT, BLUE, GREEN, LEFT, NEW, NOW, OLD, OPENED, Facts

from celadon.core.action import Look, Record
from celadon.core.intent import Hook
from celadon.core.journal import ActionFailed, ActionWorked, CommandFinished, Driving, Paused, Returning, StepDone
from celadon.core.observed import PublicSight
from celadon.core.strategy import blue_green

Change = Callable[[Facts], object]


def verdict(facts: Facts) -> str | None:
    """Why it goes back by itself; None: it does not."""
    decision = facts.decide()
    match getattr(decision, "actions", ()):
        case (Record(event=Returning(reason=reason, asked_by="")),):
            return reason
        case _:
            return None


def failing(count: int, *, final: bool = False) -> Change:
    def change(facts: Facts) -> None:
        for _ in range(count):
            facts.event(ActionFailed(action="PutArtifact green-0", error="disk full", final=final, at=NOW - 100))

    return change


@pytest.mark.parametrize(
    ("stage", "change", "reason"),
    [
        ("raised", lambda f: setattr(f, "public", PublicSight(failed_on_candidate=1)), "v2 failed 1 requests"),
        ("baking", lambda f: setattr(f, "public", PublicSight(failed_on_candidate=2)), "v2 failed 2 requests"),
        ("prepared", lambda f: setattr(f, "now", OPENED + 1801), "not done within its deadline of 1800 s"),
        ("settings", failing(6), "PutArtifact green-0: disk full"),
        ("settings", failing(1, final=True), "PutArtifact green-0: disk full"),
        ("warm", lambda f: f.event(CommandFinished(kind="test", name="smoke", ok=False, at=NOW)), "test smoke failed"),
        (
            "warm",
            lambda f: f.event(CommandFinished(kind="hook", name="before_shift", ok=False, at=NOW)),
            "hook before_shift failed",
        ),
        ("warm", lambda f: f.nodes.pop(4), "port 80 lost its node for green-1:8000"),
        ("warm", lambda f: f.nodes.update({9: twin(f, 4)}), "port 80 has two nodes for 192.168.129.11:8000"),
        ("raised", lambda f: f.is_(GREEN, 0, up=False), "did not call green-0 UP on port 80 in time"),
        ("raised", lambda f: f.sight(GREEN, 1, fails=3, last_failure="HTTP 500"), "became unhealthy: HTTP 500"),
        ("baking", lambda f: f.sight(GREEN, 1, fails=3), "became unhealthy: not running"),
        ("started", lambda f: f.replica(GREEN, 0, NEW, restarts=3), "exited 3 times before it was ever well"),
        (
            "started",
            lambda f: f.replica(GREEN, 0, NEW, restarts=3, exit_code=2),
            "exited 3 times before it was ever well (exit code 2)",
        ),
        ("started", lambda f: f.sight(GREEN, 0, since=NOW - 121), "did not become healthy in 120 s: no answer"),
        ("prepared", lambda f: f.silent(GREEN, 0, seconds=31), "green-0 does not answer"),
        ("raised", lambda f: f.silent(GREEN, 0, seconds=31).is_(GREEN, 0, up=False), ""),
    ],
)
def test_what_returns_a_rollout(stage: str, change: Change, reason: str) -> None:
    facts = Facts().at(stage)  # type: ignore[arg-type]
    change(facts)
    found = verdict(facts)
    assert found is not None
    assert reason in found


def twin(facts: Facts, id_: int) -> object:
    node = facts.nodes[id_]
    return msgspec.structs.replace(node, facts=msgspec.structs.replace(node.facts, id=9))


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("raised", lambda f: setattr(f, "public", PublicSight(failed=9))),  # of nobody known, or of stable
        ("raised", lambda f: f.replica(BLUE, 0, None)),
        ("raised", lambda f: f.silent(BLUE, 0, seconds=999)),
        ("raised", lambda f: f.sight(GREEN, 0, fails=2)),
        ("started", lambda f: f.replica(GREEN, 0, NEW, restarts=2)),
        ("prepared", lambda f: f.silent(GREEN, 0, seconds=29)),
        ("healthy", lambda f: f.sight(GREEN, 0, since=NOW - 999)),  # well for long, and not warm: a pause
        ("raised", lambda f: f.silent(GREEN, 0, seconds=999)),  # the balancer still calls it UP
        ("prepared", lambda f: f.replica(GREEN, 0, LEFT, restarts=9)),  # not ours to judge
        ("settings", failing(5)),
        ("committed", failing(9, final=True)),  # past the commit nothing but the candidate's own fault counts
        ("committed", lambda f: f.nodes.pop(4)),
        ("committed", lambda f: setattr(f, "now", OPENED + 1801)),
        ("baking", lambda f: f.event(CommandFinished(kind="hook", name="after_commit", ok=False, at=NOW))),
    ],
)
def test_what_changes_nothing(stage: str, change: Change) -> None:
    facts = Facts().at(stage)  # type: ignore[arg-type]
    change(facts)
    assert verdict(facts) is None


def test_a_host_is_silent_to_the_newest_question_and_not_to_now() -> None:
    facts = Facts().at("prepared").silent(GREEN, 0, seconds=131, unasked=110)  # the driver slept, and decides first
    assert verdict(facts) is None


def test_a_lost_host_with_traffic_is_looked_up_in_the_balancer_first() -> None:
    facts = Facts().at("raised").silent(GREEN, 0, seconds=31).all(GREEN, read_at=NOW - 40)
    assert facts.decide() == Look((3,), "green-0 does not answer: does the balancer call it UP?")


def test_after_retiring_nothing_returns() -> None:
    facts = Facts().at("out").retiring()
    facts.public = PublicSight(failed_on_candidate=100)
    assert verdict(facts) is None


def test_failures_that_were_followed_by_success_are_forgotten() -> None:
    facts = Facts().at("settings")
    failing(6)(facts)
    facts.event(ActionWorked(action="PutArtifact green-0", at=NOW - 90))
    assert verdict(facts) is None


def test_a_verdict_comes_also_while_paused() -> None:
    facts = Facts().at("baking").wants(paused=True).event(Paused(paused=True, at=NOW - 5))
    assert verdict(facts.sight(GREEN, 0, fails=3)) is not None


def test_pauses_do_not_count_for_the_deadline() -> None:
    facts = Facts().at("prepared").wants(paused=True).event(Paused(paused=True, at=NOW))
    facts.now = NOW + 100_000
    assert verdict(facts) is None
    facts.wants(paused=False).event(Paused(paused=False, at=facts.now))
    assert verdict(facts) is None
    facts.now += 1800
    assert verdict(facts) is not None


def test_waiting_for_a_person_does_not_count_for_the_deadline() -> None:
    facts = Facts(steps=blue_green((), hold=True)).at("warm")
    facts.now = NOW + 100_000
    assert verdict(facts) is None
    facts.wants(promotions=1)
    (recorded,) = facts.actions()
    assert recorded == Record(StepDone(index=0, waited=NOW + 100_000 - (OPENED + 20)))
    facts.event(StepDone(index=0, at=facts.now, waited=facts.scene.held_for))
    assert verdict(facts) is None


def test_time_without_a_driver_counts_for_no_deadline() -> None:
    facts = Facts().at("prepared")
    facts.now = NOW + 50_000
    facts.event(Driving(who="me", fence=2, at=facts.now))
    assert verdict(facts) is None


def test_a_node_has_its_time_to_rise_under_the_driver_that_watches() -> None:
    facts = Facts().at("raised").is_(GREEN, 0, up=False)
    facts.event(Driving(who="another", fence=2, at=NOW - 10))
    assert verdict(facts) is None
    assert facts.nodes[3].facts.mode is ACCEPT


def test_a_test_that_passed_is_no_verdict() -> None:
    tests = (Hook(name="smoke", command=("smoke",)),)
    facts = Facts(tests=tests, steps=blue_green(("smoke",), hold=False)).at("warm")
    assert verdict(facts.event(CommandFinished(kind="test", name="smoke", ok=True, at=NOW))) is None
    assert OLD.id != NEW.id
