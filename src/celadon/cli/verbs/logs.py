"""`celadon logs`: the replicas' lines, several hosts side by side."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from celadon.adapters.host import LogLine, LogQuestion
from celadon.cli.app import Connected, Need
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.cli.situation import Situation, colour_of, live_or, see
from celadon.core.errors import CeladonError, Refused
from celadon.core.release import Colour, ReleaseId, Slot

LINES = 100


async def run(call: Call) -> Result:
    call.follows = call.values["follow"]
    colour = colour_of(call.values["colour"])
    async with call.connected(Need(balancer=colour is None)) as connected:
        situation = await see(connected)
        wanted = _wanted(call, connected, situation, live_or(colour, situation))
        shown = _Shown(call, connected.world.clock.utc(), wide=len(wanted) > 1)
        jobs = [asyncio.create_task(shown.read(connected, slot, release)) for slot, release in wanted]
        try:
            await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
        return Result(keys={"lines": shown.count})


def _wanted(call: Call, connected: Connected, situation: Situation, colour: Colour) -> list[tuple[Slot, ReleaseId]]:
    """Which replicas: those in the colour's slots, or what is left there of the release that was asked for."""
    host, asked = call.values["host"], call.values["release"]
    slots = [slot for slot in connected.wanted.slots[colour] if host in (None, slot.host)]
    if not slots:
        names = ", ".join(slot.host for slot in connected.wanted.slots[colour])
        raise Refused(f"{colour} has no host {host}", hint=f"it has {names}")
    wanted = []
    for slot in slots:
        unseen = situation.hosts.get(slot.host)
        if isinstance(unseen, CeladonError):
            call.output.warn(f"{slot.host}: {unseen.message}")
            continue
        facts = situation.slot(slot)
        release = asked or (facts.replica.release if facts is not None and facts.replica is not None else None)
        if release is not None:
            wanted.append((slot, release))
    if not wanted:
        raise Refused(f"no replica is in {colour}'s slots", hint="celadon status · celadon logs --release ID")
    return wanted


class _Shown:
    """Prints lines as they come."""

    def __init__(self, call: Call, now: float, *, wide: bool) -> None:
        self._call = call
        since: timedelta | None = call.values["since"]
        self._oldest = now - since.total_seconds() if since is not None else None
        self._wide = wide
        self.count = 0

    async def read(self, connected: Connected, slot: Slot, release: ReleaseId) -> None:
        lines = self._call.values["lines"]
        asked = LogQuestion(
            connected.wanted.app, release, slot, LINES if lines is None else lines, self._call.values["follow"]
        )
        async with aclosing(connected.reach.logs(slot.host, asked)) as found:  # type: ignore[type-var]  # a generator
            async for line in found:
                if self._oldest is None or line.utc is None or line.utc >= self._oldest:
                    self._print(slot, release, line)
                if self._call.output.gone:
                    return

    def _print(self, slot: Slot, release: ReleaseId, line: LogLine) -> None:
        self.count += 1
        output = self._call.output
        at = datetime.fromtimestamp(line.utc, UTC).isoformat(timespec="milliseconds") if line.utc is not None else None
        output.stream({"time": at, "host": slot.host, "release": release, "line": line.text})
        where = f"{slot.host}  " if self._wide else ""
        output.data(f"{at or '-'}  {where}{line.text}")
