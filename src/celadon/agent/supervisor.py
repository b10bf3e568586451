"""Keeps one replica running after the SSH session has ended. A program of its own: it is copied to the host as it is.

    python3 supervisor.py [--detach] DIRECTORY

The directory holds `spec.json` (what to run), and gets `state.json` (what runs), `log` and `log.1`. No value of the
application is in this program's arguments. It starts the command in a session of its own, starts it again with
growing pauses when it ends, and stops it when told: SIGTERM to this process. With a file `stop.json` there
(`{"grace": seconds}`) that is for good; without one (the machine goes down) the next boot starts it again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

FIRST_PAUSE = 0.1  # seconds, doubled up to LAST_PAUSE, as Docker does
LAST_PAUSE = 30.0
SETTLED = 60.0  # a run this long starts the pauses anew
LOG_BYTES = 5_000_000  # of each of the two files
LINE_BYTES = 16_384  # a longer line is cut in pieces
POLL = 0.05
DRAIN_WITHIN = 2.0  # a process that left the session may hold the pipe for ever
KEPT = ("HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR")


def process_start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: tells a process from a later one with its number. None: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def session_members(session: int) -> Iterator[int]:
    """Living processes of a session: the application and all it started, unless it left on purpose.

    Its leader comes first: who looks for what the leader has need not read about every process of the machine.
    """
    if _session_of(session) == session:
        yield session
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != session and _session_of(int(name)) == session:
            yield int(name)


def _session_of(pid: int) -> int | None:
    """None: it is gone, or only not waited for yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[3])


class Log:
    """The last lines of the replica's output, each with its time, in two files of bounded size."""

    def __init__(self, directory: Path, limit: int = LOG_BYTES) -> None:
        self._path = directory / "log"
        self._old = directory / "log.1"
        self._limit = limit
        self._lock = threading.Lock()
        self._file = self._open()

    def line(self, line: bytes) -> None:
        # A full disk must not stop the application: what cannot be written is lost, as the log is bounded anyway.
        with self._lock, contextlib.suppress(OSError):
            if self._file.tell() > self._limit:
                self._file.close()
                os.replace(str(self._path), str(self._old))
                self._file = self._open()
            self._file.write(b"%.3f %s\n" % (time.time(), line))

    def drain(self, source: BinaryIO) -> None:
        """Until the other end is closed by the last process that holds it."""
        while True:
            line = source.readline(LINE_BYTES)
            if not line:
                return
            self.line(line.rstrip(b"\r\n"))

    def _open(self) -> BinaryIO:
        descriptor = os.open(str(self._path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)


class Supervisor:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec: dict[str, Any] = json.loads((directory / "spec.json").read_bytes())
        self._log = Log(directory, int(self._spec.get("log_bytes", LOG_BYTES)))
        self._told: list[int] = []  # signals to stop
        self._child: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._exit_code: int | None = None
        self._drain: threading.Thread | None = None

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop_soon)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        pause = FIRST_PAUSE
        while not self._told:
            began = time.monotonic()
            self._start()
            self._wait()
            if self._told:
                break
            if time.monotonic() - began > SETTLED:
                pause = FIRST_PAUSE
            self._write("waiting")
            self._sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)
            if not self._told:
                self._restarts += 1
        self._write("stopped")

    def _stop_soon(self, number: int, _frame: object) -> None:
        # Without a lock, so no `threading.Event`: this interrupts the thread that waits for it and may hold its lock.
        self._told.append(number)

    def _sleep(self, seconds: float) -> None:
        """That long, or until told to stop."""
        end = time.monotonic() + seconds
        while not self._told and time.monotonic() < end:
            time.sleep(min(seconds, POLL))

    def _start(self) -> None:
        try:
            self._child = subprocess.Popen(
                self._spec["argv"],
                cwd=self._spec["cwd"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as problem:
            self._child = None
            self._exit_code = 126 if problem.errno == errno.EACCES else 127
            reason = "celadon: cannot start {}: {}".format(self._spec["argv"][0], problem.strerror)
            self._log.line(reason.encode("utf-8", "replace"))
            return
        self._drain = threading.Thread(target=self._log.drain, args=(self._child.stdout,), daemon=True)
        self._drain.start()
        self._write("running")

    def _environment(self) -> dict[str, str]:
        values = json.loads(Path(self._spec["env_file"]).read_bytes())
        return {**kept_environment(), **self._spec["defaults"], **values, **self._spec["env"]}

    def _wait(self) -> None:
        child = self._child
        if child is None:
            return
        while not _has_ended(child.pid):
            self._sleep(POLL)
            if self._told:
                self._stop(child.pid)
        # What its workers still hold (the port, above all) would keep the next start from listening.
        if not self._told:
            kill_group(child.pid)
        code = child.wait()
        self._exit_code = code if code >= 0 else 128 - code
        if self._drain is not None:
            self._drain.join(DRAIN_WITHIN)  # its last words come before the news of its end

    def _stop(self, child: int) -> None:
        """SIGTERM to the command itself; SIGKILL to all it started once the grace is over."""
        end = time.monotonic() + self._grace()
        self._write("stopping")
        os.kill(child, signal.SIGTERM)
        while time.monotonic() < end:
            if _has_ended(child) and not any(session_members(child)):
                return
            time.sleep(POLL)
        kill_group(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    def _grace(self) -> float:
        try:
            return float(json.loads((self._directory / "stop.json").read_bytes())["grace"])
        except FileNotFoundError:
            return float(self._spec["grace"])

    def _write(self, phase: str) -> None:
        child = self._child
        state = {
            "phase": phase,
            "supervisor": os.getpid(),
            "boot_id": boot_id(),
            "pid": child.pid if child else None,
            "id": f"{child.pid}-{self._born(child.pid)}" if child else None,
            "restarts": self._restarts,
            "exit_code": self._exit_code,
        }
        # On a full disk the news is old; keeping the application running matters more.
        with contextlib.suppress(OSError):
            replace_file(self._directory / "state.json", json.dumps(state).encode())

    def _born(self, pid: int) -> str:
        # Asked for once: a process that has ended has no start time any more, but keeps its name.
        if getattr(self, "_named", (None, ""))[0] != pid:
            self._named: tuple[int | None, str] = (pid, process_start(pid) or f"{time.monotonic_ns()}")
        return self._named[1]


def kept_environment() -> dict[str, str]:
    """What this process was given is not passed on, but for what tells a program whose machine it is on."""
    return {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("CELADON_")}


def _has_ended(child: int) -> bool:
    """It is not waited for: while it is a zombie, nobody else gets its number, and what it started can be signalled."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(leader: int) -> None:
    """End the command and all it started, those too that made a group of their own within the session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for pid in list(session_members(leader)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def replace_file(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".state.", dir=str(path.parent))
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(name, str(path))


def _private(path: str, flags: int) -> int:
    """As in `paths`, which this file, run on its own, does not have: what it makes is its user's alone."""
    return os.open(path, flags, 0o600)


def supervised(directory: Path) -> bool:
    """Whether a supervisor holds this directory."""
    with open(str(directory / "lock"), "ab", opener=_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def hold(lock: BinaryIO, within: float = 2.0) -> bool:
    """Take the directory for this process; False: another supervisor has it. Whoever only asks lets go at once."""
    end = time.monotonic() + within
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        else:
            return True


def detach(directory: Path) -> None:
    """Start a supervisor that belongs to nobody: what a boot script, or the agent, calls."""
    subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).resolve()), str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main() -> None:
    directory = Path(sys.argv[-1])
    if sys.argv[1] == "--detach":
        detach(directory)
        return
    with open(str(directory / "lock"), "ab", opener=_private) as lock:
        if hold(lock):
            Supervisor(directory).run()


if __name__ == "__main__":
    main()
