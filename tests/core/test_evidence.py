"""The sums of the evidence, the run of good answers, and the bound, with scipy as its judge."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from celadon.core.bound import upper_bound
from celadon.core.evidence import SLOWEST, STEP, Evidence, Gaps, Latency, Result, Run, tally


def ok(at: float, seconds: float = 0.01, who: str | None = None) -> Result:
    return Result(at, seconds, "ok", 200, who)


def failed(at: float, who: str | None = None) -> Result:
    return Result(at, 0.01, "failed", 503, who, "status 503")


def lost(at: float) -> Result:
    return Result(at, 0.01, "unknown", None, None, "network down")


@settings(deadline=None)  # a busy machine is no error of the bound
@given(st.integers(1, 2_000_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_bound_is_clopper_and_pearsons(case: tuple[int, int]) -> None:
    requests, failures = case
    expected = 1.0 if failures == requests else stats.beta.ppf(0.95, failures + 1, requests - failures)
    assert upper_bound(failures, requests) == pytest.approx(expected, rel=1e-7)


def test_the_contracts_own_figures() -> None:
    assert f"{upper_bound(0, 4600):.2%}" == "0.07%"
    assert f"{upper_bound(0, 2310):.2%}" == "0.13%"
    assert upper_bound(0, 10_000_000) == pytest.approx(-math.log(0.05) / 1e7, rel=1e-6)


def test_no_data_is_no_evidence() -> None:
    assert upper_bound(0, 0) == 1.0
    assert Evidence().add([lost(1.0)], "during").failure_bound == 1.0
    for failures, requests in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="failed"):
            upper_bound(failures, requests)


def test_what_is_counted_and_to_whom() -> None:
    seen = Evidence().add([ok(1, who="a"), ok(2), failed(3, "b"), failed(4), lost(5), ok(6, who="b")], "during")
    assert (seen.sent, seen.ok, seen.failed, seen.unknown, seen.unproven) == (6, 3, 2, 1, 1)
    assert (seen.served, seen.failed_by) == ({"a": 1, "b": 1}, {"b": 1})
    assert seen.failure_bound == upper_bound(2, 5)
    assert [each.sent_at for each in seen.failures] == [3, 4]


def test_adding_in_parts_is_adding_at_once() -> None:
    dice = random.Random(7)
    results = [dice.choice((ok, failed))(float(at)) for at in range(300)] + [ok(400.0), lost(401.0), ok(402.0)]
    parts = Evidence()
    for start in range(0, len(results), 17):
        parts = parts.add(results[start : start + 17], "during")
    assert parts == Evidence().add(results, "during")
    assert parts.longest_gap >= 100


@given(st.lists(st.floats(0, 200), max_size=60), st.integers(1, 7), st.integers(0, 20))
def test_a_late_answer_closes_the_gap_it_belongs_to(asked: list[float], size: int, shuffled: int) -> None:
    """Answers up to `SLOWEST` late, in any batches, make the same gap as answers in order."""
    dice = random.Random(shuffled)
    ended = sorted((at + dice.uniform(0, SLOWEST), at) for at in asked)
    order = [ok(at) for _, at in ended]
    evidence = Evidence()
    for start in range(0, len(order), size):
        evidence = evidence.add(order[start : start + size], "during")
    exact = sorted(asked)
    assert evidence.longest_gap == max((b - a for a, b in itertools.pairwise(exact)), default=0.0)


def test_what_is_remembered_for_gaps_is_bounded() -> None:
    gaps = Gaps()
    for at in range(10_000):
        gaps = gaps.add([float(at)], at - SLOWEST)
    assert len(gaps.recent) < 2 * SLOWEST
    assert gaps.longest == 1.0


def test_a_gap_is_the_time_without_a_good_answer() -> None:
    assert Evidence().add([ok(1.0), failed(2.0), lost(3.0), ok(4.5), ok(5.0)], "during").longest_gap == 3.5
    assert Evidence().add([ok(1.0)], "before").add([ok(9.0)], "after").longest_gap == 8.0
    assert Evidence().add([failed(1.0), failed(9.0)], "during").longest_gap == 0.0


def test_latencies_keep_the_phases_apart() -> None:
    seen = Evidence().add([ok(1, 0.010)] * 99 + [ok(2, 4.0)], "before").add([ok(3, 0.5)], "after")
    assert set(seen.latency) == {"before", "after"}
    before = seen.latency["before"]
    assert before.quantile(0.5) == pytest.approx(0.010, rel=STEP - 1)
    assert before.quantile(0.99) == pytest.approx(0.010, rel=STEP - 1)
    assert before.quantile(1.0) == before.worst == 4.0
    assert Latency().quantile(0.5) is None


@given(st.lists(st.floats(0, 100), min_size=1), st.lists(st.floats(0, 100)), st.floats(0.01, 1))
def test_a_quantile_is_at_most_a_bucket_too_high(one: list[float], two: list[float], share: float) -> None:
    latency = Latency().add(one).merge(Latency().add(two))
    assert latency == Latency().add(two + one)
    exact = sorted(one + two)[max(1, math.ceil(share * len(one + two))) - 1]
    quantile = latency.quantile(share)
    assert quantile is not None
    assert exact <= quantile * (1 + 1e-6)
    assert quantile <= max(exact * STEP, 1e-4) * (1 + 1e-6)


def test_a_run_counts_what_the_candidate_may_have_answered() -> None:
    results = [ok(1, who="new"), ok(2), lost(3), ok(4, who="new")]
    counts, run = tally(results, "new", Run())
    assert (counts.passes, counts.since, counts.sent, counts.unknown) == (3, 1, 4, 1)
    assert tally([ok(5, who="new")], "new", run)[0].passes == 4


@pytest.mark.parametrize("breaker", [failed(5), failed(5, "old"), ok(5, who="old")])
def test_a_failure_or_another_release_ends_a_run(breaker: Result) -> None:
    counts, _ = tally([ok(1, who="new"), ok(4), breaker], "new", Run(3, 0.0))
    assert (counts.passes, counts.since) == (0, None)
    assert tally([breaker, ok(7, who="new")], "new", Run(3, 0.0))[1] == Run(1, 7)


def test_a_run_began_when_its_earliest_request_was_sent() -> None:
    assert tally([ok(9, who="new"), ok(4, seconds=6, who="new")], "new", Run())[0].since == 4


def test_failures_go_to_the_candidate_only_for_certain() -> None:
    counts, _ = tally([failed(1, "new"), failed(2, "old"), failed(3)], "new", Run())
    assert (counts.failed, counts.failed_on_candidate) == (3, 1)
