"""Folders that are their maker's while it lives. What a killed one left is found by a lock that nobody holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from celadon.agent import paths

LOCK = "lock"
UNBORN = 60.0  # seconds after which a folder without a lock is nobody's: its maker was killed before it came to it


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locked while the block lasts. The lock is there only when it is held: a sweep finds none, or a held one."""
    with open(str(folder / f"{LOCK}.new"), "ab", opener=paths.private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (folder / f"{LOCK}.new").rename(folder / LOCK)
        yield


def left_in(root: Path, pattern: str = "*") -> Iterator[Path]:
    """Our folders whose makers are gone. Each is locked until the next one is asked for."""
    for folder in root.glob(pattern):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:  # taken away, or held by its maker
            if _is_ours(folder) and (_is_unborn(folder) or stack.enter_context(_locked(folder))):
                yield folder


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _is_unborn(folder: Path) -> bool:
    return not (folder / LOCK).exists() and time.time() - folder.stat().st_mtime > UNBORN


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """OSError where there is no lock, or somebody has it."""
    descriptor = os.open(str(folder / LOCK), os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    finally:
        os.close(descriptor)
