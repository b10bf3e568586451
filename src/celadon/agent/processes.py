"""Programs that the agent runs for itself. They take lists, never a shell, and none outlives the agent."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading

from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED, UNAVAILABLE

_lock = threading.Lock()
_groups: set[int] = set()
_LOGIN = re.compile(r"://[^/@\s]+@")
TAIL = 30  # lines of a failed program's output in the error


class ProgramFailed(AgentError):
    """`details`: the last lines that it wrote."""


def run(argv: list[str], *, cwd: str, seconds: float, env: dict[str, str] | None = None) -> str:
    """Its output. Raises `ProgramFailed` with the last lines when it fails, `unavailable` when it takes too long."""
    name = os.path.basename(argv[0])
    try:
        child = start(argv, cwd=cwd, env=env)
    except OSError as problem:
        raise AgentError(REFUSED, f"cannot run {name}: {problem.strerror}") from None
    try:
        output, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AgentError(UNAVAILABLE, f"{name} did not end within {seconds:g} s") from None
    finally:
        end(child)
    text = output.decode("utf-8", "replace")
    if child.returncode:
        message = f"{name} failed (exit {child.returncode})"
        raise ProgramFailed(REFUSED, message, details=_without_logins(text).splitlines()[-TAIL:])
    return text


def start(argv: list[str], *, cwd: str, env: dict[str, str] | None) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    remember(child.pid)
    return child


def remember(group: int) -> None:
    """This process group ends with the agent."""
    with _lock:
        _groups.add(group)


def end(child: subprocess.Popen[bytes]) -> None:
    """Its group is gone when this returns."""
    _kill(child.pid)
    child.wait()
    if child.stdout:
        child.stdout.close()
    with _lock:
        _groups.discard(child.pid)


def _without_logins(text: str) -> str:
    """An installer quotes the index it asked, with the password in its address."""
    return _LOGIN.sub("://***@", text)


def end_all() -> None:
    """When the deployer has gone: nothing of ours goes on without it."""
    with _lock:
        for group in _groups:
            _kill(group)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
