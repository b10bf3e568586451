"""Processes of the lab, named so that a later lab can find them again and can never end a stranger.

A pid alone names nothing: numbers are used again. A pid with its start time does. Where a process must be found
without a pid it carries a marker in its environment, which its children inherit.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True):
    """One process for certain: `started` is its start in clock ticks since boot (field 22 of /proc/PID/stat)."""

    pid: int
    started: int


class Seen(msgspec.Struct, frozen=True):
    """A living process and where it stands in the family tree."""

    process: Process
    parent: int
    session: int


def look(pid: int) -> Seen | None:
    """The living process with this pid; None when there is none, or only its exit status is left (a zombie)."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name stands in brackets and may hold brackets and spaces itself: what counts follows the last one.
    fields = stat.rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Seen(Process(pid, int(fields[19])), parent=int(fields[1]), session=int(fields[3]))


def everyone() -> Iterator[Seen]:
    """All living processes of the machine, this one left out."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and (seen := look(int(entry.name))):
            yield seen


def marked(process: Process, marker: bytes) -> bool:
    """Whether `NAME=value` is in the environment it started with. False where we may not read it: not ours."""
    try:
        environment = (PROC / str(process.pid) / "environ").read_bytes()
    except OSError:
        return False
    return marker in environment.split(b"\0")


def belonging(marker: str, sessions: Iterable[Process] = ()) -> tuple[Process, ...]:
    """Every process that carries the marker, lives in one of the sessions, or descends from one of these.

    The marker alone would miss a program that writes over its environment (as those that set their title do);
    its session and its parents still tell. `sessions` are the processes that opened them.
    """
    seen = tuple(everyone())
    alive = {who.process.pid: who.process for who in seen}
    # A session outlives its leader, and while it does the kernel does not give the leader's number away.
    leaders = {leader.pid for leader in sessions if alive.get(leader.pid, leader) == leader}
    mine = {who.process.pid for who in seen if who.session in leaders or marked(who.process, marker.encode())}
    while more := {who.process.pid for who in seen if who.parent in mine} - mine:
        mine |= more
    return tuple(alive[pid] for pid in sorted(mine))


def send(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens when it has ended, whoever has its number now."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # Checked after the handle is open: from here on the number cannot come to mean another process.
        if (seen := look(process.pid)) and seen.process == process:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def gone(process: Process) -> bool:
    seen = look(process.pid)
    return seen is None or seen.process != process


def end_now(process: Process, *, within_seconds: float = 5) -> None:
    """SIGKILL and wait until it is gone. Raises `TimeoutError` when the kernel does not let go of it."""
    send(process, signal.SIGKILL)
    deadline = time.monotonic() + within_seconds
    while not gone(process):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process.pid} did not end {within_seconds} s after SIGKILL")
        time.sleep(0.01)


def write_pidfile(path: Path, pid: int) -> None:
    """Remember a process across our own death. Nothing is written when it has ended already."""
    if seen := look(pid):
        path.write_bytes(msgspec.json.encode(seen.process))


def end_from_pidfile(path: Path) -> None:
    """End the process that a dead lab left, if it is still that one, and remove the file."""
    with contextlib.suppress(msgspec.MsgspecError):  # cut off while written: its writer died with the child
        end_now(msgspec.json.decode(path.read_bytes(), type=Process))
    path.unlink()
