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
    stopped: bool  # by SIGSTOP or a debugger


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
    return Seen(
        Process(pid, int(fields[19])),
        parent=int(fields[1]),
        session=int(fields[3]),
        stopped=fields[0] in (b"T", b"t"),
    )


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


def belonging(marker: str, known: Iterable[Process] = ()) -> tuple[Process, ...]:
    """Every process that carries the marker or is known, shares their sessions, or descends from one of these.

    The marker alone would miss a program that writes over its environment (as those that set their title do);
    its session and its parents still tell. A session with a living leader that is not ours is a stranger's: then
    its members count by themselves only.
    """
    seen = {who.process.pid: who for who in everyone()}
    mine = {pid for pid, who in seen.items() if marked(who.process, marker.encode())}
    mine |= {process.pid for process in known if process.pid in seen and seen[process.pid].process == process}
    while True:
        sessions = {s for pid in mine if (s := seen[pid].session) in mine or s not in seen}
        more = {pid for pid, who in seen.items() if who.parent in mine or who.session in sessions} - mine
        if not more:
            return tuple(seen[pid].process for pid in sorted(mine))
        mine |= more


def members(session: int) -> tuple[Process, ...]:
    """The living processes of a session."""
    return tuple(who.process for who in everyone() if who.session == session)


def left_behind(session: int) -> tuple[Process, ...]:
    """The members of a session whose leader was waited for. Only when there are none can its number be used again."""
    found = members(session)
    return () if any(process.pid == session for process in found) else found


def end_all(marker: str, *, within_seconds: float = 10) -> None:
    """SIGKILL all that belong to the marker until none is left: what they start meanwhile belongs to it too."""
    deadline = time.monotonic() + within_seconds
    while found := belonging(marker):
        for process in found:
            send(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} processes of {marker} outlive SIGKILL")
        time.sleep(0.01)


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
