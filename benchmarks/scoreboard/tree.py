"""Families of processes: a deployer is all that it started on its own side, whatever session that is in by now."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and all its descendants, itself first."""
    found = [pid]
    for each in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            tasks = list(Path(f"/proc/{each}/task").iterdir())
            for task in tasks:
                with contextlib.suppress(OSError):
                    found += [int(word) for word in (task / "children").read_text().split()]
    return found


def end(pids: Iterable[int], number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
