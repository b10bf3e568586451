"""Ctrl-C, SIGTERM and terminals: celadon as a process."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each a command as a process, and a rollout in it

DEADLINE = 60.0  # seconds: generous, the machine is shared
TOP = Path(__file__).parents[2]
DRIVER = ("-m", "tests.cli.driver")
INTERRUPTED_LATE = (
    "-c",
    "import os, signal; from tests.cli import driver; driver.main(); os.kill(os.getpid(), signal.SIGINT); print(1)",
)


@contextmanager
def celadon(
    root: Path, *words: str, stdin: int, stdout: int, stderr: int, program: tuple[str, ...] = DRIVER
) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    command = [sys.executable, *program, str(root), *words]
    with subprocess.Popen(command, cwd=TOP, env=environ, stdin=stdin, stdout=stdout, stderr=stderr) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def read_until(descriptor: int, wanted: str, seen: str = "") -> str:
    """What was printed up to the text, or the end of the stream."""
    give_up = time.monotonic() + DEADLINE
    while wanted not in seen:
        assert time.monotonic() < give_up, f"{wanted!r} did not come: {seen[-2000:]}"
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # a terminal's end
            return seen
        if not data:
            return seen
        seen += data.decode("utf-8", "replace")
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_driving_and_says_what_stays(tmp_path: Path, number: signal.Signals) -> None:
    pipe = subprocess.PIPE
    with celadon(tmp_path, "deploy", "v2", "--yes", stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        seen = read_until(process.stderr.fileno(), "bake: ")
        process.send_signal(number)
        seen = read_until(process.stderr.fileno(), "lease holder", seen)
        assert process.wait(DEADLINE) == 4
        assert "Stopped driving. Rollout 2 stays as it is: 100 % on v2" in seen
        assert "hint: go on: celadon resume · go back: celadon abort" in seen
        assert "lease holder: ''" in seen  # given back: nobody has to wait for it to lapse
        assert process.stdout.read() == b""


def test_a_terminal_gets_a_view_that_goes_and_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 40, 0, 0))
    try:
        with celadon(
            tmp_path, "deploy", "v2", "--yes", stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
        ) as process:
            seen = read_until(ours, "Ctrl-C stops driving")
            seen = read_until(ours, "bake ", seen)
            view = seen[seen.index("rollout 2") :]
            shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r") for line in view.split("\n")]
            assert max(len(line) for line in shown) <= 40
            assert any("green v2" in line and "100 %" in line for line in shown)
            process.send_signal(signal.SIGSTOP)  # both signals arrive before it can react to the first
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            rest = read_until(ours, "\x1b[?25h")
            assert process.wait(DEADLINE) == 4
            assert "lease holder" not in rest
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_question_on_a_terminal_is_asked_on_stderr_and_no_means_no(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with celadon(tmp_path, "deploy", "v2", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
            read_until(ours, "Deploy to app-nodebalancer (198.51.100.7)? [y/N] ")
            os.write(ours, b"n\n")
            seen = read_until(ours, "lease holder")
            assert process.wait(DEADLINE) == 2
            assert "Nothing was changed." in seen
            assert process.stdout is not None
            assert process.stdout.read() == b""
    finally:
        os.close(ours)
        os.close(theirs)


def test_ctrl_c_at_the_question_leaves_without_a_trace(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with celadon(tmp_path, "deploy", "v2", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
            read_until(ours, "[y/N] ")
            process.send_signal(signal.SIGINT)
            seen = read_until(ours, "lease holder: ''")
            assert process.wait(DEADLINE) == 4
            assert "Nothing was changed." in seen
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_second_signal_after_the_last_wait_is_no_traceback(tmp_path: Path) -> None:
    """What is obeyed already may still be on its way out when the next one comes."""
    with celadon(
        tmp_path, "deploy", "v2", "--yes", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        program=INTERRUPTED_LATE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stdout is not None
        seen = read_until(process.stderr.fileno(), "bake: ")
        process.send_signal(signal.SIGTERM)
        seen = read_until(process.stderr.fileno(), "lease holder", seen)
        assert process.wait(DEADLINE) == 4
        assert process.stdout.read() == b""
        assert b"Traceback" not in process.stderr.read()
