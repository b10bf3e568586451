"""The machine's clock: the only file that reads time. `now` goes on while the machine sleeps or its date is set."""

import asyncio
import time

from celadon.core.release import Instant, Seconds


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> Instant:
        return time.monotonic()

    def utc(self) -> float:
        return time.time()

    async def sleep(self, seconds: Seconds) -> None:
        await asyncio.sleep(max(0.0, seconds))
