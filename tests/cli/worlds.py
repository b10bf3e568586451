"""A whole world in memory for the command line: the real app and loop on the fakes of the ports, at a fast pace."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from celadon.adapters.agent_link import Take
from celadon.adapters.host import Command, LogLine, LogQuestion
from celadon.adapters.memory import MemoryHosts, MemoryStore
from celadon.adapters.memory_balancer import MemoryBalancer
from celadon.adapters.memory_homes import MemoryHomes
from celadon.cli.app import Connected, Known, Need
from celadon.cli.call import answer
from celadon.cli.compose import Watchers
from celadon.cli.output import Output
from celadon.config.project import Project
from celadon.core.errors import CeladonError
from celadon.core.evidence import Tally
from celadon.core.intent import Health, Hook, Rollout, Timing, Verify
from celadon.core.observed import BalancerFacts, ConfigFacts, HostFacts, Mode, NodeFacts, Probe, Question
from celadon.core.release import Colour, Release, Slot
from celadon.core.secret import Secret
from celadon.core.trial import Answer, Trial, TrialFacts
from celadon.core.wanted import Wanted
from celadon.drive.app import App
from celadon.drive.home import HomeStore
from celadon.ports import CommandResult, World

CONFIG = """\
app = "shop"
image = "registry.example/acme/shop"
port = 5000
health.path = "/"
[hosts]
blue = [{ ssh = "root@192.0.2.11", private = "192.168.130.11" }]
green = [{ ssh = "root@192.0.2.21", private = "192.168.130.21" }]
[balancer]
nodebalancer = "app-nodebalancer"
"""
TIMING = Timing(
    settle=0.05, bake=0.1, drain=0.2, quiet=0.02, interval=0.01, start_within=1.0, fresh=1.0, poll=0.01, repeat=1.0,
    up_within=2.0, deadline=20.0, lost=2.0, retry=0.02, verify_within=5.0, lease=1.0,
)  # fmt: skip
SLOTS: dict[Colour, tuple[Slot, ...]] = {
    Colour.BLUE: (Slot("blue-1", "192.168.130.11", 5000),),
    Colour.GREEN: (Slot("green-1", "192.168.130.21", 5000),),
}


class Machine:
    """The clock of this machine, as the adapters read it."""

    def now(self) -> float:
        return time.monotonic()

    def utc(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class GoodDoor:
    """Every look at it finds one good answer of the candidate's; `broken` makes it a failure."""

    def __init__(self) -> None:
        self.broken = False
        self.silent = False  # good answers say nothing about who gave them
        self._passes = 0
        self._since: float | None = None
        self._candidate = ""

    def begin(self, rollout: Rollout) -> None:
        self._candidate = rollout.candidate.id

    def take(self) -> Tally:
        if self.broken:
            self._passes, self._since = 0, None
            return Tally(sent=1, failed=1)
        self._passes += 1
        self._since = self._since or time.monotonic()
        if self.silent:
            return Tally(sent=1, unproven=1, passes=self._passes, since=self._since)
        return Tally(sent=1, served={self._candidate: 1}, passes=self._passes, since=self._since)

    async def close(self) -> None:
        """Nothing is open."""


class Commands:
    """Tests and hooks that end as they are told to."""

    def __init__(self) -> None:
        self.result = CommandResult(ok=True, lines=())

    async def run(self, command: Hook, rollout: Rollout, *, test: bool) -> CommandResult:
        return self.result


WELL = TrialFacts(
    moved=0, port=5000, listening=0.4, elsewhere=(), passed=0.5, probe=Answer(True, 200, "", 0.01), location="",
    program="gunicorn", hears=True, exit_code=0, slow=None, stopped=0.3, patience=40.0, lines=(),
)  # fmt: skip


class NoSecrets:
    def values(self, release: Release) -> Mapping[str, Secret]:
        return {}


class Reach:
    """Hosts as people reach them: log lines and commands that are set before."""

    def __init__(self) -> None:
        self.lines = [LogLine(1.0, "one"), LogLine(2.0, "two \x1b[31mred")]
        self.exit = 0
        self.said = b"hello\n"
        self.commands: list[Command] = []
        self.fingerprint = "SHA256:abc"
        self.trials: list[tuple[str, Trial]] = []
        self.tried = WELL

    async def logs(self, host: str, question: LogQuestion) -> AsyncIterator[LogLine]:
        for line in self.lines[-question.lines :]:
            yield line

    async def run(self, host: str, command: Command, *, take: Take, stdin: AsyncIterable[bytes] | None = None) -> int:
        self.commands.append(command)
        await take(1, self.said)
        return self.exit

    async def scan_host_key(self, host: str) -> tuple[str, str]:
        return f"192.0.2.11 ssh-ed25519 AAAA{host}", self.fingerprint

    async def check(self, host: str) -> str:
        return "3.11.7"

    async def try_out(self, host: str, trial: Trial, secrets: Mapping[str, Secret]) -> TrialFacts:
        self.trials.append((host, trial))
        return self.tried


class MemoryWorld:
    """Everything that outlives one command. `run` is `celadon …` on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hosts = MemoryHosts(("blue-1", "green-1"), utc=time.time())
        self.homes = MemoryHomes("shop", self.hosts)
        self.balancer = MemoryBalancer(_facts(), time.monotonic)
        self.door = GoodDoor()
        self.commands = Commands()
        self.reach = Reach()
        self.tests: tuple[Hook, ...] = ()
        self.test_port: int | None = None
        self.timing = TIMING
        self.who = "me@here"
        self.home = "blue-1"
        self.refusal: CeladonError | None = None  # raised where the world is put together
        self.needs: list[Need] = []
        (root / "celadon.toml").write_text(CONFIG)

    @property
    def store(self) -> MemoryStore:
        """Of the home that the config names."""
        return self.homes.store(self.home)

    def run(self, *words: str, environ: Mapping[str, str] | None = None) -> "Ran":
        out, err = io.StringIO(), io.StringIO()
        given = {"HOME": str(self.root), **(environ or {})}
        output = Output(out, err, given)
        with Path(os.devnull).open(encoding="utf-8") as stdin:
            code = answer(list(words), output, environ=given, cwd=self.root, stdin=stdin, connect=self.connect)
        return Ran(code, out.getvalue(), err.getvalue())

    @asynccontextmanager
    async def connect(self, project: Project, need: Need, environ: Mapping[str, str]) -> AsyncIterator[Connected]:
        self.needs.append(need)
        if self.refusal is not None:
            raise self.refusal
        watchers = Watchers()
        home = HomeStore(self.homes, "shop", self.home, self.hosts.machines)
        world = World(
            hosts=self.hosts,
            balancer=self.balancer,
            store=home,
            clock=Machine(),
            verifier=self.door,
            commands=self.commands,
            secrets=NoSecrets(),
        )
        wanted = self.wanted()
        yield Connected(
            project=project,
            wanted=wanted,
            world=world,
            home=home,
            app=App(world, wanted, who=self.who, watch=watchers),
            reach=self.reach,
            hosts=(
                Known("blue-1", "root@192.0.2.11", "192.168.130.11", ("blue",), "SHA256:known"),
                Known("green-1", "root@192.0.2.21", "192.168.130.21", ("green",)),
            ),
            scopes=self._scopes,
            release=self.release,
            watched=watchers.add,
        )

    def wanted(self) -> Wanted:
        probe = Probe(path="/", host_header="shop.example")
        return Wanted(
            app="shop",
            slots=SLOTS,
            ports=(),
            balancer="app-nodebalancer",
            timing=self.timing,
            health=Health(probe=probe, passes=2, warm_up_requests=1),
            verify=Verify(url="http://shop.example/", passes=1),
            tests=self.tests,
            home=self.home,
            settings_hash="same",
            test_port=self.test_port,
        )

    async def release(self, typed: str | None) -> Release:
        version = typed or "HEAD"
        artifact = f"registry.example/acme/shop@sha256:{version}"
        return Release(app="shop", version=version, artifact=artifact, runtime="docker", container_port=5000)

    async def _scopes(self) -> frozenset[str] | None:
        return frozenset({"linodes:read_only", "nodebalancers:read_write"})

    def with_visitors(self) -> None:
        """Each look finds three connections more than the one before, in whatever runs."""
        original = self.hosts.look

        async def look(host: str, question: Question) -> HostFacts:
            for replica in self.hosts.machines[host].replicas.values():
                if replica.running and replica.opened is not None and host.startswith("green"):
                    replica.opened += 3
            return await original(host, question)

        self.hosts.look = look  # type: ignore[method-assign]  # one instance of a fake

    def make_sick(self, version: str) -> None:
        """Replicas of this version will never pass a probe."""
        original = self.hosts.start

        async def start(writ: Any, placement: Any) -> None:
            await original(writ, placement)
            if placement.release.version == version:
                replica = self.hosts.replica(writ.host, writ.app, placement.release.id, placement.slot)
                replica.healthy = False

        self.hosts.start = start  # type: ignore[method-assign]  # one instance of a fake


class Ran(msgspec.Struct, frozen=True):
    """How one command ended."""

    exit: int
    out: str
    err: str

    @property
    def objects(self) -> Sequence[dict[str, Any]]:
        """stdout as JSON Lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    @property
    def end(self) -> dict[str, Any]:
        return self.objects[-1]


def _facts() -> BalancerFacts:
    nodes = tuple(
        NodeFacts(80, 11, number, slot.host, slot.node_address, Mode.REJECT, 100, False)
        for number, slot in enumerate((*SLOTS[Colour.BLUE], *SLOTS[Colour.GREEN]), 100)
    )
    config = ConfigFacts(80, 11, "http", "http", 5.0, 3, False, "none", nodes)
    return BalancerFacts(1, "app-nodebalancer", "198.51.100.7", 0, (config,))
