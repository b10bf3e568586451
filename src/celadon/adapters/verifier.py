"""The prober of `[verify]`: asks the users' door on a clock, all rollout long, and says what came of it.

Open loop: each request goes out when its moment comes, whether or not earlier ones were answered, on a connection of
its own, once, past any proxy. What its results mean is decided in `core/evidence.py` and `core/attribution.py`.

What counts as what: an answer of status 200-399, read to its end, is ok. Everything else is a failure (a reset, a
refusal, a time-out, 4xx, 5xx, an answer cut short, a bad certificate), except what this machine did to itself:
no route or no network, no ports, files or memory left, its resolver out of order, or standing still for longer than
the deadline. These are unknown. "No route to host" may come from a router near the balancer, so it is a failure.
"""

import asyncio
import errno
import math
import socket
from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec

from celadon.adapters.http import one_try, quoted, why
from celadon.core.attribution import Attribution
from celadon.core.evidence import Evidence, Outcome, Phase, Result, Run, Tally, tally
from celadon.core.release import Instant, ReleaseId, Seconds
from celadon.ports import Clock

OUR_OWN = frozenset(
    {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)
READ = 256 * 1024  # bytes searched for the release's text
LARGEST = 8 * 1024 * 1024  # bytes read to see that an answer is whole; a longer one is taken to be
STOOD_STILL = 2.0  # seconds past the deadline: no server did that, this process was stopped
CATCH_UP = 1.0  # seconds: after a longer pause the missed requests are not sent in one burst


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, and how."""

    url: str  # with the path
    rate: float = 5.0  # requests a second
    deadline: Seconds = 10.0
    grace: Seconds = 2.0  # how long `close` waits for answers; later ones are unknown

    @property
    def most_in_flight(self) -> int:
        """As many as can be waiting when none is answered; more would mean that a deadline did not hold."""
        return math.ceil(self.rate * self.deadline) + 10


class PublicVerifier:
    """Implements `ports.Verifier`. `start` needs a running loop; `phase` is set by whoever knows the rollout."""

    def __init__(self, target: Target, attribution: Attribution, candidate: ReleaseId, clock: Clock) -> None:
        self.phase: Phase = "before"
        self._target: Final = target
        self._attribution: Final = attribution
        self._candidate: Final = candidate
        self._clock: Final = clock
        self._session: aiohttp.ClientSession | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._in_flight: dict[asyncio.Task[None], Instant] = {}
        self._new: list[Result] = []
        self._bug: BaseException | None = None
        self._run = Run()
        self._evidence = Evidence()

    def start(self) -> None:
        if self._ticker is None:
            self._session = self._open()
            self._ticker = asyncio.create_task(self._tick(self._session), name="verifier")

    def take(self) -> Tally:
        """What ended since the last time. Raises what stopped the prober, if anything did."""
        if self._ticker is not None and self._ticker.done() and not self._ticker.cancelled():
            self._ticker.result()
        if self._bug is not None:
            raise self._bug
        counts, self._run = tally(self._new, self._candidate, self._run)
        self._evidence = self._evidence.add(self._new, self.phase)
        self._new = []
        return counts

    def evidence(self) -> Evidence:
        """Everything that `take` has counted."""
        return self._evidence

    async def close(self) -> None:
        """Send nothing new; wait `grace` for answers; what is not answered then is unknown. `take` still works."""
        if self._ticker is None or self._session is None:
            return
        self._ticker.cancel()
        await asyncio.wait({self._ticker})
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=self._target.grace)
        late = {task: sent_at for task, sent_at in self._in_flight.items() if not task.done()}
        for task, sent_at in late.items():
            task.cancel()
            self._end(sent_at, "unknown", reason="not answered when the verifier was closed")
        await asyncio.gather(*late, return_exceptions=True)
        await self._session.close()
        self._session = None

    def _open(self) -> aiohttp.ClientSession:
        return one_try(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={
                    "User-Agent": "celadon-verify",
                    "Cache-Control": "no-cache",
                    "Accept-Encoding": "identity",  # the text is searched as it comes: nothing to inflate
                },
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        )

    async def _tick(self, session: aiohttp.ClientSession) -> None:
        due = self._clock.now()
        while True:
            due = max(due, self._clock.now() - CATCH_UP)
            if len(self._in_flight) < self._target.most_in_flight:
                task = asyncio.create_task(self._ask(session, due))
                self._in_flight[task] = due
                task.add_done_callback(self._asked)
            else:
                self._end(due, "unknown", reason=f"not sent: {len(self._in_flight)} requests are waiting")
            due += 1 / self._target.rate
            await self._clock.sleep(due - self._clock.now())

    async def _ask(self, session: aiohttp.ClientSession, sent_at: Instant) -> None:
        headers: Mapping[str, str] = {}
        try:
            async with (
                asyncio.timeout(self._target.deadline),
                session.get(self._target.url, allow_redirects=False) as r,
            ):
                headers = r.headers
                text = await _read(r)
        except TimeoutError:
            reason = f"no answer in {self._target.deadline:g} s"
            self._end(sent_at, "failed", who=self._attribution.who("", headers), reason=reason)
        except (aiohttp.ClientError, OSError) as error:
            outcome: Outcome = "unknown" if is_our_own(error) else "failed"
            self._end(sent_at, outcome, who=self._attribution.who("", headers), reason=why(error))
        else:
            good = 200 <= r.status < 400
            reason = "" if good else quoted(f"status {r.status} {r.reason or ''}")
            who = self._attribution.who(text, headers)
            self._end(sent_at, "ok" if good else "failed", status=r.status, who=who, reason=reason)

    def _asked(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._bug = bug

    def _end(
        self,
        sent_at: Instant,
        outcome: Outcome,
        *,
        status: int | None = None,
        who: ReleaseId | None = None,
        reason: str = "",
    ) -> None:
        seconds = self._clock.now() - sent_at
        if outcome == "failed" and status is None and seconds > self._target.deadline + STOOD_STILL:
            outcome, reason = "unknown", f"this machine stood still: {reason}"
        self._new.append(Result(sent_at, seconds, outcome, status, who, reason))


def is_our_own(error: BaseException) -> bool:
    """Whether this machine, and not the door, is why there was no answer."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):
        return cause.errno in (socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY)
    return isinstance(cause, OSError) and cause.errno in OUR_OWN


async def _read(response: aiohttp.ClientResponse) -> str:
    """The text to search. Reads on to the end, so that an answer cut short is seen."""
    kept, length = bytearray(), 0
    async for chunk in response.content.iter_chunked(65_536):
        kept += chunk[: max(0, READ - len(kept))]
        length += len(chunk)
        if length > LARGEST:
            break
    return kept.decode("utf-8", "replace")
