"""The operator's own commands: tests before the switch, hooks around it. Lists of words, run here, with a deadline.

They get no secret: neither the app's, nor the registry's, nor Celadon's token is in their environment. Of what they
print only the last lines are kept, and known secrets in them are masked.

Which commands a rollout has is read from its home, and a home is another machine: what the operator's own config does
not name, word for word, is not run here.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Protocol

from celadon.core.intent import Hook, Rollout
from celadon.core.release import Slot
from celadon.ports import CommandResult

KEPT = 60  # lines
LONGEST = 500  # characters of one
OURS = ("LINODE_TOKEN",)
NOT_OURS = "celadon.toml here does not have it as the rollout has it (git pull, or resume where it was opened)"


class Tunnels(Protocol):
    def forward(self, host: str, address: str, port: int) -> AbstractAsyncContextManager[int]:
        """A port of this machine that leads to `address:port` as the host reaches it."""


class LocalCommands:
    """Implements `ports.Commands`. `cwd` is the project folder; `mask` hides secrets in what is kept."""

    def __init__(
        self,
        tunnels: Tunnels,
        *,
        own: Iterable[Hook],
        cwd: Path,
        environ: Mapping[str, str],
        hidden: Iterable[str] = (),
        mask: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._tunnels = tunnels
        self._own = frozenset((command.name, command.command) for command in own)
        self._hidden = frozenset({*OURS, *hidden})
        self._cwd = cwd
        self._environ = environ
        self._mask = mask

    async def run(self, command: Hook, rollout: Rollout, *, test: bool) -> CommandResult:
        """A test runs once a slot, with `CANDIDATE_URL`; the first failure ends it. A hook runs once.

        With a test port `TEST_URL` leads to the candidate as the balancer does, whichever slot it chooses.
        """
        if (command.name, command.command) not in self._own:
            kind = "test" if test else "hook"
            return CommandResult(ok=False, lines=(f"{kind} {command.name}: not run: {NOT_OURS}",))
        if not test:
            return await self._run(command, self._variables(rollout))
        for slot in rollout.candidate_slots:
            async with self._tunnels.forward(slot.host, slot.address, slot.port) as port:
                result = await self._run(
                    command, {**self._variables(rollout), **_candidate(slot, port), **_testers(rollout)}
                )
            if not result.ok:
                return CommandResult(ok=False, lines=(f"on {slot.host}:", *result.lines))
        return CommandResult(ok=True, lines=result.lines)

    def _variables(self, rollout: Rollout) -> dict[str, str]:
        hidden = self._hidden | {name for name, _ in rollout.candidate.secrets}
        kept = {name: value for name, value in self._environ.items() if name not in hidden}
        return kept | {
            "CELADON_APP": rollout.app,
            "CELADON_ROLLOUT": str(rollout.number),
            "CELADON_VERSION": rollout.candidate.version,
            "CELADON_RELEASE": rollout.candidate.id,
            "CELADON_COLOUR": rollout.candidate_colour.value,
            "CELADON_STABLE_VERSION": rollout.stable.version if rollout.stable is not None else "",
        }

    async def _run(self, command: Hook, environ: Mapping[str, str]) -> CommandResult:
        try:
            process = await asyncio.create_subprocess_exec(
                *command.command, cwd=self._cwd, env=dict(environ), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a command"
            return CommandResult(ok=False, lines=(f"{command.command[0]}: {why}",))
        tail: deque[str] = deque(maxlen=KEPT)
        try:
            async with asyncio.timeout(command.timeout):
                await self._read(process, tail)
                code = await process.wait()
        except TimeoutError:
            tail.append(f"not done within {command.timeout:g} s: ended")
            return CommandResult(ok=False, lines=tuple(tail))
        finally:
            await _end(process)
        if code:
            tail.append(f"exit code {code}")
        return CommandResult(ok=code == 0, lines=tuple(tail))

    async def _read(self, process: asyncio.subprocess.Process, tail: deque[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for; for the type checker
        rest = b""
        while part := await process.stdout.read(65536):
            *lines, rest = (rest + part).split(b"\n")
            rest = rest[-LONGEST * 4 :]
            tail.extend(self._line(line) for line in lines[-KEPT:])
        if rest:
            tail.append(self._line(rest))

    def _line(self, raw: bytes) -> str:
        return self._mask(raw.decode("utf-8", "replace").rstrip("\r"))[:LONGEST]


def _candidate(slot: Slot, port: int) -> dict[str, str]:
    return {"CANDIDATE_URL": f"http://127.0.0.1:{port}", "CANDIDATE_HOST": slot.host}


def _testers(rollout: Rollout) -> dict[str, str]:
    return {"TEST_URL": rollout.test_url} if rollout.test_url else {}


async def _end(process: asyncio.subprocess.Process) -> None:
    """The command and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
