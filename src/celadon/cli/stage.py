"""A stage for the demo and for tests: a lab, an application under git, and `celadon` run on it as a user would.

Everything lives under one folder and ends with it. Nothing here decides or judges; the demo and the tests do.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from celadon.core.errors import Unavailable
from celadon.lab.background import down, up
from celadon.lab.broken import APP, WELL, Case
from celadon.lab.estate import Estate, Furnished, furnish
from celadon.lab.lab import LabFacts

CONFIG = """\
app = "hello"
source = "."
port = {blue_port}
command = {command}

[health]
path = "/healthz"
{health}
[hosts]
blue = {blue}
green = {green}
{hosts}
[balancer]
nodebalancer = "{balancer}"
{test_port}
[verify]
path = "/"
rate = 20
contains = "Version: {{version}}!"
{more}
"""
COMMAND = ("uvicorn", "--host", "{host}", "--port", "{port}", "--no-access-log", "main:app")
GIT = ("git", "-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")


class Ran(msgspec.Struct, frozen=True):
    """One command that ended."""

    exit: int
    out: str
    err: str


async def ended(process: asyncio.subprocess.Process, what: str, within: float) -> Ran:
    """Read a process to its end. Past the deadline it is killed, and what it had said by then is in the error."""
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    assert process.stderr is not None  # noqa: S101 - as above
    out, err = bytearray(), bytearray()

    async def read(stream: asyncio.StreamReader, into: bytearray) -> None:
        while chunk := await stream.read(65536):
            into.extend(chunk)

    try:
        async with asyncio.timeout(within):
            await asyncio.gather(read(process.stdout, out), read(process.stderr, err), process.wait())
    except TimeoutError:
        process.kill()
        await process.wait()
        said = err.decode(errors="replace")[-4000:]
        raise Unavailable(f"{what} did not end within {within:g} s; it had said:\n{said}") from None
    return Ran(process.returncode or 0, out.decode(), err.decode())


class Stage:
    """Use as `async with Stage(folder) as stage`. The lab is this stage's own, wherever another may run."""

    def __init__(self, folder: Path, estate: Estate | None = None, *, more_config: str = "", health: str = "") -> None:
        self.folder = folder
        self.estate = estate or Estate()
        self.project = folder / "hello"
        self.more_config = more_config
        self.health = health
        self.lab: LabFacts
        self.found: Furnished

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lab = await asyncio.to_thread(up, self.folder / "lab")
        try:
            await self._furnish()
            await self._make_project()
        except BaseException:
            await asyncio.to_thread(down, self.folder / "lab")
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(down, self.folder / "lab")

    @property
    def environ(self) -> dict[str, str]:
        """What `eval "$(celadon lab up)"` would export."""
        return os.environ | {
            "LINODE_URL": self.lab.url,
            "LINODE_TOKEN": self.lab.token,
            "CELADON_SSH_CONFIG": self.lab.ssh_config,
            "CELADON_PACE": "lab",
            "CELADON_LAB_DIR": str(self.folder / "lab"),
        }

    async def release(self, version: str, case: Case | None = None) -> None:
        """Commit and tag a version of the application; a case makes it a bad one."""
        (self.project / "broken.py").write_text(case.source if case is not None else WELL)
        (self.project / "celadon.toml").write_text(self._config(case))
        (self.project / "VERSION").write_text(f"{version}\n")
        await self._git("add", "-A")
        await self._git("commit", "-q", "-m", f"release {version}")
        await self._git("tag", version)

    async def start(self, *words: str, cwd: Path | None = None) -> asyncio.subprocess.Process:
        """Begin a `celadon` command; whoever began it ends it."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "celadon",
            *words,
            cwd=cwd or self.project,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )

    async def celadon(self, *words: str, cwd: Path | None = None, within: float = 400.0) -> Ran:
        """Run a `celadon` command to its end."""
        return await ended(await self.start(*words, cwd=cwd), f"celadon {' '.join(words)}", within)

    async def kill_when(self, process: asyncio.subprocess.Process, sign: str, within: float = 120.0) -> str:
        """SIGKILL the command as soon as a line of its stderr holds `sign`; returns what it had said by then."""
        assert process.stderr is not None  # noqa: S101 - it was started with pipes
        said: list[str] = []

        async def read() -> None:
            assert process.stderr is not None  # noqa: S101 - as above
            async for raw in process.stderr:
                said.append(raw.decode(errors="replace"))
                if sign in said[-1]:
                    return

        try:
            await asyncio.wait_for(read(), within)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
        return "".join(said)

    def elsewhere(self) -> Path:
        """Another working copy, as on another machine: the repository and the keys, nothing else."""
        other = self.folder / "elsewhere"
        if other.exists():
            shutil.rmtree(other)
        shutil.copytree(self.project, other)
        return other

    async def _furnish(self) -> None:
        self.found = await furnish(self.lab, self.estate)

    async def _make_project(self) -> None:
        shutil.copytree(APP, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / ".celadon").mkdir()
        (self.project / ".celadon" / "known_hosts").write_text("\n".join(self.found.known_hosts) + "\n")
        (self.project / ".gitignore").write_text("__pycache__/\n.celadon/secrets\n")
        await self._git("init", "-q", "-b", "main")

    def _config(self, case: Case | None) -> str:
        estate = self.estate
        shared = set(estate.blue) & set(estate.green)
        ports = f"ports = {{ blue = {estate.blue_port}, green = {estate.green_port} }}" if shared else ""
        return CONFIG.format(
            command=_toml(case.command if case is not None and case.command else COMMAND),
            blue=_toml(estate.blue),
            green=_toml(estate.green),
            hosts=ports,
            blue_port=estate.blue_port,
            balancer=estate.balancer,
            test_port=f"test_port = {estate.test_port}\n" if estate.test_port is not None else "",
            more=self.more_config,
            health=self.health,
        )

    async def _git(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *GIT, *words, cwd=self.project, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 30)
        if process.returncode:
            raise Unavailable(f"git {words[0]} failed", details=tuple(said.decode().splitlines()))


def _toml(words: Sequence[str]) -> str:
    return "[" + ", ".join(msgspec.json.encode(word).decode() for word in words) + "]"
