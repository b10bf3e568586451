"""What the requests through the users' door add up to: counts, who served, how long it took, how sure that makes us.

Values only. The prober is `adapters/verifier.py`; the bound's arithmetic is in `bound.py`.
"""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from celadon.core.bound import upper_bound
from celadon.core.foreign import Count
from celadon.core.release import Instant, ReleaseId, Seconds

Key = TypeVar("Key", int, str)
Amount = TypeVar("Amount", int, float)
Outcome = Literal["ok", "failed", "unknown"]
"""`unknown`: lost by our own machine or network. It is never a pass, and never the release's failure."""

Phase: TypeAlias = Literal["before", "during", "after"]
"""Of the shift: before the first change of traffic, while it goes on, after all traffic is where it should be."""

KEPT = 20  # failures told one by one
SLOWEST = 30.0  # seconds after which no answer is waited for: above every deadline of a prober
SMALLEST = 1e-4  # seconds; whatever is faster is as good
STEP = 2.0**0.125  # each bucket is 9 % wider than the one before: 8 to a doubling, 133 from 0.1 ms to 10 s


class Result(msgspec.Struct, frozen=True):
    """One request and what came of it."""

    sent_at: Instant  # when the clock said to send it; waiting for ourselves is not hidden
    seconds: Seconds
    outcome: Outcome
    status: int | None = None
    who: ReleaseId | None = None
    reason: str = ""  # one safe line; empty when ok


class Latency(msgspec.Struct, frozen=True):
    """How long good answers took, in logarithmic buckets: bounded in size, and two of them can be added."""

    buckets: dict[Annotated[int, msgspec.Meta(ge=0, le=400)], Count] = {}  # 400 is some thousand years
    worst: Seconds = 0.0

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    def add(self, seconds: Iterable[Seconds]) -> "Latency":
        buckets, worst = dict(self.buckets), self.worst
        for each in seconds:
            bucket = _bucket(each)
            buckets[bucket] = buckets.get(bucket, 0) + 1
            worst = max(worst, each)
        return Latency(buckets, worst)

    def merge(self, other: "Latency") -> "Latency":
        return Latency(summed((self.buckets, other.buckets)), max(self.worst, other.worst))

    def quantile(self, share: float) -> Seconds | None:
        """No more than this took `share` of the answers (9 % coarse, never above the worst); None without answers."""
        rank, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(SMALLEST * STEP**bucket, self.worst)
        return None


class Gaps(msgspec.Struct, frozen=True):
    """The longest time between two good answers that follow each other, by when they were asked for.

    Answers come in another order than requests go out: the newest instants are kept until nothing can come between.
    """

    recent: tuple[Instant, ...] = ()
    closed: Seconds = 0.0

    @property
    def longest(self) -> Seconds:
        return max(self.closed, _widest(self.recent))

    def add(self, instants: Iterable[Instant], final: Instant) -> "Gaps":
        """Nothing asked for before `final` will be answered after this."""
        recent = sorted((*self.recent, *instants))
        known = max(0, bisect.bisect_left(recent, final) - 1)  # the last of the final ones still bounds a gap
        return Gaps(tuple(recent[known:]), max(self.closed, _widest(recent[: known + 1])))


class Evidence(msgspec.Struct, frozen=True):
    """Everything that one prober saw."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    served: dict[ReleaseId, int] = {}  # good answers, by the release that gave them for certain
    failed_by: dict[ReleaseId, int] = {}
    unproven: int = 0  # good answers by nobody knows whom
    latency: dict[Phase, Latency] = {}
    gaps: Gaps = Gaps()
    failures: tuple[Result, ...] = ()  # the first `KEPT`

    @property
    def longest_gap(self) -> Seconds:
        return self.gaps.longest

    @property
    def failure_bound(self) -> float:
        """With 95 % confidence the failure rate is below this. Requests that we lost ourselves are no evidence."""
        return upper_bound(self.failed, self.ok + self.failed)

    def add(self, results: Iterable[Result], phase: Phase) -> "Evidence":
        """`results` in the order in which they ended."""
        batch = tuple(results)
        good = [result for result in batch if result.outcome == "ok"]
        bad = [result for result in batch if result.outcome == "failed"]
        newest = max((result.sent_at for result in batch), default=-math.inf)
        speed = self.latency.get(phase, Latency()).add(result.seconds for result in good)
        return Evidence(
            sent=self.sent + len(batch),
            ok=self.ok + len(good),
            failed=self.failed + len(bad),
            unknown=self.unknown + len(batch) - len(good) - len(bad),
            served=_counted(self.served, good),
            failed_by=_counted(self.failed_by, bad),
            unproven=self.unproven + sum(result.who is None for result in good),
            latency=self.latency | {phase: speed},
            gaps=self.gaps.add((result.sent_at for result in good), newest - SLOWEST),
            failures=(self.failures + tuple(bad))[:KEPT],
        )


class Run(msgspec.Struct, frozen=True):
    """Good answers in a row up to now, none of them another release's."""

    passes: int = 0
    since: Instant | None = None  # when the first of them was sent

    def after(self, result: Result, candidate: ReleaseId) -> "Run":
        if result.outcome == "unknown":
            return self
        if result.outcome == "failed" or result.who not in (candidate, None):
            return Run()
        since = result.sent_at if self.since is None else min(self.since, result.sent_at)
        return Run(self.passes + 1, since)


class Tally(msgspec.Struct, frozen=True):
    """What the verifier saw since it was last asked, and the good run at its end."""

    sent: int = 0
    failed: int = 0
    failed_on_candidate: int = 0
    unknown: int = 0
    served: dict[ReleaseId, int] = {}
    unproven: int = 0
    passes: int = 0
    since: Instant | None = None
    latency: Latency = Latency()  # of the good answers
    last: dict[ReleaseId, Instant] = {}  # when the newest request was sent that this release answered

    def add(self, new: "Tally") -> "Tally":
        """Both together. The run at the end is the newer one's."""
        return Tally(
            sent=self.sent + new.sent,
            failed=self.failed + new.failed,
            failed_on_candidate=self.failed_on_candidate + new.failed_on_candidate,
            unknown=self.unknown + new.unknown,
            served=summed((self.served, new.served)),
            unproven=self.unproven + new.unproven,
            passes=new.passes,
            since=new.since,
            latency=self.latency.merge(new.latency),
            last=self.last | new.last,
        )


def summed(counts: Iterable[dict[Key, Amount]]) -> dict[Key, Amount]:
    """By key, all together."""
    sums: dict[Key, Amount] = {}
    for each in counts:
        for key, count in each.items():
            sums[key] = sums[key] + count if key in sums else count
    return sums


def tally(results: Iterable[Result], candidate: ReleaseId, run: Run) -> tuple[Tally, Run]:
    """The counts of `results`, in the order in which they ended, and the run that `run` has become."""
    batch = tuple(results)
    for result in batch:
        run = run.after(result, candidate)
    seen = Evidence().add(batch, "during")
    return (
        Tally(
            sent=seen.sent,
            failed=seen.failed,
            failed_on_candidate=seen.failed_by.get(candidate, 0),
            unknown=seen.unknown,
            served=seen.served,
            unproven=seen.unproven,
            passes=run.passes,
            since=run.since,
            latency=seen.latency["during"],
            last=_newest(batch),
        ),
        run,
    )


def _widest(instants: Sequence[Instant]) -> Seconds:
    return max((later - earlier for earlier, later in itertools.pairwise(instants)), default=0.0)


def _counted(before: dict[ReleaseId, int], results: Iterable[Result]) -> dict[ReleaseId, int]:
    counts = dict(before)
    for result in results:
        if result.who is not None:
            counts[result.who] = counts.get(result.who, 0) + 1
    return counts


def _newest(results: Iterable[Result]) -> dict[ReleaseId, Instant]:
    last: dict[ReleaseId, Instant] = {}
    for result in results:
        if result.who is not None and result.outcome == "ok":
            last[result.who] = max(result.sent_at, last.get(result.who, result.sent_at))
    return last


def _bucket(seconds: Seconds) -> int:
    return 0 if seconds <= SMALLEST else math.ceil(math.log(seconds / SMALLEST, STEP) - 1e-9)
