"""The journal as one driver writes it: numbered, durable before it counts, folded as it grows."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from celadon.core import foreign
from celadon.core.errors import LeaseLost, Refused, Unavailable
from celadon.core.journal import EMPTY, Event, Journal, fold
from celadon.ports import Clock, Store

PATIENCE = 20.0  # seconds of an unreachable home before a write is given up; the lease would lapse anyway
_encoder = msgspec.json.Encoder()


def kept(raw: bytes | msgspec.Raw | None, kind: Any, what: str) -> Any:
    """What the home keeps, decoded; None for nothing. Raises Refused for what this Celadon cannot read.

    `what`: its name for people. The home is another machine: whatever may be wrong there is told in one way.
    """
    try:
        return None if raw is None else foreign.read(raw, kind)
    except foreign.Senseless as error:
        raise senseless(what) from error


def decode_events(raw: Sequence[bytes]) -> list[Event]:
    return [kept(line, Event, "journal") for line in raw]


def senseless(what: str) -> Refused:
    """For what the home keeps and this Celadon cannot read."""
    hint = "is this celadon as new as the one that wrote it? Else look at the home: somebody else writes there"
    return Refused(f"the {what} that the home keeps makes no sense", hint=hint, where="hosts.home")


class Log:
    """One rollout's journal. Every write carries the fence, and the number of its first event."""

    def __init__(self, store: Store, clock: Clock, rollout: int, fence: int) -> None:
        self._store = store
        self._clock = clock
        self._rollout = rollout
        self._fence = fence
        # This driver's UTC is read once: a clock that is set in the middle must not move what was written.
        self._offset = clock.now() - clock.utc()
        self.journal: Journal = EMPTY
        self.events: list[Event] = []
        self._one_at_a_time = asyncio.Lock()  # actions end side by side; numbers are given one by one

    async def load(self) -> None:
        """Read what earlier drivers wrote."""
        raw = await self._store.read_journal(self._rollout, self.journal.length)
        self._remember(decode_events(raw))

    async def write(self, *events: Event, because: str = "") -> None:
        """Durable when it returns. Tries again until its patience ends: the same numbers are the same events.

        `because`: of the decision that these come from, where an event has no reason yet.
        """
        async with self._one_at_a_time:
            utc = self._clock.now() - self._offset
            stamped = [msgspec.structs.replace(event, at=utc, because=event.because or because) for event in events]
            await self._append(self.journal.length, [_encoder.encode(event) for event in stamped])
            self._remember(stamped)

    async def _append(self, start: int, raw: list[bytes]) -> None:
        give_up = self._clock.now() + PATIENCE
        while True:
            try:
                return await self._store.append(self._rollout, start, raw, self._fence)
            except LeaseLost:
                raise
            except Unavailable:
                if self._clock.now() >= give_up:
                    raise
                await self._clock.sleep(0.5)

    def _remember(self, events: list[Event]) -> None:
        self.events.extend(events)
        self.journal = fold(self.journal, events, offset=self._offset, now=self._clock.now())
