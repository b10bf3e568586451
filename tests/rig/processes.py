"""Processes of the rig: started so that none outlives the session, ended by their own handle."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000
T = TypeVar("T")


def ends_with_us(command: Sequence[object], signal_name: str = "TERM") -> list[str]:
    """The command, so wrapped that the kernel signals it when the thread that started it (pytest's main) is gone."""
    return ["setpriv", "--pdeathsig", signal_name, *(str(word) for word in command)]


def stop(process: "subprocess.Popen[bytes]", how: signal.Signals, patience: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(how)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def in_namespace(pid: int, work: Callable[[], T]) -> T:
    """`work` done by a thread inside another process's network namespace. Sockets made there stay of there."""
    result: list[T] = []
    problem: list[BaseException] = []

    def go() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(namespace, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(namespace)
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            problem.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
