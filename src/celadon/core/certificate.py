"""What one rollout's journal proves, as figures: the certificate that every rollout leaves. Pure; words are elsewhere.

Times are seconds since the rollout was opened. What the journal does not hold is None or absent, never zero.
"""

from collections.abc import Sequence

import msgspec

from celadon.core.bound import CONFIDENCE, upper_bound
from celadon.core.evidence import Latency, Phase, summed
from celadon.core.intent import Rollout
from celadon.core.journal import (
    CommandFinished,
    Driving,
    Event,
    Finished,
    Noted,
    Returning,
    Stopped,
    Verified,
)
from celadon.core.opens import Opens
from celadon.core.release import Colour, Release, ReleaseId, Seconds, SlotKey
from celadon.core.story import Mark, Period, Span, Speed, Story, speed_of

FORMAT = 1
"""Of the certificate. Keys are only ever added to a format."""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two releases."""

    id: ReleaseId
    version: str
    artifact: str
    colour: Colour

    @classmethod
    def of(cls, release: Release, colour: Colour) -> "Named":
        return cls(id=release.id, version=release.version, artifact=release.artifact, colour=colour)


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Through the users' door. `unknown`: lost by our own machine or network; they prove nothing, for or against."""

    sent: int
    ok: int
    failed: int
    unknown: int
    bound: float  # with `confidence` the failure rate is below this
    confidence: float = CONFIDENCE


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    app: str
    rollout: int
    kind: str
    result: str | None  # None: still open
    reason: str
    opened: float  # UTC, seconds since 1970
    seconds: Seconds
    opened_by: str
    drivers: tuple[str, ...]
    stable: Named | None
    candidate: Named
    first: bool  # nothing served before
    balancer: str
    url: str
    rate: float
    settings_hash: str
    celadon: str  # the version that opened it
    settle: Seconds
    requests: Requests
    served: dict[ReleaseId, int]
    unproven: int
    counted: dict[ReleaseId, tuple[int, int]]  # connections that hosts counted, and the error; second-best evidence
    uncounted: int  # looks at a slot that could not count
    switch_lag: Seconds | None
    open_at_retire: dict[SlotKey, int | None]
    cut: dict[SlotKey, int | None]  # connections open when a slot was signalled; None: not countable
    speed: dict[Phase, Speed]
    periods: tuple[Period, ...]
    stages: tuple[Span, ...]
    unwatched: tuple[Span, ...]
    marks: tuple[Mark, ...]
    tests: tuple[str, ...]  # that passed
    moved: bool  # traffic was asked to move

    @property
    def versions(self) -> dict[ReleaseId, str]:
        both = (self.stable, self.candidate)
        return {release.id: release.version for release in both if release is not None}

    @property
    def all_cut(self) -> int:
        return sum(count or 0 for count in self.cut.values())


def certify(rollout: Rollout, events: Sequence[Event]) -> Certificate:
    """`events`: the whole journal, in order."""
    story = Story(rollout, events)
    counted = [event for event in events if isinstance(event, Verified)]
    finished = next((event for event in events if isinstance(event, Finished)), None)
    candidate = Named.of(rollout.candidate, rollout.candidate_colour)
    stable = rollout.stable
    opens = Opens()
    for event in counted:
        opens = opens.add(event.opens)
    return Certificate(
        app=rollout.app,
        rollout=rollout.number,
        kind=rollout.kind,
        result=finished.result if finished is not None else None,
        reason=_reason(events, finished),
        opened=story.began,
        seconds=story.since(events[-1].at) if events else 0.0,
        opened_by=rollout.opened_by,
        drivers=tuple(dict.fromkeys(event.who for event in events if isinstance(event, Driving))),
        stable=Named.of(stable, rollout.candidate_colour.other) if stable is not None else None,
        candidate=candidate,
        first=rollout.stable_colour is None,
        balancer=rollout.balancer,
        url=rollout.verify.url,
        rate=rollout.verify.rate,
        settings_hash=rollout.settings_hash,
        celadon=rollout.celadon,
        settle=rollout.timing.settle,
        requests=_requests(counted),
        served=summed(event.served for event in counted),
        unproven=sum(event.unproven for event in counted),
        counted=opens.figures(),
        uncounted=opens.uncounted,
        switch_lag=switch_lag(events),
        open_at_retire=_open_at_retire(events),
        cut={event.slot: event.cut for event in events if isinstance(event, Stopped)},
        speed=_speeds(story, counted),
        periods=story.periods(),
        stages=story.stages(),
        unwatched=story.unwatched(),
        marks=story.marks(),
        tests=tuple(e.name for e in events if isinstance(e, CommandFinished) and e.kind == "test" and e.ok),
        moved=story.moved is not None,
    )


def switch_lag(events: Sequence[Event]) -> Seconds | None:
    """As a driver measured it; None: it was not measured."""
    for event in reversed(events):
        if isinstance(event, Noted) and isinstance(lag := event.data.get("switch_lag_s"), (int, float)):
            return float(lag)
    return None


def _speeds(story: Story, counted: Sequence[Verified]) -> dict[Phase, Speed]:
    phases: tuple[Phase, ...] = ("before", "during", "after")
    found = {}
    for phase in phases:
        total = Latency()
        for event in counted:
            if story.phase(event.at) == phase:
                total = total.merge(event.latency)
        if (speed := speed_of(total)) is not None:
            found[phase] = speed
    return found


def _reason(events: Sequence[Event], finished: Finished | None) -> str:
    """Who asked, where somebody did: that is why."""
    who = next((event.asked_by for event in events if isinstance(event, Returning) and event.asked_by), "")
    if who:
        return f"{who} asked to go back"
    return finished.reason if finished is not None else ""


def _requests(counted: Sequence[Verified]) -> Requests:
    sent, failed = sum(event.sent for event in counted), sum(event.failed for event in counted)
    unknown = sum(event.unknown for event in counted)
    ok = sent - failed - unknown
    return Requests(sent=sent, ok=ok, failed=failed, unknown=unknown, bound=upper_bound(failed, ok + failed))


def _open_at_retire(events: Sequence[Event]) -> dict[SlotKey, int | None]:
    """The last driver's count, should two have come so far."""
    for event in reversed(events):
        if isinstance(event, Noted) and isinstance(found := event.data.get("open_at_retire"), dict):
            return {str(key): count if isinstance(count, int) else None for key, count in found.items()}
    return {}
