"""What the verifier saw, on its way into the journal: kept until it is written, written before each border of a phase.

The journal stays small however long a rollout waits: entries get rarer the longer nothing but counting happens, so
their number grows with the logarithm of the time. A failure is written within the shortest pause.
"""

from typing import Final

import msgspec

from celadon.core.action import Action, Record, SetNode
from celadon.core.evidence import Tally
from celadon.core.intent import Rollout
from celadon.core.journal import Committed, Event, Journal, Noted, Retiring, Returning, Verified
from celadon.core.observed import HostSight, PublicSight
from celadon.core.opens import Opens
from celadon.core.release import Instant, Seconds
from celadon.ports import Verifier

REPORT_EVERY = 5.0  # seconds: the shortest pause between two entries
RARER = 24  # the pause is this part of the time since something else happened: 24 entries for each e-fold of it
NO_LAG = "no request met stable after the API took it out"
MOST_NAMED = 8  # slots named one by one in a note


class Account:
    """One driver's counts of one rollout. Times are the driver's own."""

    def __init__(self, verifier: Verifier, rollout: Rollout, now: Instant) -> None:
        self._verifier: Final = verifier
        self._stable: Final = rollout.stable.id if rollout.stable is not None else None
        self.opens = Opens()  # connections that hosts counted, not written down yet
        self._pending = Tally()
        self._run = Tally()  # the verifier's newest
        self._passes_before = 0  # of that run: from before the last change of traffic, so they prove nothing of it
        self._reported_at = now
        self._happened_at = now
        self._lowered_at: Instant | None = None  # the API's last answer to "no more of stable"
        self._stable_asked_at: Instant | None = None  # the newest request that stable answered

    def take(self) -> None:
        """Add what the verifier saw since the last time."""
        new = self._verifier.take()
        if self._stable is not None and self._stable in new.last:
            self._stable_asked_at = new.last[self._stable]
        if new.since != self._run.since or new.passes < self._run.passes:
            self._passes_before = 0
        self._run = new
        both = self._pending.add(new)
        self._pending = msgspec.structs.replace(both, passes=new.passes - self._passes_before)

    def public(self, journal: Journal) -> PublicSight:
        """All drivers' counts, and this one's that are not written yet."""
        pending = self._pending
        return PublicSight(
            sent=journal.sent + pending.sent,
            failed=journal.failed + pending.failed,
            failed_on_candidate=journal.failed_on_candidate + pending.failed_on_candidate,
            passes=pending.passes,
            since=pending.since,
        )

    # -- into the journal ----------------------------------------------------------------------

    def due(self, now: Instant) -> bool:
        pause: Seconds = REPORT_EVERY
        if not self._pending.failed:
            pause = max(pause, (self._reported_at - self._happened_at) / RARER)
        return now >= self._reported_at + pause

    def entry(self, now: Instant) -> tuple[Event, ...]:
        """What is pending as an event, which counts as written from here; empty when nothing was sent."""
        pending, self._reported_at = self._pending, now
        if not pending.sent:
            return ()
        self._pending = Tally(passes=pending.passes, since=pending.since)
        opens, self.opens = self.opens, Opens()
        return (
            Verified(
                sent=pending.sent,
                failed=pending.failed,
                failed_on_candidate=pending.failed_on_candidate,
                unknown=pending.unknown,
                served=pending.served,
                unproven=pending.unproven,
                latency=pending.latency,
                opens=opens,
            ),
        )

    def before(self, actions: tuple[Action, ...], hosts: dict[str, HostSight], now: Instant) -> tuple[Event, ...]:
        """What must be in the journal before these: counts of the phase that ends, and what is measured there."""
        self._happened_at = now
        events: tuple[Event, ...] = ()
        for action in actions:
            match action:
                case SetNode() | Record(event=Returning()):
                    events += self.entry(now)
                case Record(event=Committed()):
                    events += (*self.entry(now), *self._lag())
                case Record(event=Retiring()):
                    events += (*self.entry(now), *open_connections(hosts, self._stable))
        return events

    # -- the switch ----------------------------------------------------------------------------

    def traffic_was_asked(self) -> None:
        """What passed until now proves nothing of what is asked for now."""
        self._passes_before = self._run.passes
        self._pending = msgspec.structs.replace(self._pending, passes=0)

    def stable_was_lowered(self, now: Instant) -> None:
        self._lowered_at = now

    def _lag(self) -> tuple[Event, ...]:
        """How long after the API's answer users still met stable: what settle is for, measured."""
        lowered, asked = self._lowered_at, self._stable_asked_at
        if lowered is None or asked is None:
            return ()
        lag = round(max(0.0, asked - lowered), 2)
        text = f"stable met its last request {lag} s after the API took it out" if lag else NO_LAG
        return (Noted(text=text, data={"switch_lag_s": lag}),)


def open_connections(hosts: dict[str, HostSight], release: str | None) -> tuple[Event, ...]:
    """How many connections are open on stable now that it is about to be signalled; None: not countable."""
    counts = {
        key: sight.facts.open
        for host in hosts.values()
        for key, sight in host.slots.items()
        if release is not None and sight.facts.replica is not None and sight.facts.replica.release == release
    }
    if not counts:
        return ()
    shown = [f"{key} {'unknown' if count is None else count}" for key, count in sorted(counts.items())]
    more = f" and {len(shown) - MOST_NAMED} more slots" if len(shown) > MOST_NAMED else ""
    text = f"connections open on stable: {', '.join(shown[:MOST_NAMED])}{more}"
    return (Noted(text=text, data={"open_at_retire": counts}),)
