"""The agent without SSH: the same command and bundle on this machine, under any Python that is found."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.rig import pythons

from celadon.adapters import agent_bundle
from celadon.adapters.agent_link import AgentLink, Heartbeat

VERSIONS = ("current", pythons.OLDEST, pythons.NEWEST)


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with nothing but `python3` in it."""
    path = pythons.required(request.param)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(Path(path).resolve())
    return folder


class LocalAgent:
    """How to run the agent here; its state is under `root`."""

    def __init__(self, root: Path, tools: Path) -> None:
        self.root = root
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "HOME": str(root / "home"),
        }

    async def process(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            agent_bundle.COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self.environment,
        )

    @asynccontextmanager
    async def link(self, heartbeat: Heartbeat | None = None) -> AsyncIterator[AgentLink]:
        process = await self.process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(30):
                link = await AgentLink.open("here", process.stdout, process.stdin, agent_bundle.bundle(), heartbeat)
            try:
                yield link
            finally:
                await link.close()
        finally:
            process.stdin.close()
            async with asyncio.timeout(30):
                await process.wait()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A host's state for calling the agent's modules in this process; its replicas end with the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield tmp_path / "home/.local/share/celadon"
    end_replicas(tmp_path / "home/.local/share/celadon")


@pytest.fixture
def agent(tmp_path: Path, python: Path) -> Iterator[LocalAgent]:
    yield LocalAgent(tmp_path, python)
    end_replicas(tmp_path / "home/.local/share/celadon")


def end_replicas(state: Path) -> None:
    for file in state.glob("*/replicas/*/state.json"):
        known = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
        for name in ("supervisor", "pid"):
            pid = known.get(name)
            if isinstance(pid, int) and str(state).encode() in traces(pid):
                os.kill(pid, signal.SIGKILL)


def traces(pid: int) -> bytes:
    """What ties a process to a folder: its arguments and where it stands."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + os.fsencode(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return b""
