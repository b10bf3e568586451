"""A rollout's journal as a story: its phases, stages and moments, and what was counted between them. Pure."""

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from celadon.core.evidence import Latency, Phase, Tally
from celadon.core.intent import Rollout
from celadon.core.journal import (
    ActionFailed,
    Asked,
    CommandFinished,
    CommandStarted,
    Committed,
    Driving,
    Event,
    Finished,
    Paused,
    Retiring,
    Returning,
    Started,
    Verified,
    Warmed,
)
from celadon.core.observed import Mode
from celadon.core.release import ReleaseId, Seconds

SHORTEST = 2.5  # seconds of a period: half of what a driver waits between two entries
MOST_PERIODS = 160  # about, of the longest rollout: more are not told apart in a picture
SILENT = 15.0  # seconds without an entry before a new driver: shorter is a driver that was asked to stop, and went on


class Speed(msgspec.Struct, frozen=True):
    """How long good answers took; 9 % coarse."""

    answers: int
    p50: Seconds
    p99: Seconds


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted from `start` to `end`."""

    start: Seconds
    end: Seconds
    phase: Phase
    sent: int
    failed: int
    unknown: int
    served: dict[ReleaseId, int]
    unproven: int
    speed: Speed | None


class Span(msgspec.Struct, frozen=True):
    """A stage of the rollout, or a time in which nobody counted."""

    name: str
    start: Seconds
    end: Seconds


class Mark(msgspec.Struct, frozen=True):
    """One of the few moments that tell the story."""

    at: Seconds
    text: str
    bad: bool = False


class _Kept(msgspec.Struct, frozen=True):
    """A period that may still grow."""

    start: Seconds
    count: Tally

    def period(self, end: Seconds, phase: Phase) -> Period:
        count = self.count
        return Period(
            start=self.start,
            end=end,
            phase=phase,
            sent=count.sent,
            failed=count.failed,
            unknown=count.unknown,
            served=count.served,
            unproven=count.unproven,
            speed=speed_of(count.latency),
        )


class Story:
    """The journal by its moments, all in UTC."""

    def __init__(self, rollout: Rollout, events: Sequence[Event]) -> None:
        self.rollout = rollout
        self.events = events
        self.began = events[0].at if events else rollout.opened_utc
        self.ended = events[-1].at if events else self.began
        asked = [event for event in events if isinstance(event, Asked)]
        self.moved = asked[0].at if asked else None
        self.committed = self._when(Committed)
        self.returning = self._when(Returning)
        self.retiring = self._when(Retiring)
        back = [event.at for event in asked if self.returning is not None and event.at >= self.returning]
        self._back_by = min(max(back) + rollout.timing.settle, self.ended) if back else None
        self._asked = asked

    def since(self, utc: float) -> Seconds:
        return round(max(0.0, utc - self.began), 2)

    def _when(self, kind: type[Event]) -> float | None:
        return next((event.at for event in self.events if isinstance(event, kind)), None)

    def phase(self, utc: float) -> Phase:
        """Of a count that was written then: it tells of the time before."""
        if self.moved is None or utc <= self.moved:
            return "before"
        if self.returning is not None and utc > self.returning:
            return "during" if self._back_by is None or utc <= self._back_by else "after"
        return "during" if self.committed is None or utc <= self.committed else "after"

    def periods(self) -> tuple[Period, ...]:
        """Neighbours of one phase become one, until it is long enough to tell of: a second's worth tells nothing."""
        shortest = max(SHORTEST, (self.ended - self.began) / MOST_PERIODS)
        found: list[Period] = []
        kept = _Kept(0.0, Tally())
        start = self.began
        for event in self.events:
            if isinstance(event, Driving):
                start = event.at  # between two drivers nobody counted
            if not isinstance(event, Verified):
                continue
            last = found[-1] if found else None
            joins = last is not None and last.end == self.since(start) and last.phase == self.phase(event.at)
            if joins and last is not None and (event.at - start < shortest or last.end - last.start < shortest):
                found.pop()
                kept = _Kept(last.start, kept.count.add(tally_of(event)))
            else:
                kept = _Kept(self.since(start), tally_of(event))
            found.append(kept.period(self.since(event.at), self.phase(event.at)))
            start = event.at
        return tuple(found)

    def stages(self) -> tuple[Span, ...]:
        """One after the other, from the opening to the end."""
        tests = [e.at for e in self.events if isinstance(e, CommandStarted) and e.kind == "test"]
        borders = [
            ("prepare", self.began),
            ("test", tests[0] if tests else None),
            ("shift", self.moved),
            ("bake", self.committed),
            ("retire", self.retiring),
            ("back", self.returning),
        ]
        known = sorted(((at, name) for name, at in borders if at is not None), key=lambda border: border[0])
        ends = [at for at, _ in known[1:]] + [self.ended]
        spans = zip(known, ends, strict=True)
        return tuple(Span(name, self.since(at), self.since(end)) for (at, name), end in spans if end > at)

    def unwatched(self) -> tuple[Span, ...]:
        """No driver was there: nothing was counted, and nothing would have brought a bad release back."""
        return tuple(
            Span("no driver", self.since(before.at), self.since(event.at))
            for before, event in itertools.pairwise(self.events)
            if isinstance(event, Driving) and event.at - before.at > min(SILENT, self.rollout.timing.lease)
        )

    def marks(self) -> tuple[Mark, ...]:
        marks = [Mark(self.since(at), text, bad) for at, text, bad in self._moments()]
        return tuple(sorted(marks, key=lambda mark: mark.at))

    def _moments(self) -> Iterable[tuple[float, str, bool]]:  # noqa: C901, PLR0912 - one case an event
        candidate, colour = self.rollout.candidate.version, self.rollout.candidate_colour
        if (at := self._last(Started)) is not None:
            yield at, f"{candidate} started on {colour}", False
        if (at := self._last(Warmed)) is not None:
            yield at, f"{candidate} answers, warmed up", False
        if self.moved is not None:
            yield self.moved, f"first traffic to {candidate}", False
        out = [e.at for e in self._asked if e.mode is Mode.REJECT and self._before_the_end_of_the_shift(e.at)]
        if out and self.rollout.stable_colour is not None:
            yield out[-1], f"{self.rollout.stable_colour} asked to take no more", False
        for event in self.events:
            match event:
                case Committed():
                    yield event.at, f"committed: all traffic on {candidate}", False
                case Returning():
                    yield event.at, f"going back: {event.reason}", not event.asked_by
                case Retiring():
                    yield event.at, "old release quiet, retired", False
                case Paused(paused=paused):
                    yield event.at, "paused" if paused else "unpaused", False
                case ActionFailed(final=True):
                    yield event.at, f"failed: {event.action}", True
                case CommandFinished(ok=ok):
                    yield event.at, f"{event.kind} {event.name} {'passed' if ok else 'failed'}", not ok
                case Finished():
                    yield event.at, event.result.replace("_", " "), event.result == "failed"
        for event in [event for event in self.events if isinstance(event, Driving)][1:]:
            yield event.at, f"{event.who} went on driving", False

    def _before_the_end_of_the_shift(self, utc: float) -> bool:
        borders = [at for at in (self.committed, self.returning) if at is not None]
        return utc <= min(borders, default=self.ended)

    def _last(self, kind: type[Event]) -> float | None:
        return next((event.at for event in reversed(self.events) if isinstance(event, kind)), None)


def speed_of(latency: Latency) -> Speed | None:
    """None: there was no good answer, or an older Celadon did not write it down."""
    p50, p99 = latency.quantile(0.5), latency.quantile(0.99)
    return Speed(latency.count, round(p50, 4), round(p99, 4)) if p50 is not None and p99 is not None else None


def tally_of(event: Verified) -> Tally:
    """What one entry of the journal counted."""
    return Tally(
        sent=event.sent,
        failed=event.failed,
        failed_on_candidate=event.failed_on_candidate,
        unknown=event.unknown,
        served=event.served,
        unproven=event.unproven,
        latency=event.latency,
    )
