"""An open-loop load: requests of several kinds go out on a clock, whatever became of those before them.

As a library (`Load`), and as a process of its own (`python -m celadon.lab.load`, see `load_process.py`), so that the
deployer's work does not disturb it. What is sent is in `load_kinds.py`, what was seen in `load_report.py`. Times are
the event loop's own (monotonic): nothing here reads the clock.
"""

import asyncio
import random
import socket
import ssl
from itertools import accumulate
from typing import Final
from urllib.parse import urlsplit

from celadon.core.errors import Refused, Unavailable
from celadon.core.evidence import Gaps, Latency
from celadon.core.release import Seconds
from celadon.lab.load_kinds import STREAMS, Cut, Kinds, Plan, Wrong
from celadon.lab.load_report import KEPT, ActReport, Counts, Failure, Report
from celadon.lab.wire import Broken, Door

FOLD_EVERY = 2000  # requests


class _Act:
    """The counts of one act, as they grow."""

    def __init__(self, name: str, began: Seconds) -> None:
        self.name = name
        self.began = began
        self.sent: dict[str, int] = {}
        self.ended: dict[tuple[str, str], int] = {}
        self.served: dict[str, int] = {}
        self.fresh: list[Seconds] = []
        self.latency = Latency()

    def end(self, kind: str, outcome: str) -> None:
        self.ended[kind, outcome] = self.ended.get((kind, outcome), 0) + 1

    def report(self) -> ActReport:
        self.latency, self.fresh = self.latency.add(self.fresh), []
        return ActReport(
            name=self.name,
            began=self.began,
            kinds={
                kind: Counts(sent, *(self.ended.get((kind, outcome), 0) for outcome in ("ok", "failed", "cut")))
                for kind, sent in self.sent.items()
            },
            served=dict(self.served),
            latency=self.latency,
            p50=self.latency.quantile(0.5),
            p99=self.latency.quantile(0.99),
        )


class Load:
    """`start`, then `snapshot` and `mark` at will, then `wait` or `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan: Final = plan
        self._kinds: Kinds | None = None
        self._in_flight: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._bug: BaseException | None = None
        self._began: Seconds = 0.0
        self._acts = [_Act("", 0.0)]
        self._failures: list[Failure] = []
        self._slowest: Final = plan.deadline + max(plan.slow[1], plan.stream[0] * plan.stream[1])
        self._good: list[Seconds] = []  # when good answers were due; not yet in `_gaps`
        self._gaps = Gaps()
        self._latest: Seconds = 0.0

    async def start(self) -> None:
        """Finds the address once: the load is about the door, not about names."""
        self._kinds = Kinds(self._plan, await _door(self._plan.url))
        self._began = self._now()
        self._ticker = asyncio.create_task(self._tick(self._kinds), name="load")

    def mark(self, act: str) -> None:
        """Requests due from now on belong to `act`; the answers to earlier ones still count where they were due."""
        self._acts.append(_Act(act, self._since()))

    def snapshot(self) -> Report:
        """Raises what stopped the load, if anything did."""
        if self._bug is not None:
            raise self._bug
        self._fold()
        return Report(
            seconds=self._since(),
            running=bool(self._in_flight) or not (self._ticker is None or self._ticker.done()),
            acts=tuple(act.report() for act in self._acts if act.sent or act.name),
            failures=tuple(self._failures),
            longest_gap=self._gaps.longest,
            latest=self._latest,
        )

    async def wait(self) -> Report:
        """Until everything was sent and answered, or out of time: every request has a deadline."""
        if self._ticker is not None:
            await self._ticker
        return await self.stop(grace=None)

    async def stop(self, grace: Seconds | None = 30.0) -> Report:
        """Send nothing new, and wait `grace` for answers: what is not answered then stays `waiting`."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait({self._ticker})
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=grace)
        late = tuple(self._in_flight)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._kinds is not None:
            self._kinds.close()
        return self.snapshot()

    async def _tick(self, kinds: Kinds) -> None:
        plan = self._plan
        dice = random.Random(plan.seed)  # noqa: S311 - a reproducible mix, not a secret
        names, shares = list(plan.mix), list(accumulate(plan.mix.values()))
        for number in range(min(plan.count, round(plan.seconds * plan.rate))):
            due = self._began + number / plan.rate
            if (early := due - self._now()) > 0:
                await asyncio.sleep(early)
            elif number % 50 == 0:
                await asyncio.sleep(0)  # behind: let answers in
            self._latest = max(self._latest, self._now() - due)
            self._send(kinds, dice.choices(names, cum_weights=shares)[0], due)
            if number % FOLD_EVERY == 0:
                self._fold()

    def _send(self, kinds: Kinds, kind: str, due: Seconds) -> None:
        act = self._acts[-1]
        act.sent[kind] = act.sent.get(kind, 0) + 1
        if len(self._in_flight) >= self._plan.most_in_flight:
            self._fail(act, kind, due, f"not sent: {len(self._in_flight)} are waiting")
            return
        task = asyncio.create_task(self._ask(kinds, act, kind, due))
        self._in_flight.add(task)
        task.add_done_callback(self._asked)

    async def _ask(self, kinds: Kinds, act: _Act, kind: str, due: Seconds) -> None:
        path, meant = kinds.asked_for(kind)
        try:
            async with asyncio.timeout(self._plan.deadline + meant):
                who = await kinds.send(kind, path)
        except Cut as cut:
            self._fail(act, kind, due, str(cut), who=cut.who, outcome="cut")
        except Wrong as wrong:
            self._fail(act, kind, due, str(wrong), who=wrong.who)
        except TimeoutError:
            self._fail(act, kind, due, f"no answer in {self._plan.deadline + meant:.1f} s")
        except (Broken, OSError) as error:
            self._fail(act, kind, due, str(error) or type(error).__name__)
        else:
            act.end(kind, "ok")
            act.served[who] = act.served.get(who, 0) + 1
            self._good.append(due)
            if kind not in STREAMS and kind != "slow":
                act.fresh.append(self._now() - due)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._bug = bug

    def _fail(
        self, act: _Act, kind: str, due: Seconds, reason: str, *, who: str | None = None, outcome: str = "failed"
    ) -> None:
        act.end(kind, outcome)
        if len(self._failures) < KEPT:
            safe = "".join(letter if letter.isprintable() else " " for letter in reason[:200])
            self._failures.append(Failure(due - self._began, kind, safe, act.name, who))

    def _fold(self) -> None:
        self._gaps, self._good = self._gaps.add(self._good, self._now() - self._slowest), []

    def _now(self) -> Seconds:
        return asyncio.get_running_loop().time()

    def _since(self) -> Seconds:
        return self._now() - self._began if self._ticker is not None else 0.0


async def _door(url: str) -> Door:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.rstrip("/"):
        raise Refused(f"{url!r} is not http(s)://host[:port]", hint="paths belong to the kinds of requests")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could hold
        raise Unavailable(f"{parts.hostname}: {error}") from error
    return Door(str(found[0][4][0]), port, parts.netloc, tls, parts.hostname)


if __name__ == "__main__":
    from celadon.lab.load_process import main

    main()
