"""What events add up to, on the reader's own clock."""

import msgspec
import pytest

from celadon.core.journal import (
    EMPTY,
    Abandoned,
    ActionFailed,
    ActionWorked,
    Asked,
    CommandFinished,
    CommandStarted,
    Committed,
    Driving,
    Event,
    Finished,
    Journal,
    Noted,
    Opened,
    Paused,
    Pruned,
    Retiring,
    Returning,
    Started,
    StepDone,
    Stopped,
    Target,
    Verified,
    Warmed,
    fold,
)
from celadon.core.observed import Mode

UTC = 1.7e9


def folded(*events: tuple[float, Event], now: float = 1000.0, skew: float = 0.0) -> Journal:
    """Events at these seconds before a reader at `now` whose clock is `skew` behind the writer's."""
    stamped = [msgspec.structs.replace(event, at=UTC + at + skew) for at, event in events]
    return fold(EMPTY, stamped, offset=-UTC, now=now)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Opened(), {"opened_at": 5.0, "step_at": 5.0}),
        (Asked(node=3, mode=Mode.REJECT, weight=1), {"asked": {3: Target(Mode.REJECT, 1)}, "raised": frozenset()}),
        (Asked(node=3, mode=Mode.ACCEPT, weight=1), {"asked_at": {3: 5.0}, "raised": frozenset({3})}),
        (Asked(node=3, mode=Mode.BACKUP, weight=1), {"raised": frozenset({3})}),
        (Started(slot="a:1"), {"started": frozenset({"a:1"})}),
        (Warmed(slot="a:1", replica="r"), {"warmed": frozenset({("a:1", "r")}), "warmed_at": 5.0}),
        (CommandStarted(kind="test", name="t"), {"started_commands": frozenset({("test", "t")}), "commands": {}}),
        (CommandFinished(kind="test", name="t", ok=False), {"commands": {("test", "t"): False}}),
        (StepDone(index=2, waited=7.0), {"steps_done": 3, "step_at": 5.0, "paused_for": 7.0}),
        (Committed(), {"committed_at": 5.0}),
        (Returning(reason="bad"), {"returning_at": 5.0, "failures": {}}),
        (Retiring(), {"retiring_at": 5.0}),
        (Stopped(slot="a:1", release="r", cut=4), {"stopped": frozenset({("a:1", "r")}), "cut": 4}),
        (Stopped(slot="a:1", release="r", cut=None), {"cut": 0}),
        (Abandoned(slot="a:1"), {"abandoned": frozenset({"a:1"})}),
        (Pruned(host="a"), {"pruned": frozenset({"a"})}),
        (Paused(paused=True), {"paused_at": 5.0}),
        (Paused(paused=False), {"paused_at": None, "paused_for": 0.0}),
        (ActionFailed(action="x", error="e"), {"failures": {"x": (1, 5.0, "e", False)}}),
        (Noted(text="hello"), {"length": 1, "last_at": 5.0}),
        (Driving(who="me", fence=1), {"driving_at": 5.0, "paused_for": 0.0}),
    ],
)
def test_what_each_event_adds(event: Event, expected: dict[str, object]) -> None:
    journal = folded((5.0, event))
    assert {name: getattr(journal, name) for name in expected} == expected
    assert journal.length == 1


def test_the_first_commit_and_the_first_return_count() -> None:
    journal = folded((1, Committed()), (2, Committed()), (3, Returning(reason="a")), (4, Returning(reason="b")))
    assert (journal.committed_at, journal.returning_at) == (1, 3)
    assert journal.returning is not None
    assert journal.returning.reason == "a"


def test_failures_are_counted_and_forgotten_when_it_works_or_the_way_turns() -> None:
    failed = ActionFailed(action="x", error="e")
    assert folded((1, failed), (2, failed)).failures["x"][:2] == (2, 2)
    assert folded((1, failed), (2, ActionWorked(action="x"))).failures == {}
    assert folded((1, failed), (2, Returning(reason="bad"))).failures == {}


def test_the_verifiers_counts_add_up() -> None:
    one = Verified(sent=3, failed=1, failed_on_candidate=1, served={"a": 2}, unproven=1)
    journal = folded((1, one), (2, one))
    assert (journal.sent, journal.failed, journal.failed_on_candidate, journal.unproven) == (6, 2, 2, 2)
    assert journal.served == {"a": 4}


def test_pauses_add_up() -> None:
    journal = folded((0, Paused(paused=True)), (5, Paused(paused=True)), (10, Paused(paused=False)))
    assert (journal.paused_at, journal.paused_for) == (None, 10)


def test_time_without_a_driver_is_a_pause() -> None:
    journal = folded((0, Opened()), (10, Driving(who="a", fence=1)), (500, Driving(who="b", fence=2)))
    assert (journal.driving_at, journal.paused_for) == (500, 500)


def test_but_counts_once_where_it_is_paused_anyway() -> None:
    journal = folded((0, Paused(paused=True)), (500, Driving(who="b", fence=2)), (600, Paused(paused=False)))
    assert journal.paused_for == 600


def test_what_lies_in_the_readers_future_counts_as_now() -> None:
    assert folded((5, Opened()), now=100.0, skew=3600.0).opened_at == 100.0


def test_a_slow_clock_makes_things_look_old_and_never_new() -> None:
    assert folded((50, Opened()), now=100.0, skew=-3600.0).opened_at == 50 - 3600


def test_skewed_drivers_taking_turns_do_not_use_up_the_deadline() -> None:
    """Written by a slow clock in between: the jump back and the jump forward cancel out."""
    there = folded((0, Opened()), (10, Driving(who="a", fence=1)))
    slow: list[Event] = [Driving(who="b", fence=2, at=UTC + 20 - 3600), StepDone(index=0, at=UTC + 90 - 3600)]
    back = fold(there, [*slow, Driving(who="a", fence=3, at=UTC + 100)], offset=-UTC, now=100.0)
    used = 100.0 - (back.opened_at or 0.0) - back.paused_for
    assert 0 <= used <= 100


def test_the_end_is_kept() -> None:
    assert folded((1, Finished(result="done", reason="well"))).finished is not None


def test_in_parts_or_at_once_is_the_same() -> None:
    events: list[Event] = [Opened(at=1), Asked(node=1, mode=Mode.ACCEPT, weight=1, at=2), Committed(at=3)]
    whole = fold(EMPTY, events, offset=0, now=10)
    assert fold(fold(EMPTY, events[:1], offset=0, now=10), events[1:], offset=0, now=10) == whole


def test_events_survive_being_written_down() -> None:
    event = Asked(node=1, mode=Mode.BACKUP, weight=7, port=443, address="192.168.1.1:8000", at=2.5)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
