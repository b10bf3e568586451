"""The ground that all contenders meet on: two hosts with sshd and Docker, the lab's API and NodeBalancer, one load.

A ground belongs to one contender at a time; the hosts are shared and swept in between.
"""

import asyncio
import contextlib
import http.client
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.scoreboard.contender import Contender, Job
from benchmarks.scoreboard.tree import end, family
from tests.end_to_end.docker_stage import DockerStage
from tests.rig.app_images import AppImages, Variant
from tests.rig.netns_hosts import DockerHost, Lab

from celadon.cli.stage import Ran
from celadon.core.errors import Unavailable
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess
from celadon.lab.load_report import Failure, Report

RATE = 30.0  # requests a second
MIX = {"new": 55, "keep": 20, "post": 10, "slow": 10, "sse": 5}
SLOW = (1.0, 3.0)  # seconds of a slow request
PORT = 8000  # of the peers' containers, on the host as inside
LONGEST = 150.0  # seconds for one command
SETTLE = 6  # seconds: two checks of the NodeBalancer, 2 s apart, and room
WITHIN = 20  # seconds that a candidate has to get healthy, for everybody
LOOKS = 12  # requests by which is seen who serves


class Running:
    """A command under way. What it says is kept in a file, so that nobody waits for a pipe that a child holds."""

    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        self.process = process
        self._said = said
        self.began = time.monotonic()

    def kill(self) -> None:
        """The deployer's machine dies: every process of it on this side ends at once; what runs on hosts runs on."""
        end(family(self.process.pid))

    async def ended(self, within: float = LONGEST) -> Ran:
        """Past the deadline it is killed, and its exit code is -9."""
        try:
            await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            self.kill()
            await self.process.wait()
        code = self.process.returncode
        return Ran(code if code is not None else -9, self._said.read_text(errors="replace"), "")


class Seen(msgspec.Struct):
    """What the load saw while a case was played. Filled in at its end."""

    sent: int = 0
    harmed: int = 0  # failed, cut, or never answered
    kinds: dict[str, list[int]] = {}  # sent, harmed
    failures: list[str] = []
    latest: float = 0.0

    def add(self, report: Report) -> None:
        total = report.total
        self.sent += total.sent
        self.harmed += total.failed + total.cut + total.waiting
        for act in report.acts:
            for kind, counts in act.kinds.items():
                sent, harmed = self.kinds.get(kind, [0, 0])
                more = counts.failed + counts.cut + counts.waiting
                self.kinds[kind] = [sent + counts.sent, harmed + more]
        self.failures += [_line(failure) for failure in report.failures]
        self.latest = max(self.latest, report.latest)

    def join(self, more: "Seen") -> None:
        self.sent += more.sent
        self.harmed += more.harmed
        for kind, (sent, harmed) in more.kinds.items():
            before = self.kinds.get(kind, [0, 0])
            self.kinds[kind] = [before[0] + sent, before[1] + harmed]
        self.failures += more.failures
        self.latest = max(self.latest, more.latest)


def _line(failure: Failure) -> str:
    return f"{failure.at:.1f} s {failure.kind}: {failure.reason}"


class Ground(DockerStage):
    """Use as `async with ground.running()`, then `await ground.open()`."""

    health = "/healthz"

    def __init__(self, lab: Lab, images: AppImages, registry: str, folder: Path, contender: Contender) -> None:
        super().__init__(lab, images, registry, folder, contender.name, (6100, 6101))
        self.contender = contender
        self.repository = f"{registry}/{contender.name}"
        self.live = ""
        self.seconds = 0.0  # that its last clean deploy took
        self._count = 0
        self._jobs = 0

    # -- commands

    async def begin(self, job: Job) -> Running:
        self._jobs += 1
        said = self.folder / f"said-{self._jobs}"
        with said.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *self.lab.enter, *job.argv, cwd=job.cwd, env={**os.environ, **job.environ},
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        return Running(process, said)

    async def run(self, job: Job, within: float = LONGEST) -> Ran:
        return await (await self.begin(job)).ended(within)

    def fresh(self, variant: Variant = "good", **more: Any) -> str:
        """A new version in the registry. All names are of one length: none is the beginning of another."""
        self._count += 1
        version = f"r{self._count:03}"
        self._images.publish(self.app, version, variant=variant, **more)
        return version

    async def deploy(self, version: str) -> Ran:
        ran = await self.run(self.contender.deploy(self, version))
        if ran.exit == 0:
            self.live = version
        return ran

    async def deployed(self, version: str = "") -> str:
        """A clean deploy that must work: what a case begins with."""
        version = version or self.fresh()
        began = time.monotonic()
        ran = await self.deploy(version)
        self.seconds = time.monotonic() - began
        if ran.exit or await self.wrong(version):
            raise Unavailable(
                f"{self.app}: a clean deploy of {version} did not work", details=tuple(ran.out.splitlines()[-15:])
            )
        return version

    # -- what is so

    @asynccontextmanager
    async def watched(self, seen: Seen, **more: Any) -> AsyncIterator[LoadProcess]:
        """The load runs while the block does, and a second before and after it."""
        plan = Plan(**{"url": self.url, "rate": RATE, "seconds": 3600, "mix": MIX, "slow": SLOW, **more})
        load = await LoadProcess.start(plan, enter=self.lab.enter)
        try:
            await asyncio.sleep(1)
            yield load
            await asyncio.sleep(1)
            seen.add(await load.stop(90))
        finally:
            await load.kill()

    async def wrong(self, *versions: str, within: float = 15.0) -> list[str]:
        """What is not as it should be with one of these versions serving; empty as soon as nothing is."""
        deadline = time.monotonic() + within
        while True:
            found = await self._wrong(versions)
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(1)

    async def _wrong(self, versions: tuple[str, ...]) -> list[str]:
        served = await asyncio.to_thread(self.served)
        found = [] if len(served) == 1 and served <= set(versions) else [f"users get {', '.join(sorted(served))}"]
        down = [node["label"] for node in self.nodes() if node["mode"] == "accept" and node["status"] != "UP"]
        found += [f"the balancer does not find {label} UP" for label in down]
        for host in self.lab.hosts:
            running = [each for each in self._all(host) if each["State"] == "running"]
            if len(running) > 1:
                found.append(f"{host.name} runs {len(running)} containers")
        return found + await self.contender.wrong(self)

    async def until_served(self, version: str, within: float = 60.0) -> None:
        """Until users get nothing else, or so many seconds are over."""
        deadline = time.monotonic() + within
        while await asyncio.to_thread(self.served) != {version} and time.monotonic() < deadline:  # noqa: ASYNC110 - users
            await asyncio.sleep(0.2)

    def served(self) -> set[str]:
        """What so many requests in a row are answered by: versions, or why not."""
        found = set()
        for _ in range(LOOKS):
            try:
                status, content = self._ask(self.url, "GET", "/", {}, None)
            except (http.client.HTTPException, OSError):
                found.add("no answer")
            else:
                version = re.search(rb"\br\d{3}\b", content)
                found.add(version[0].decode() if status == 200 and version else f"status {status}")
        return found

    def _all(self, host: DockerHost) -> Any:
        return host.engine.get("/containers/json", {"all": "1"})

    # -- to a known state

    async def open(self) -> None:
        """The contender's first deploy, on empty hosts."""
        await self.contender.prepare(self)
        self.live = await self.deployed()

    async def mended(self) -> bool:
        """After a case: one good version serves and nothing is amiss. True: a person had to see to that."""
        with contextlib.suppress(Unavailable):
            await self.deployed()
            return False
        await self.contender.mend(self)
        with contextlib.suppress(Unavailable):  # where each host is a colour, the first deploy fills one
            await self.deployed()
        await self.deployed()
        return True

    async def again(self, version: str, *, most: int = 3) -> tuple[int, float]:
        """The same command until it says that all is well: how often it was run, and the seconds that took."""
        began = time.monotonic()
        times = 1
        while (await self.deploy(version)).exit and times < most:
            times += 1
        return times, time.monotonic() - began

    async def swept(self) -> None:
        """Nothing of anybody is left on the hosts."""
        for host in self.lab.hosts:
            for each in self._all(host):
                await asyncio.to_thread(host.engine.delete, f"/containers/{each['Id']}", {"force": "1", "v": "1"})

    def on_host(self, host: DockerHost, file: str, content: str) -> None:
        """A file in root's home on a host, as its owner put it there once, readable to root alone."""
        path = self.lab.folder / host.name / "root" / file
        path.touch(mode=0o600)
        path.write_text(content)

    @property
    def folder(self) -> Path:
        return self._folder

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", self._path)["data"]
        return found

    @property
    def api(self) -> str:
        return self._api

    @property
    def nodes_path(self) -> str:
        return self._path

    @property
    def home(self) -> dict[str, str]:
        """What a command is told of the world, without the application's secret."""
        told = dict(self.environ)
        del told["SECRET_KEY"]
        return told | {"HOME": str(self.folder)}


@contextlib.asynccontextmanager
async def ground_of(
    lab: Lab, images: AppImages, registry: str, folder: Path, contender: Contender
) -> AsyncIterator[Ground]:
    """A ground with the contender's first deploy done; its containers are gone afterwards."""
    ground = Ground(lab, images, registry, folder, contender)
    async with ground.running():
        try:
            await ground.open()
            yield ground
        finally:
            await ground.swept()
