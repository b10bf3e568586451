"""Commands that a person asks for on a host (`celadon exec`): a list of words, its streams passed through."""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from typing import Any

from celadon.agent import paths, processes, runtimes, settings
from celadon.agent.errors import AgentError
from celadon.agent.main import Cancelled, Channel
from celadon.agent.wire import REFUSED, STDERR, STDOUT

PIECE = 32 << 10
POLL = 0.02
LINGER = 2.0  # seconds


def run(args: dict[str, Any], channel: Channel) -> dict[str, int]:
    """{"exit": code}. With a release: in its directory and environment, or inside its container."""
    argv = [str(word) for word in args["argv"]]
    if not argv:
        raise AgentError(REFUSED, "no command was given")
    where = _where(args, argv)
    if args.get("tty"):
        return {"exit": _in_terminal(where, args["tty"], channel)}
    return {"exit": _piped(where, channel)}


def _where(args: dict[str, Any], argv: list[str]) -> dict[str, Any]:
    release_id = args.get("release")
    if release_id is None:
        return {"argv": argv, "cwd": os.path.expanduser("~"), "env": dict(os.environ)}
    app, slot = paths.app_name(args["app"]), args["slot"]
    if settings.release(app, release_id).get("runtime") == "docker":
        name = paths.replica_name(app, release_id, slot["host"], slot["port"])
        flags = ["--interactive", "--tty"] if args.get("tty") else ["--interactive"]
        return {"argv": ["docker", "exec", *flags, name, *argv], "cwd": "/", "env": dict(os.environ)}
    return {"argv": argv, **runtimes.for_name("venv").execution(app, release_id)}


def _piped(where: dict[str, Any], channel: Channel) -> int:
    child = _start(where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _Feed(child.stdin, channel).start()
    return _finish(child, [_Pump(child.stdout, STDOUT, channel), _Pump(child.stderr, STDERR, channel)], channel)


def _in_terminal(where: dict[str, Any], size: list[int], channel: Channel) -> int:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", int(size[0]), int(size[1]), 0, 0))
    where["env"]["TERM"] = "xterm-256color"

    def control() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        try:
            child = _start(where, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=control)
        finally:
            os.close(theirs)
        _Feed(terminal, channel).start()
        return _finish(child, [_Pump(terminal, STDOUT, channel)], channel)


def _start(where: dict[str, Any], **streams: Any) -> subprocess.Popen[bytes]:
    try:
        child = subprocess.Popen(where["argv"], cwd=where["cwd"], env=where["env"], start_new_session=True, **streams)
    except OSError as problem:
        raise AgentError(REFUSED, f"cannot run {where['argv'][0]!r:.80}: {problem.strerror}") from None
    processes.remember(child.pid)
    return child


def _finish(child: subprocess.Popen[bytes], pumps: list[_Pump], channel: Channel) -> int:
    """The exit code once all output is sent; the deployer's going away ends the command."""
    for pump in pumps:
        pump.start()
    try:
        while child.poll() is None or any(pump.has_more() for pump in pumps):
            if channel.cancelled.wait(POLL):
                raise Cancelled
    finally:
        channel.end()
        processes.end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


class _Pump(threading.Thread):
    """From the command to the deployer."""

    def __init__(self, source: Any, stream: int, channel: Channel) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._stream = stream
        self._channel = channel
        self._waits_since = time.monotonic()  # infinity while something is on its way

    def has_more(self) -> bool:
        """A daemon that the command left may hold its output open for ever: then silence is the end."""
        return self.is_alive() and time.monotonic() - self._waits_since < LINGER

    def run(self) -> None:
        # The end of a terminal is an error (EIO); a file that was closed meanwhile, a ValueError.
        with contextlib.suppress(Cancelled, OSError, ValueError):
            while True:
                self._waits_since = time.monotonic()
                data = os.read(self._source.fileno(), PIECE)
                self._waits_since = math.inf
                if not data:
                    return
                self._channel.write(self._stream, data)


class _Feed(threading.Thread):
    """From the deployer to the command."""

    def __init__(self, target: Any, channel: Channel) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._channel = channel

    def run(self) -> None:
        with contextlib.suppress(Cancelled, OSError, ValueError):  # the command may stop reading, or end
            data = self._channel.read()
            while data:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._target.fileno(), view) :]
                data = self._channel.read()
        if isinstance(self._target, io.BufferedWriter):  # a pipe's end is the end of input; a terminal's is not
            with contextlib.suppress(OSError):
                self._target.close()
