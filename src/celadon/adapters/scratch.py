"""A private folder for as long as one command runs. What a killed command could not remove, the next one does."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "celadon-scratch-"
LOCK = "lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """Nobody else can read it, and it goes with the block: archives, and Terraform's plans, which hold secrets.

    While its maker lives it is locked, and the kernel frees the lock of who was killed.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        descriptor, unnamed = tempfile.mkstemp(dir=folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            Path(unnamed).rename(folder / LOCK)  # never there without being held: a sweep sees none, or ours
            yield folder
        finally:
            os.close(descriptor)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another command is quicker, or it is not ours to judge
            if _is_ours(folder):
                _remove_if_free(folder)


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove_if_free(folder: Path) -> None:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
