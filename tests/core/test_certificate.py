"""What a journal proves, and what it does not: figures and doubts, from journals at real paces."""

import msgspec
import pytest
from tests.cli.journals import Diary, bad, good, rollout

from celadon.core.bound import upper_bound
from celadon.core.certificate import Certificate, certify
from celadon.core.doubts import doubts
from celadon.core.evidence import Latency
from celadon.core.intent import Rollout, Timing
from celadon.core.journal import Driving, Event, Returning, Verified


def of_good() -> Certificate:
    return certify(*good())


def of_bad() -> Certificate:
    return certify(*bad())


def test_requests_and_who_served_add_up() -> None:
    it = of_good()
    sent = sum(event.sent for event in good()[1] if isinstance(event, Verified))
    assert (it.requests.sent, it.requests.ok, it.requests.failed) == (sent, sent, 0)
    assert sum(it.served.values()) + it.unproven == sent
    assert it.requests.bound == upper_bound(0, sent)
    assert sum(period.sent for period in it.periods) == sent


def test_what_we_lost_ourselves_makes_nobody_surer() -> None:
    diary = Diary(rollout())
    diary.write(1.0, Verified(sent=100, failed=1, failed_on_candidate=0, unknown=40, unproven=59))
    it = certify(diary.rollout, diary.events)
    assert (it.requests.ok, it.requests.bound) == (59, upper_bound(1, 60))
    assert any(doubt.startswith("40 of 100 requests were lost") for doubt in doubts(it))


def test_who_it_was_and_by_what_it_was_made() -> None:
    it = of_good()
    assert it.stable is not None
    assert (it.stable.version, it.stable.colour, it.candidate.version, it.candidate.colour) == (
        *("v1.0.0", "blue"),
        *("v1.1.0", "green"),
    )
    assert it.candidate.artifact.startswith("ghcr.io/acme/hello@sha256:")
    assert (it.settings_hash, it.celadon, it.drivers) == ("4be19c02d7aa31e0", "0.1.0", ("ada@laptop",))
    assert (it.result, it.switch_lag, it.tests) == ("done", 4.2, ("smoke",))
    assert (it.open_at_retire, it.all_cut) == ({"blue-app-01:5000": 0, "blue-app-02:5000": 0}, 0)


def test_each_count_belongs_to_the_phase_it_tells_of() -> None:
    it = of_good()
    moved, committed = 21.2, 101.0
    for period in it.periods:
        expected = "before" if period.end <= moved else "during" if period.end <= committed else "after"
        assert period.phase == expected, period
    assert set(it.speed) == {"before", "during", "after"}
    assert sum(speed.answers for speed in it.speed.values()) == it.requests.ok


def test_going_back_is_during_until_it_has_settled() -> None:
    it = of_bad()
    phases = {period.end: period.phase for period in it.periods}
    assert {phase for end, phase in phases.items() if 126 < end <= 198.2} == {"during"}
    assert {phase for end, phase in phases.items() if end > 198.2} == {"after"}
    assert it.speed["during"].p99 > it.speed["before"].p99


def test_nobody_counted_between_two_drivers() -> None:
    it = of_bad()
    assert [(span.start, span.end) for span in it.unwatched] == [(70.0, 120.0)]
    assert not [period for period in it.periods if period.start < 120.0 < period.end]
    assert any("from 1:10 to 2:00: no driver ran" in doubt for doubt in doubts(it))


def test_stages_follow_each_other_without_a_gap() -> None:
    for it in (of_good(), of_bad()):
        assert it.stages[0].start == 0.0
        assert all(a.end == b.start for a, b in zip(it.stages, it.stages[1:], strict=False))
        assert it.stages[-1].end == it.seconds
    assert [span.name for span in of_good().stages] == ["prepare", "test", "shift", "bake", "retire"]
    assert [span.name for span in of_bad().stages] == ["prepare", "test", "shift", "back"]


def test_marks_tell_the_story_in_order_and_bad_news_as_such() -> None:
    marks = of_bad().marks
    assert [mark.at for mark in marks] == sorted(mark.at for mark in marks)
    assert [mark.text for mark in marks if mark.bad] == [
        "going back: users' requests failed on the candidate (5 of 25)"
    ]
    assert "ci@runner-7 went on driving" in [mark.text for mark in marks]


def test_a_day_of_waiting_is_drawn_with_a_bounded_number_of_periods() -> None:
    diary = Diary(rollout())
    diary.write(0.0, Driving(who="ada", fence=1))
    diary.count(86_400.0, 0.0)
    assert len(certify(diary.rollout, diary.events).periods) < 400


def changed(of: Rollout, **changes: object) -> Rollout:
    return msgspec.structs.replace(of, **changes)


def without(events: list[Event], *kinds: type) -> list[Event]:
    return [event for event in events if not isinstance(event, kinds)]


def _old_journal(of: Rollout, events: list[Event]) -> tuple[Rollout, list[Event]]:
    plain = [msgspec.structs.replace(e, latency=Latency()) if isinstance(e, Verified) else e for e in events]
    return of, plain


@pytest.mark.parametrize(
    ("case", "doubt"),
    [
        (lambda of, events: (of, without(events, Verified)), "No request was sent"),
        (_old_journal, "How long answers took"),
        (lambda of, events: (changed(of, stable=None, stable_colour=None), events), "Anything before the first good"),
        (lambda of, events: (changed(of, timing=Timing(settle=2.0)), events), "That Linode's documented 60 s"),
        (lambda of, events: (of, events[:40]), "How it ends"),
        (lambda of, events: (of, events[:12]), "That the release does what it should"),
    ],
)
def test_what_is_not_shown_is_said(case: object, doubt: str) -> None:
    assert callable(case)
    whole, part = doubts(of_good()), doubts(certify(*case(*good())))
    assert not [line for line in whole if line.startswith(doubt)]
    assert [line for line in part if line.startswith(doubt)]


def test_a_lag_that_was_not_measured_and_cuts_that_could_not_be_counted() -> None:
    told = doubts(of_bad())
    assert [line for line in told if line.startswith("How long the balancer went on using the old release")]
    assert [line for line in told if "green-app-02:5000: they could not be counted" in line]
    assert any(line.startswith("Who gave") for line in told)


def test_who_asked_to_go_back_is_the_reason() -> None:
    of, events = bad()
    asked = [
        msgspec.structs.replace(event, asked_by="bob@desk") if isinstance(event, Returning) else event
        for event in events
    ]
    assert certify(of, asked).reason == "bob@desk asked to go back"
    assert of_bad().reason == "users' requests failed on the candidate (5 of 25)"


def test_an_empty_journal_proves_nothing() -> None:
    it = certify(rollout(), [])
    assert (it.requests.bound, it.served, it.speed, it.switch_lag, it.result) == (1.0, {}, {}, None, None)
