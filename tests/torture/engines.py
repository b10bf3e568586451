"""Real Docker Engines behind real OpenSSH servers: the Engine of one host is restarted in each step of a deploy."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from tests.end_to_end.commands import NEVER, Command
from tests.end_to_end.docker_stage import DockerStage
from tests.rig.app_images import AppImages
from tests.rig.netns_hosts import Lab, require_hosts
from tests.rig.registry import Registry
from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome
from tests.torture.faults import ANY, ended
from tests.torture.steps import begins

from celadon.lab.broken import Case as Bad
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess

STEPS = ("open", "release", "start", "warm-up", "raise", "lower", "bake", "stop")


class EnginesBench(Bench):
    """Two hosts, each with a slot of both colours. What is asked of the stage is asked of `DockerStage` here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self.lab: Lab
        self.docker: DockerStage

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        require_hosts()
        registry = Registry()
        self._stack.callback(registry.close)
        self.lab = self._stack.enter_context(Lab())
        self.lab.open(2, registry)
        address = self.lab.serve_on_loopback(registry)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.docker = DockerStage(self.lab, AppImages(registry), address, self._folder, "shop", (6100, 6101))
        await self._stack.enter_async_context(self.docker.running())
        self.docker.release(self.live)
        ran = await self.run("deploy", self.live, "--yes")
        assert ran.exit == 0, ran.err

    async def __aexit__(self, *_: object) -> None:
        if self._load is not None:
            await self._load.kill()
        await self._stack.aclose()

    async def fresh(self, bad: Bad | None = None) -> str:
        assert bad is None
        self._count += 1
        version = f"v{self._count}"
        self.docker.release(version)
        return version

    async def begin(
        self,
        *words: str,
        strike: tuple[int, str] | None = None,
        elsewhere: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> Command:
        count, when = strike or (NEVER, "before")
        return await Command.begin(
            words,
            cwd=self.docker.project,
            environ={**os.environ, **self.docker.environ, **(environ or {})},
            strike=(str(count), when),
            enter=self.lab.enter,
        )

    async def _loaded(self) -> LoadProcess:
        if self._load is None:
            plan = Plan(
                url=self.docker.url, rate=20, seconds=36_000, mix={"new": 80, "keep": 16, "slow": 4}, slow=(1, 2)
            )
            self._load = await LoadProcess.start(plan, enter=self.lab.enter)
        return self._load

    async def check(self, outcome: Outcome) -> None:
        seen = self.docker.page()["version"]
        if seen != self.live:
            outcome.problems.append(f"{self.live} should serve, and users see {seen!r}")
        modes = sorted(self.docker.modes().values())
        if modes != ["accept", "accept", "reject", "reject"]:
            outcome.problems.append(f"nodes: {modes}")
        status = await self.status()
        if status["rollout"] is not None or status["lease"]["holder"]:
            outcome.leftovers.append(f"rollout {status['rollout']}, lease {status['lease']}")
        for host in self.lab.hosts:
            running = [name for name, each in self.docker.containers(host).items() if each["State"]["Running"]]
            if len(running) != 1:
                outcome.leftovers.append(f"{host.name} runs {running}")

    async def mend(self) -> bool:
        return False


def cases() -> Iterator[Case]:
    for step in STEPS:
        yield Case(f"dockerd/{step}", _restarted(step), kind="docker")


def _restarted(step: str) -> Callable[[Bench, Outcome], Awaitable[None]]:
    """Both colours' containers stop with it, and come back: what users miss meanwhile is the host's, and told."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        assert isinstance(bench, EnginesBench)
        outcome.allowed = ANY
        version = await bench.fresh()
        command = await bench.begin("deploy", version, "--yes")
        assert await command.until(begins(step)), command.said[-2000:]
        began = time.monotonic()
        await asyncio.to_thread(bench.lab.hosts[1].restart_engine)
        outcome.facts["engine_away_s"] = round(time.monotonic() - began, 1)
        await ended(bench, outcome, command, version)

    return play
