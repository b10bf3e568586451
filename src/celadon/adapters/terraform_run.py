"""Terraform (or OpenTofu) as a program: plan, show and apply, in the project's own folder. Judges nothing.

It runs in a session of its own and writes to files, not pipes: whatever ends Celadon, an apply that has begun ends as
Terraform ends it, with its state written. A first stop is one SIGINT, on which Terraform finishes what is in flight.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from celadon.core.errors import NoAnswer, Refused, Unavailable
from celadon.core.release import Seconds

PLAN_WITHIN: Seconds = 600.0
SHOW_WITHIN: Seconds = 120.0
APPLY_WITHIN: Seconds = 3600.0  # the provider itself waits 10 minutes a machine
GRACE: Seconds = 120.0  # from SIGINT to the end: what is in flight, and the state
POLL: Seconds = 0.1
UNREADABLE = "Unsupported state file format"
STATE = "terraform.tfstate"
LARGEST = 64 * 1024 * 1024
Say = Callable[[str], None]


class Diagnostic(msgspec.Struct, frozen=True):
    summary: str
    detail: str
    address: str
    place: str = ""  # `main.tf:12`


class Terraform:
    """One folder. `scratch` gets plan files, which hold secrets: a private folder, removed by its maker."""

    def __init__(self, folder: Path, environ: Mapping[str, str], scratch: Path) -> None:
        self._folder: Final = folder
        self._scratch: Final = scratch
        self._environ: Final = {**environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        self._program: Final = program(environ)
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._runs = 0

    def stop(self) -> None:
        """Nothing new is begun; what is in flight ends, and the state is written. Twice does no more than once."""
        if self._running is not None and not self._stopped:
            self._stopped = True
            with suppress(ProcessLookupError):
                self._running.send_signal(signal.SIGINT)

    async def plan(self, say: Say, words: Sequence[str] = ()) -> Path:
        """The plan's file. Refreshes state on the way."""
        file = self._scratch / "plan"
        await self._talk(["plan", "-json", "-no-color", "-input=false", f"-out={file}", *words], PLAN_WITHIN, say)
        return file

    async def show(self, plan: Path) -> bytes:
        """The plan's JSON. It may hold secrets in clear: never printed, never logged."""
        code, out, told = await self._run(["show", "-json", "-no-color", str(plan)], SHOW_WITHIN, lambda _: None)
        if code:
            raise Refused(f"{self._name} show: {first_error(told)}", where=self._folder.name)
        if out.stat().st_size > LARGEST:
            raise Refused(f"the plan is larger than {LARGEST // 1024**2} MiB", where=self._folder.name)
        return out.read_bytes()

    async def apply(self, plan: Path, say: Say) -> None:
        """Exactly this plan. A plan whose state has changed since is refused by Terraform itself."""
        await self._talk(["apply", "-json", "-no-color", "-input=false", str(plan)], APPLY_WITHIN, say)

    @property
    def _name(self) -> str:
        return Path(self._program).name

    async def _talk(self, words: list[str], within: Seconds, say: Say) -> None:
        """A command that tells what it does as JSON Lines."""
        problems: list[Diagnostic] = []

        def hear(line: bytes) -> None:
            event = _event(line)
            if (problem := _problem(event)) is not None:
                problems.append(problem)
            elif event.get("type") in ("apply_start", "apply_progress", "apply_complete", "apply_errored"):
                say(str(event.get("@message", ""))[:300])

        code, _, told = await self._run(words, within, hear)
        if code:
            raise self._failure(words[0], problems, told)

    async def _run(self, words: list[str], within: Seconds, hear: Callable[[bytes], None]) -> tuple[int, Path, str]:
        self._runs += 1
        out, told = (self._scratch / f"{self._runs}.{name}" for name in ("out", "err"))
        self._running = process = self._start(words, out, told)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        try:
            with out.open("rb") as file:
                rest = b""
                while True:
                    code = process.poll()
                    *lines, rest = (rest + file.read()).split(b"\n")
                    for line in lines:
                        hear(line)
                    if code is not None:
                        return code, out, told.read_text("utf-8", "replace")[-20_000:]
                    if loop.time() > deadline:
                        await self._end(process, words[0], within)
                    await asyncio.sleep(POLL)
        finally:
            # Cancelled: an apply is asked to stop and left to itself; all others change nothing, and are ended.
            if process.poll() is None:
                process.send_signal(signal.SIGINT if words[0] == "apply" else signal.SIGKILL)
                threading.Thread(target=process.wait, daemon=True).start()  # reaped, where we are still here
            self._running = None

    def _start(self, words: list[str], out: Path, told: Path) -> subprocess.Popen[bytes]:
        try:
            with out.open("wb") as to_out, told.open("wb") as to_told:
                return subprocess.Popen(
                    [self._program, f"-chdir={self._folder}", *words],
                    env=self._environ, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_told, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise Refused(f"{self._program} cannot be run: {error.strerror}", hint="install terraform") from None

    async def _end(self, process: subprocess.Popen[bytes], word: str, within: Seconds) -> None:
        """Past the deadline: SIGINT, time to write the state, then SIGKILL."""
        self.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE
        while process.poll() is None and loop.time() < deadline:  # noqa: ASYNC110 - a process of another session
            await asyncio.sleep(POLL)
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        raise NoAnswer(
            f"{self._name} {word} did not end within {within:g} s, and was stopped",
            hint=f"look first: {self._name} -chdir={self._folder.name} plan   (a lock may be left: force-unlock)",
            where=self._folder.name,
        )

    def _failure(self, word: str, problems: list[Diagnostic], told: str) -> Exception:
        command = f"{self._name} -chdir={self._folder.name}"
        if self._stopped:
            return Unavailable(
                f"{self._name} {word} was stopped; what was begun is finished and in the state",
                hint=f"go on: celadon infra apply · look: {command} plan",
            )
        first = problems[0] if problems else Diagnostic(first_error(told), "", "")
        where = f"{first.address}: " if first.address else ""
        details = [line for problem in problems for line in _lines(problem)][:40]
        text = f"{self._name} {word}: {where}{first.summary}"
        summaries = " ".join(problem.summary for problem in problems)
        if "stale" in summaries:
            hint = "the state changed since it was planned: run celadon infra apply again"
            return Refused(text, hint=hint, details=details, where=self._folder.name)
        if any(UNREADABLE in problem.summary + problem.detail for problem in problems):
            # Terraform reads the state when it locks it, and then calls this a lock that could not be had.
            text = f"{self._name} {word}: the state cannot be read: {UNREADABLE.lower()}"
            hint = f"bring back an earlier one: {STATE}.backup in {self._folder.name}, or the bucket's last version"
            return Refused(text, hint=hint, details=details, where=self._folder.name)
        if "state lock" in summaries:
            return Unavailable(text, hint="somebody else applies: wait, then run it again", details=details)
        if any(word in summaries for word in ("plugin", "provider", "Module not installed", "Backend initialization")):
            return Refused(text, hint=f"{command} init", details=details, where=self._folder.name)
        if word == "apply":
            return NoAnswer(
                text,
                hint="what was made is in the state: mend it, then run it again",
                details=details,
                where=self._folder.name,
            )
        return Refused(text, hint=f"{command} plan", details=details, where=self._folder.name)


def program(environ: Mapping[str, str]) -> str:
    """`terraform`, or `tofu` where there is only that. Raises Refused where there is neither."""
    for name in ("terraform", "tofu"):
        if (found := shutil.which(name, path=environ.get("PATH"))) is not None:
            return found
    raise Refused("neither terraform nor tofu is on the PATH", hint="developer.hashicorp.com/terraform/install")


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}  # a provider may print anything; what matters comes as JSON
    return event if isinstance(event, dict) else {}


def _problem(event: Mapping[str, Any]) -> Diagnostic | None:
    found = event.get("diagnostic")
    if not isinstance(found, dict) or found.get("severity") != "error":
        return None
    summary, detail, address = (str(found.get(name) or "") for name in ("summary", "detail", "address"))
    return Diagnostic(summary, detail, address, _place(found))


def _place(found: Mapping[str, Any]) -> str:
    place = found.get("range")
    start = place.get("start") if isinstance(place, dict) else None
    if not isinstance(place, dict) or not isinstance(start, dict):
        return ""
    return f"{place.get('filename')}:{start.get('line')}"


def _lines(problem: Diagnostic) -> list[str]:
    where = [" ".join(part for part in ("on", problem.address, problem.place) if part)]
    where = where if where != ["on"] else []
    return [*where, *([] if problem.summary in problem.detail else [problem.summary]), *problem.detail.splitlines()]


def first_error(told: str) -> str:
    """Terraform's own first line of an error; warnings about its config file come before it."""
    lines = [line.strip("│╷╵ ") for line in told.splitlines()]
    errors = [line for line in lines if line.startswith("Error")]
    return (errors or [line for line in lines if line] or ["it failed and did not say why"])[0]
