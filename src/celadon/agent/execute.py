"""Commands that a person asks for on a host (`celadon exec`): a list of words, its streams passed through."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from typing import Any

from celadon.agent import paths, processes, runtimes, settings
from celadon.agent.errors import AgentError
from celadon.agent.main import Cancelled, Channel
from celadon.agent.wire import REFUSED, STDERR, STDOUT

PIECE = 32 << 10


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
    pipe = subprocess.PIPE
    child = _start(where, stdin=pipe, stdout=pipe, stderr=pipe)
    threading.Thread(target=_feed, args=(child.stdin.fileno(), child.stdin, channel), daemon=True).start()  # type: ignore[union-attr]
    pumps = [
        threading.Thread(target=_pump, args=(source.fileno(), stream, channel), daemon=True)
        for source, stream in ((child.stdout, STDOUT), (child.stderr, STDERR))
        if source is not None
    ]
    for pump in pumps:
        pump.start()
    return _finish(child, pumps, channel)


def _in_terminal(where: dict[str, Any], size: list[int], channel: Channel) -> int:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", int(size[0]), int(size[1]), 0, 0))
    where["env"]["TERM"] = "xterm-256color"

    def control() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = _start(where, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=control)
    os.close(theirs)
    threading.Thread(target=_feed, args=(ours, None, channel), daemon=True).start()
    pump = threading.Thread(target=_pump, args=(ours, STDOUT, channel), daemon=True)
    pump.start()
    try:
        return _finish(child, [pump], channel)
    finally:
        os.close(ours)


def _start(where: dict[str, Any], **streams: Any) -> subprocess.Popen[bytes]:
    try:
        child = subprocess.Popen(where["argv"], cwd=where["cwd"], env=where["env"], start_new_session=True, **streams)
    except OSError as problem:
        raise AgentError(REFUSED, f"cannot run {where['argv'][0]!r:.80}: {problem.strerror}") from None
    processes.remember(child.pid)
    return child


def _finish(child: subprocess.Popen[bytes], pumps: list[threading.Thread], channel: Channel) -> int:
    """The exit code once all output is sent; the deployer's going away ends the command."""
    while True:
        try:
            code = child.wait(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            if channel.cancelled.is_set():
                processes.end(child)
                raise Cancelled from None
    for pump in pumps:
        pump.join(5)  # a daemon it started may hold the pipe for ever
    processes.end(child)
    return code if code >= 0 else 128 - code


def _pump(source: int, stream: int, channel: Channel) -> None:
    with contextlib.suppress(Cancelled, OSError):  # a terminal's end is an error (EIO)
        data = os.read(source, PIECE)
        while data:
            channel.write(stream, data)
            data = os.read(source, PIECE)


def _feed(target: int, file: Any | None, channel: Channel) -> None:
    with contextlib.suppress(Cancelled, OSError):  # the command may stop reading, or end
        data = channel.read()
        while data:
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            data = channel.read()
    if file is not None:
        with contextlib.suppress(OSError):
            file.close()
