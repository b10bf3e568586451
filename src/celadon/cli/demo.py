"""The demo: a lab, an application, real traffic throughout, and four acts. Every figure is measured while you watch.

Each act runs `celadon` as a user would, in a process of its own; one of them is killed. The load is one more process.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from celadon.cli.stage import Stage
from celadon.core.bound import upper_bound
from celadon.core.errors import Unavailable
from celadon.lab.broken import Case, find
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess

RATE = 100.0  # requests a second
LONGEST = 240.0  # seconds after which the load ends by itself, whatever happens

Show = Callable[[str], None]


class Act(msgspec.Struct, frozen=True):
    """One act's outcome."""

    title: str
    happened: str
    requests: int
    failed: int
    seconds: float


class Score(msgspec.Struct, frozen=True):
    acts: tuple[Act, ...]
    requests: int
    failed: int
    bound: float  # the failure rate is below this, with 95 % confidence
    seconds: float
    reasons: tuple[str, ...] = ()  # of the first failures


class Demo:
    """`show` prints a line as soon as it is true."""

    def __init__(self, stage: Stage, show: Show) -> None:
        self._stage = stage
        self._show = show
        self._began = time.monotonic()
        self._acts: list[tuple[str, str, float]] = []
        self._load: LoadProcess

    async def play(self, case: Case | None) -> Score:
        """All acts; the load runs from before the first to after the last."""
        self._show("A local Linode: no account, no root. Everything below is measured now, on this machine.")
        await self._set_the_scene()
        plan = Plan(url=self._stage.found.url, rate=RATE, seconds=LONGEST, slow=(1.0, 2.0))
        self._load = await LoadProcess.start(plan)
        self._show(
            f"  ✓ load: {RATE:.0f} requests/s (new connections, keep-alive clients, POST, slow ones, SSE, WebSocket)"
        )
        try:
            if case is None:
                await self._four_acts()
            else:
                await self._three_acts(case)
            return await self._score()
        finally:
            await self._load.kill()

    async def _set_the_scene(self) -> None:
        stage = self._stage
        await stage.release("1.0")
        await self._must("deploy", "1.0", "--yes")
        hosts = len(stage.found.instances)
        self._show(f"  ✓ lab: {hosts} instances, NodeBalancer {stage.found.url}, hello 1.0 on blue   {self._clock()}")

    async def _four_acts(self) -> None:
        stage = self._stage
        await self._act("A good release", self._good, "2.0")
        await self._act("A broken release", self._broken, find("crash-at-boot"), "2.1")
        await stage.release("2.2")
        await self._act("kill -9 to the deployer, in the middle of the switch to 2.2", self._killed)
        await self._act("Second thoughts", self._second_thoughts)

    async def _three_acts(self, case: Case) -> None:
        await self._act("A good release", self._good, "2.0")
        await self._act(f"A release that {case.sentence}", self._broken, case, "2.1")
        await self._act("The next good release", self._good, "2.2")

    async def _good(self, version: str) -> str:
        await self._stage.release(version)
        await self._must("deploy", version, "--yes")
        return f"{version} tested on its colour, switched, the old one then the backup, then retired"

    async def _broken(self, case: Case, version: str) -> str:
        await self._stage.release(version, case)
        expected = 0 if case.good else 3
        ran = await self._stage.celadon("deploy", version, "--yes")
        if ran.exit != expected:
            raise Unavailable(f"deploy {version} ended with {ran.exit}, not {expected}", details=_last(ran.err))
        if case.good:
            return f"{version} {case.sentence}; nothing was lost"
        seen = "harmed only whom it served" if case.serves else "never saw a request"
        return f"{version} {case.sentence}: {seen}, and stable kept the traffic"

    async def _killed(self) -> str:
        words = ("deploy", "2.2", "--yes", "--until", "commit")
        process = await self._stage.start(*words)
        await self._stage.kill_when(process, "lower")
        await self._must(*words)
        return "the same command again: it looked, resumed, committed"

    async def _second_thoughts(self) -> str:
        await self._must("rollback")
        return "rollback to 2.0: balancer only, nothing started"

    async def _act(self, title: str, play: Callable[..., object], *arguments: object) -> None:
        began = time.monotonic()
        await self._load.mark(title)
        happened = await play(*arguments)  # type: ignore[misc]  # each act is a coroutine function of its own words
        self._acts.append((title, str(happened), time.monotonic() - began))
        report = await self._load.snapshot()
        counts = next(act.total for act in report.acts if act.name == title)
        self._show(f"{len(self._acts)} {title}")
        self._show(f"  ✓ {happened:<76} {counts.sent:>6,} requests, {counts.failed + counts.cut} failed")

    async def _score(self) -> Score:
        report = await self._load.stop()
        by_name = {act.name: act.total for act in report.acts}
        acts = tuple(
            Act(title, happened, by_name[title].sent, by_name[title].failed + by_name[title].cut, seconds)
            for title, happened, seconds in self._acts
        )
        total = report.total
        failed = total.failed + total.cut + total.waiting
        reasons = tuple(f"{each.act}: {each.kind}: {each.reason}" for each in report.failures)
        bound = upper_bound(failed, total.sent)
        seconds = time.monotonic() - self._began
        self._show("")
        self._show(f"{total.sent:,} requests, {failed} failed (95 % sure: below {bound:.2%})   {self._clock()}")
        self._show("settle was 2 s here; with a real NodeBalancer Celadon waits 60 s.")
        return Score(acts, total.sent, failed, bound, seconds, reasons)

    async def _must(self, *words: str) -> None:
        ran = await self._stage.celadon(*words)
        if ran.exit:
            raise Unavailable(f"celadon {' '.join(words)} ended with {ran.exit}", details=_last(ran.err))

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60}:{seconds % 60:02}"


async def run(show: Show, *, case: str | None = None, leave_running: bool = False) -> Score:
    """Play on a stage of its own. `leave_running`: the lab and the project stay, and it is said where."""
    chosen = find(case) if case is not None else None
    folder = Path(tempfile.mkdtemp(prefix="celadon-demo-"))
    stage = Stage(folder)
    async with contextlib.AsyncExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        await ends.enter_async_context(stage)
        score = await Demo(stage, show).play(chosen)
        if leave_running:
            ends.pop_all()
    if leave_running:
        show(f"left running: cd {stage.project} · end it: CELADON_LAB_DIR={folder / 'lab'} celadon lab down")
    show("next: cd your-app && celadon init · watch it break: celadon demo --break disk-full")
    return score


def _last(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines()[-12:])
