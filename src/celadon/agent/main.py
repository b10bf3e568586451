"""The agent's life: say hello, answer requests until the input ends, and leave nothing running.

Each request has a thread and two streams, so a look is answered while an image is pulled. What an operation does is
in `operations`; here are only frames, credit and the end.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from celadon.agent import leavings, processes, wire
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG

AT_ONCE = 64  # requests in work; a driver has a handful
Handler = Callable[[dict[str, Any], "Channel"], Any]


class Cancelled(Exception):
    """The deployer does not want the rest."""


class Channel:
    """The streams of one request, both against credit."""

    def __init__(self, request: int, send: Callable[[int, int, bytes], None]) -> None:
        self._request = request
        self._send = send
        self._incoming: queue.Queue[bytes] = queue.Queue()
        self._room = 0  # bytes the deployer may still send
        self._credit = wire.WINDOW  # bytes we may still send
        self._changed = threading.Condition()
        self._asked = False
        self.cancelled = threading.Event()

    def read(self) -> bytes:
        """The next piece of what the deployer sends; empty at its end. Nothing is sent before the first call."""
        if not self._asked:
            self._asked = True
            self._grant(wire.WINDOW)
        data = self._incoming.get()
        if self.cancelled.is_set():
            raise Cancelled
        if data:
            self._grant(len(data))
        return data

    def write(self, stream: int, data: bytes) -> None:
        """Blocks while the deployer reads slowly; raises `Cancelled` when it does not want more."""
        for start in range(0, len(data), wire.MAX_CHUNK):
            piece = data[start : start + wire.MAX_CHUNK]
            with self._changed:
                while self._credit < len(piece) and not self.cancelled.is_set():
                    self._changed.wait()
                if self.cancelled.is_set():
                    raise Cancelled
                self._credit -= len(piece)
            self._send(wire.CHUNK, self._request, bytes([stream]) + piece)

    def take(self, data: bytes) -> None:
        with self._changed:
            self._room -= len(data)
            if self._room < 0:
                raise wire.BadFrame("more data than was asked for")
        self._incoming.put(data)

    def end(self) -> None:
        self._incoming.put(b"")

    def credit(self, more: int) -> None:
        with self._changed:
            self._credit += more
            self._changed.notify_all()

    def cancel(self) -> None:
        self.cancelled.set()
        with self._changed:
            self._changed.notify_all()
        self._incoming.put(b"")

    def _grant(self, more: int) -> None:
        with self._changed:
            self._room += more
        self._send(wire.CREDIT, self._request, more.to_bytes(4, "big"))


class Agent:
    def __init__(self, source: BinaryIO, sink: BinaryIO, operations: Mapping[str, Handler]) -> None:
        self._source = source
        self._sink = sink
        self._operations = operations
        self._writing = threading.Lock()
        self._channels: dict[int, Channel] = {}
        self._channels_lock = threading.Lock()
        self.heard = time.monotonic()

    def serve(self) -> None:
        """Until the end of input, or a frame that is not one."""
        self._reply(0, {"ok": greeting()})
        while True:
            frame = wire.read_frame(self._source)
            if frame is None:
                return
            self.heard = time.monotonic()
            self._take(*frame)

    def _take(self, kind: int, request: int, payload: bytes) -> None:
        if kind == wire.PING:
            self._send(wire.PONG, 0, b"")
            return
        if kind == wire.REQUEST:
            self._begin(request, payload)
            return
        with self._channels_lock:
            channel = self._channels.get(request)
        if channel is None:
            return  # answered meanwhile
        if kind == wire.CHUNK:
            channel.take(payload[1:])
        elif kind == wire.END:
            channel.end()
        elif kind == wire.CREDIT:
            channel.credit(int.from_bytes(payload, "big"))
        elif kind == wire.CANCEL:
            channel.cancel()

    def _begin(self, request: int, payload: bytes) -> None:
        channel = Channel(request, self._send)
        with self._channels_lock:
            if request in self._channels:
                raise wire.BadFrame(f"request {request} is in work already")
            full = len(self._channels) >= AT_ONCE
            if not full:
                self._channels[request] = channel
        if full:
            self._reply(request, _error(AgentError(wire.UNAVAILABLE, f"the agent has {AT_ONCE} requests in work")))
            return
        threading.Thread(target=self._answer, args=(request, payload, channel), daemon=True).start()

    def _answer(self, request: int, payload: bytes, channel: Channel) -> None:
        reply = self._outcome(payload, channel)
        with self._channels_lock:
            del self._channels[request]
        self._reply(request, reply)

    def _outcome(self, payload: bytes, channel: Channel) -> dict[str, Any]:
        try:
            question = json.loads(payload)
            return {"ok": self._handler(question["op"])(question["args"], channel)}
        except AgentError as error:
            return _error(error)
        except Cancelled:
            return _error(AgentError(wire.UNAVAILABLE, "cancelled"))
        except OSError as error:
            return _error(AgentError(wire.UNAVAILABLE, _system(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the deployer must get an answer
            return _error(AgentError(BUG, f"the agent failed: {_place(error)}"))

    def _handler(self, op: str) -> Handler:
        try:
            return self._operations[op]
        except KeyError:
            raise AgentError(BUG, f"the agent has no operation {op!r:.40}") from None

    def _reply(self, request: int, reply: dict[str, Any]) -> None:
        payload = json.dumps(reply).encode("ascii")
        if len(payload) > wire.MAX_JSON:
            payload = json.dumps(_error(AgentError(BUG, f"an answer of {len(payload)} bytes"))).encode("ascii")
        self._send(wire.REPLY, request, payload)

    def _send(self, kind: int, request: int, payload: bytes) -> None:
        with self._writing:
            self._sink.write(wire.frame(kind, request, payload))
            self._sink.flush()


def greeting() -> dict[str, Any]:
    return {
        "protocol": wire.PROTOCOL,
        "python": platform.python_version(),
        "hostname": socket.gethostname(),
        "euid": os.geteuid(),
    }


def _error(error: AgentError) -> dict[str, Any]:
    return {
        "error": {"kind": error.kind, "message": error.message, "hint": error.hint, "details": error.details},
    }


def _system(error: OSError) -> str:
    name = f": {error.filename}" if isinstance(error.filename, str) else ""
    return (error.strerror or type(error).__name__) + name


def _place(error: Exception) -> str:
    """The kind of a failure and where, never its text: that could quote a value."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {os.path.basename(last.filename)}:{last.lineno}"


def _leave(agent: Agent) -> None:
    while time.monotonic() - agent.heard < wire.SILENCE:
        time.sleep(1)
    end()


def end() -> None:
    """At once: threads in the middle of a wait do not hold it up, and locks are released by the kernel.

    Only what a trial started is taken back first.
    """
    processes.end_all()
    leavings.undo_all()
    os._exit(0)


def main(source: BinaryIO | None = None) -> None:
    """Take over stdin and stdout; whatever else would print goes to stderr."""
    from celadon.agent import operations  # noqa: PLC0415 - operations import the Channel from here

    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sink.write(wire.MARKER)
    agent = Agent(source or sys.stdin.buffer, sink, operations.HANDLERS)
    threading.Thread(target=_leave, args=(agent,), daemon=True).start()
    try:
        agent.serve()
    except (wire.BadFrame, OSError) as problem:
        sys.stderr.write(f"celadon agent: {type(problem).__name__}\n")
    finally:
        end()
