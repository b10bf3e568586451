"""A deployer in a process of its own, with little memory: runs `celadon` commands in turn, and says at what cost.

`python -m tests.security.deployer` reads one JSON object a line, `{"words": […], "cwd": …, "environ": {…}}`, and
answers each with one: `{"exit", "out", "err", "grown", "seconds"}`. `grown`: MiB by which the most memory held exceeds
what was held before.
"""

import asyncio
import contextlib
import gc
import io
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from celadon.cli.call import answer
from celadon.cli.output import Output

LIMIT = 1 << 30  # bytes of data: whoever fills more than this is out of memory, and says so


class Told(msgspec.Struct, frozen=True):
    exit: int
    out: str
    err: str
    grown: float  # MiB
    seconds: float

    @property
    def end(self) -> dict[str, Any]:
        """The last object of a command with --json."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


class Deployer:
    """Started by its first command, and by the next one after a command that did not end."""

    def __init__(self, project: Path, environ: dict[str, str], temporary: Path) -> None:
        self.project = project
        self.environ = environ
        self._temporary = temporary
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, *words: str, within: float = 60.0, **environ: str) -> Told:
        """Fails when the command does not end."""
        self._process = process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {"words": words, "cwd": str(self.project), "environ": self.environ | environ}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), within)
        except TimeoutError:
            await self.end()
            raise AssertionError(f"celadon {' '.join(words)} did not end within {within:g} s") from None
        if not line:
            await self.end()
            raise AssertionError(f"the deployer died of: celadon {' '.join(words)}")
        return msgspec.json.decode(line, type=Told)

    async def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.security.deployer",
            cwd=Path(__file__).parents[2], env=os.environ | {"TMPDIR": str(self._temporary)}, limit=1 << 27,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip


@asynccontextmanager
async def deployer(project: Path, environ: dict[str, str], temporary: Path) -> AsyncIterator[Deployer]:
    running = Deployer(project, environ, temporary)
    try:
        yield running
    finally:
        await running.end()


def _memory(name: str) -> int:
    """KiB. VmRSS: held now; VmHWM: the most that was held since the mark was taken back."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    out, err = io.StringIO(), io.StringIO()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _memory("VmRSS"), time.monotonic()
    with Path(os.devnull).open(encoding="utf-8") as stdin:
        output = Output(out, err, asked["environ"])
        code = answer(asked["words"], output, environ=asked["environ"], cwd=Path(asked["cwd"]), stdin=stdin)
    grown = (_memory("VmHWM") - before) / 1024
    seconds = time.monotonic() - began
    return {"exit": code, "out": out.getvalue(), "err": err.getvalue(), "grown": grown, "seconds": seconds}


def main() -> None:
    import celadon.cli.compose  # noqa: F401, PLC0415 - so that the first command does not grow by the imports

    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
