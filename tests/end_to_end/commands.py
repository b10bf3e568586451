"""A `celadon` command under way, run by `killed.py`: what it says as it says it, and why it does not end."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from celadon.cli.stage import Ran

ROOT = Path(__file__).parents[2]
NEVER = "never"  # the effect at which a command is struck that is not


class Stuck(Exception):
    """A command did not end. What it said, and what its tasks were waiting for."""


class Command:
    """One `celadon` command under way, its stderr read line by line."""

    def __init__(self, process: asyncio.subprocess.Process, words: Sequence[str]) -> None:
        self.process = process
        self.words = words
        self._lines: list[str] = []
        self._news = asyncio.Event()
        self._out = bytearray()
        self._readers = [asyncio.create_task(self._read_err()), asyncio.create_task(self._read_out())]

    @classmethod
    async def begin(
        cls,
        words: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        strike: tuple[str, str] = (NEVER, "before"),
        enter: Sequence[str] = (),
    ) -> Self:
        """`strike`: at which effect it is struck, and how. `enter`: words before the command."""
        process = await asyncio.create_subprocess_exec(
            *enter, sys.executable, "-m", "tests.end_to_end.killed", *strike, *words,
            cwd=cwd, env={**environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}, limit=1 << 20,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return cls(process, words)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    async def _read_err(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self._lines.append(raw.decode(errors="replace"))
            self._news.set()
        self._news.set()

    async def _read_out(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self._out.extend(chunk)

    async def until(self, pattern: str, within: float = 150.0) -> bool:
        """Wait for a line; False: the command ended without it."""
        wanted = re.compile(pattern)
        seen = 0
        async with asyncio.timeout(within):
            while True:
                self._news.clear()
                while seen < len(self._lines):
                    seen += 1
                    if wanted.search(self._lines[seen - 1]):
                        return True
                if self.process.returncode is not None or self._readers[0].done():
                    return False
                await self._news.wait()

    def signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def end(self, within: float = 240.0) -> Ran:
        """Raises `Stuck`, with what it was waiting for, when it does not end."""
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*self._readers)
                await self.process.wait()
        except TimeoutError:
            for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):  # it ended at the last moment
                    self.signal(number)
                await asyncio.sleep(1)
            await self.process.wait()
            await asyncio.wait(self._readers, timeout=5)
            said = self.said[-20000:]
            raise Stuck(f"celadon {' '.join(self.words)} did not end within {within:g} s:\n{said}") from None
        return Ran(self.process.returncode or 0, bytes(self._out).decode(), self.said)
