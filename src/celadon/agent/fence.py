"""The fence of an app on this host: a number that only grows. An effect with a smaller one is refused.

Effects hold the app's lock shared, for as long as they act; raising holds it alone. So once `raise_to` has answered,
no effect of an older driver is under way and none will begin.

A fence's high bits are its epoch: a home that was lost and replaced begins a new one (`core/home.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import LEASE_LOST, NOT_HOME, UNAVAILABLE

RAISE_WITHIN = 90.0  # seconds: longer than the longest usual stop
POLL = 0.02
EPOCH = 1 << 32  # fences of one epoch; a test compares it with `core.home`


def read(app: str) -> int:
    """The largest fence seen; 0 before the first."""
    text = _file(app).read_bytes() if _file(app).exists() else b"0"
    return int(text)


def check(app: str, fence: int) -> None:
    seen = read(app)
    if epoch_of(fence) < epoch_of(seen):
        home = (told(app) or {}).get("home")
        message = f"{app}: the home was replaced: epoch {epoch_of(seen)} began, this deployer is of {epoch_of(fence)}"
        hint = f'celadon.toml: hosts.home = "{home}"' if home else "celadon.toml: hosts.home is not the home any more"
        raise AgentError(NOT_HOME, message, hint)
    if fence < seen:
        raise AgentError(LEASE_LOST, f"{app}: another driver has taken over (fence {seen}, ours is {fence})")


@contextlib.contextmanager
def effect(app: str, fence: int) -> Iterator[None]:
    """Around everything that changes this host. A larger fence than any seen is raised first."""
    if fence > read(app):
        raise_to(app, fence)
    with paths.locked(_lock(app), shared=True):
        check(app, fence)
        yield


def raise_to(app: str, fence: int, within: float = RAISE_WITHIN) -> None:
    paths.make_dir(paths.app_dir(app))
    end = time.monotonic() + within
    with open(str(_lock(app)), "ab", opener=paths.private) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check(app, fence)  # no use waiting behind somebody newer
                if time.monotonic() > end:
                    message = f"{app}: an effect of an older driver is still under way after {within:g} s"
                    raise AgentError(UNAVAILABLE, message, "run it again") from None
                time.sleep(POLL)
        check(app, fence)
        if fence > read(app):
            paths.write_atomically(_file(app), b"%d" % fence)


def epoch_of(fence: int) -> int:
    return fence // EPOCH + 1


def told(app: str) -> dict[str, Any] | None:
    """The newest home that this host was told of: epoch, move, home."""
    value = paths.read_json(told_file(app))
    return None if value is None else dict(value)


def told_file(app: str) -> Path:
    return paths.app_dir(app) / "told.json"


def _file(app: str) -> Path:
    return paths.app_dir(app) / "fence"


def _lock(app: str) -> Path:
    return paths.app_dir(app) / "lock"
