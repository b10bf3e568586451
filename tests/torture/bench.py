"""A bench: one stage and one load that serve many cases, and what must be true after each of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
from tests.end_to_end.acts import lab, nodes, page
from tests.end_to_end.commands import NEVER, Command, Stuck
from tests.torture.case import Outcome, Skipped

from celadon.cli.stage import Ran, Stage
from celadon.core.errors import CeladonError
from celadon.lab.broken import Case as Bad
from celadon.lab.load_kinds import MIX, Plan
from celadon.lab.load_process import LoadProcess
from celadon.lab.load_report import Report
from celadon.lab.processes import everyone

BAKE = '[rollout]\nbake = "90s"\n'  # 1.5 s at the lab's pace: the bake is the subject of few cases
AGENTS_GONE = 8.0
LOST = ("hint:", "run it again", "celadon resume")


class Bench:
    """Use as `async with Bench(folder) as bench`. `live` is the version that serves; cases keep it true."""

    def __init__(
        self,
        folder: Path,
        *,
        rate: float = 20.0,
        more_config: str = BAKE,
        health: str = "",
        mix: dict[str, int] | None = None,
    ) -> None:
        self.stage = Stage(folder / "stage", more_config=more_config, health=health)
        self.live = "v1"
        self._rate = rate
        self._mix = mix or dict(MIX)
        self._load: LoadProcess | None = None
        self._count = 1

    async def __aenter__(self) -> Self:
        await self.stage.__aenter__()
        try:
            await self.stage.release(self.live)
            ran = await self.run("deploy", self.live, "--yes")
            assert ran.exit == 0, ran.err
        except BaseException:
            await self.stage.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._load is not None:
            await self._load.kill()
        await self.stage.__aexit__()

    # -- commands

    async def fresh(self, bad: Bad | None = None) -> str:
        """A new version of the application, committed and tagged."""
        self._count += 1
        version = f"v{self._count}"
        await self.stage.release(version, bad)
        return version

    async def begin(
        self,
        *words: str,
        strike: tuple[int, str] | None = None,
        elsewhere: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> Command:
        """Begin a command. `strike`: at which effect it is struck, and how (`killed.py`)."""
        count, when = strike or (NEVER, "before")
        return await Command.begin(
            words,
            cwd=self.stage.elsewhere() if elsewhere else self.stage.project,
            environ=self.stage.environ | dict(environ or {}),
            strike=(str(count), when),
        )

    async def run(
        self, *words: str, strike: tuple[int, str] | None = None, elsewhere: bool = False, within: float = 240.0
    ) -> Ran:
        return await (await self.begin(*words, strike=strike, elsewhere=elsewhere)).end(within)

    async def again(self, outcome: Outcome, *words: str, elsewhere: bool = True, most: int = 3) -> Ran:
        """The whole recovery manual: the same command, until it does not say "run it again"."""
        began = time.monotonic()
        while True:
            ran = await self.run(*words, elsewhere=elsewhere)
            outcome.again += 1
            outcome.exits.append(ran.exit)
            if ran.exit != 4 or outcome.again >= most:
                outcome.seconds = round(time.monotonic() - began, 1)
                return ran
            if not any(sign in ran.err for sign in LOST):
                outcome.message_true = False
                outcome.problems.append(f"exit 4 without a hint: {ran.err[-300:]}")

    async def status(self) -> dict[str, Any]:
        ran = await self.run("status", "--json", within=150)
        found: dict[str, Any] = msgspec.json.decode(ran.out)
        return found

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        return await lab(self.stage, method, path, body)

    async def instance(self, label: str) -> int:
        rows = (await self.call("GET", "/lab/status"))["instances"]
        return next(int(row["id"]) for row in rows if row["label"] == label)

    def idle_hosts(self, status: dict[str, Any]) -> tuple[str, ...]:
        estate = self.stage.estate
        return estate.green if status["live_colour"] == "blue" else estate.blue

    # -- the load

    async def _loaded(self) -> LoadProcess:
        if self._load is None:
            plan = Plan(
                url=self.stage.found.url,
                rate=self._rate,
                seconds=36_000,
                mix=self._mix,
                slow=(0.5, 1.5),
                stream=(4, 0.25),
            )
            self._load = await LoadProcess.start(plan)
        return self._load

    async def _tally(self, outcome: Outcome) -> None:
        """Every request that was due in this case, once the last of them is answered."""
        load = await self._loaded()
        await load.mark("between")
        async with asyncio.timeout(40):
            while True:
                report = await load.snapshot()
                mine = [act for act in report.acts if act.name == outcome.case]
                if not sum(act.total.waiting for act in mine):
                    break
                await asyncio.sleep(0.3)
        outcome.sent = sum(act.total.sent for act in mine)
        outcome.failed = sum(act.total.failed for act in mine)
        outcome.cut = sum(act.total.cut for act in mine)
        if outcome.failed or outcome.cut:
            outcome.facts["failures"] = _told(report, outcome.case)
            await load.kill()  # what it keeps is bounded: the next case has room for its own
            self._load = None

    # -- a case

    async def play(self, outcome: Outcome, play: Callable[["Bench", Outcome], Awaitable[None]]) -> None:
        """Play one case under the load, then say what is not as it should be."""
        load = await self._loaded()
        await load.mark(outcome.case)
        try:
            await play(self, outcome)
            await self.check(outcome)
        except Skipped as skipped:
            outcome.note, outcome.skipped = f"skipped: {skipped}", True
        except (AssertionError, Stuck, CeladonError, TimeoutError) as error:
            outcome.problems.append(f"{type(error).__name__}: {error}"[-24000:])
        await self._tally(outcome)
        outcome.judge()

    async def check(self, outcome: Outcome) -> None:
        """One good release serves, the other colour is out, nothing is open, and nothing was left behind."""
        seen = await page(self.stage)
        if f"Version: {self.live}!" not in seen:
            outcome.problems.append(f"{self.live} should serve, and users see {seen!r}")
        modes = {mode: len(labels) for mode, labels in (await nodes(self.stage)).items()}
        if modes != {"accept": 2, "reject": 2}:
            outcome.problems.append(f"nodes: {modes}")
        status = await self.status()
        if status["rollout"] is not None:
            outcome.leftovers.append(f"an open rollout: {status['rollout']}")
        if status["lease"] is not None and status["lease"]["holder"]:
            outcome.leftovers.append(f"a lease: {status['lease']['holder']}")
        running = [slot for slot in status["slots"] if slot["running"]]
        if len(running) != 2 or {slot["colour"] for slot in running} != {status["live_colour"]}:
            outcome.leftovers.append("running: " + ", ".join(f"{slot['host']} {slot['release']}" for slot in running))
        live = {slot["release"] for slot in running}
        names = {f"{slot['release']}-{slot['host']}" for slot in running}
        outcome.leftovers += await self._left_behind(names | {f"CELADON_RELEASE={release}" for release in live})

    async def _left_behind(self, running: set[str]) -> list[str]:
        """Processes on the hosts that are no replica of the live release, once agents have had time to leave."""
        deadline = time.monotonic() + AGENTS_GONE
        while True:
            left = [line for line in self._host_processes() if not any(name in line for name in running)]
            if not left or time.monotonic() > deadline:
                return [f"process: {line[-160:]}" for line in left]
            await asyncio.sleep(0.3)

    def _host_processes(self) -> list[str]:
        """Supervisors, replicas (by release) and agents: the leaders of sessions on the hosts."""
        home = f"HOME={self.stage.folder}/lab/machines/".encode()
        found = []
        for seen in everyone():
            try:
                entry = Path(f"/proc/{seen.process.pid}")
                environ = (entry / "environ").read_bytes()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has ended
            if home in environ and seen.session == seen.process.pid and line:
                release = [each.decode() for each in environ.split(b"\0") if each.startswith(b"CELADON_RELEASE=")]
                found.append(" ".join([*release, line]))
        return found

    async def mend(self) -> bool:
        """After a case that ended badly: one good live release again? False: this stage is of no more use."""
        try:
            await self.call("DELETE", "/lab/faults")
            status = await self.status()
            if status["rollout"] is not None:
                await self.run("abort")
            self.live = await self.fresh()
            ran = await self.run("deploy", self.live, "--yes")
            outcome = Outcome(case="mending")
            await self.check(outcome)
        except (AssertionError, Stuck, CeladonError, TimeoutError, msgspec.MsgspecError):
            return False
        return ran.exit == 0 and not outcome.problems and not outcome.leftovers


def _told(report: Report, case: str) -> list[str]:
    return [f"{each.at:.1f} {each.kind} {each.reason} by {each.who}" for each in report.failures if each.act == case]
