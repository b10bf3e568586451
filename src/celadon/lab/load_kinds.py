"""The kinds of requests that a load is made of: what each sends, and what it takes for a right answer.

`Load` (`load.py`) says when. The application must answer these paths (each can be changed):

    new, keep   GET  /                          200; `keep` asks for keep-alive, and reuses what is kept
    post        POST /echo                      the body comes back
    slow        GET  /slow?seconds=3.2          200 after that long
    sse         GET  /events?count=8&every=0.25 that many events, then the end
    ws          GET  /ws                        each text message comes back; the client closes

No kind is sent twice: a client library would try a GET again when a kept connection closes under it; here that is a
failure, as it is for every client that does not.
"""

import asyncio
import os
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from celadon.core.errors import Refused
from celadon.core.release import Seconds
from celadon.lab.wire import CLOSE, LARGEST_HEAD, TEXT, Broken, Connection, Door, Head, close_code, websocket_key

MIX = {"new": 60, "keep": 20, "post": 10, "slow": 4, "sse": 3, "ws": 3}
PATHS = {
    "new": "/",
    "keep": "/",
    "post": "/echo",
    "slow": "/slow?seconds={seconds:.1f}",
    "sse": "/events?count={count}&every={every}",
    "ws": "/ws",
}
STREAMS = frozenset({"sse", "ws"})


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and how long to wait for it."""

    url: str
    rate: float = 200.0  # requests a second, of all kinds together
    seconds: Seconds = 60.0  # no request is due later
    count: int = 10_000_000  # nor after so many
    mix: dict[str, int] = msgspec.field(default_factory=lambda: dict(MIX))
    paths: dict[str, str] = {}
    slow: tuple[Seconds, Seconds] = (2.0, 5.0)
    stream: tuple[int, Seconds] = (8, 0.25)  # events or messages, and the time between two
    deadline: Seconds = 15.0  # for an answer, beyond the time that was asked for
    release_header: str = "x-release"
    release_pattern: str = ""  # looked for in bodies where the header is missing; its first group names the release
    most_in_flight: int = 4000
    most_idle: int = 20  # connections that `keep` holds
    seed: int = 1

    def __post_init__(self) -> None:
        if (self.mix.keys() | self.paths.keys()) - MIX.keys() or self.rate <= 0 or not any(self.mix.values()):
            raise Refused(f"a load of {self.rate:g}/s of {self.mix}", hint=f"kinds are {', '.join(MIX)}")


class Cut(Exception):
    """A stream that had begun ended early."""

    def __init__(self, reason: str, who: str | None) -> None:
        super().__init__(reason)
        self.who = who


class Wrong(Exception):
    """A whole answer, and not the right one."""

    def __init__(self, reason: str, who: str | None) -> None:
        super().__init__(reason)
        self.who = who


class Kinds:
    """Sends one request of a kind; returns once it is answered rightly, else raises Wrong, Cut, Broken or OSError."""

    def __init__(self, plan: Plan, door: Door) -> None:
        self._plan: Final = plan
        self._door: Final = door
        self._paths: Final = PATHS | plan.paths
        self._pattern: Final = re.compile(plan.release_pattern.encode()) if plan.release_pattern else None
        self._dice: Final = random.Random(plan.seed)  # noqa: S311 - a reproducible load, not a secret
        self._idle: Final[list[Connection]] = []
        self._senders: Final[Mapping[str, Callable[[str], Awaitable[tuple[str | None, bytes]]]]] = {
            "new": self._new,
            "keep": self._keep,
            "post": self._post,
            "slow": self._new,
            "sse": self._sse,
            "ws": self._ws,
        }

    def asked_for(self, kind: str) -> tuple[str, Seconds]:
        """The path, and how long the answer is meant to take."""
        count, every = self._plan.stream
        seconds = self._dice.uniform(*self._plan.slow)
        path = self._paths[kind].format(seconds=seconds, count=count, every=every)
        return path, seconds if kind == "slow" else count * every if kind in STREAMS else 0.0

    async def send(self, kind: str, path: str) -> str:
        """Who served it, as the application calls itself; empty where it did not say."""
        who, body = await self._senders[kind](path)
        return who or self._named_in(body)

    def close(self) -> None:
        """Let go of the connections that `keep` holds."""
        while self._idle:
            self._idle.pop().close()

    async def _new(self, path: str) -> tuple[str | None, bytes]:
        connection = await self._open()
        try:
            connection.send(self._request("GET", path, "close"))
            head, body = await self._answer(connection)
        finally:
            connection.close()
        return self._who(head), body

    async def _keep(self, path: str) -> tuple[str | None, bytes]:
        connection = None
        while self._idle and connection is None:
            candidate = self._idle.pop()
            if candidate.usable:
                connection = candidate
            else:
                candidate.close()
        reused, kept = connection is not None, False
        connection = connection or await self._open()
        try:
            connection.send(self._request("GET", path, "keep-alive"))
            head, body = await self._reused_answer(connection) if reused else await self._answer(connection)
            kept = head.keeps_alive and len(self._idle) < self._plan.most_idle
        finally:
            if kept:
                self._idle.append(connection)
            else:
                connection.close()
        return self._who(head), body

    async def _post(self, path: str) -> tuple[str | None, bytes]:
        content = os.urandom(256).hex().encode()
        connection = await self._open()
        try:
            extra = f"Content-Type: text/plain\r\nContent-Length: {len(content)}\r\n"
            connection.send(self._request("POST", path, "close", extra) + content)
            head, body = await self._answer(connection)
        finally:
            connection.close()
        if content not in body:
            raise Wrong(f"the body did not come back: {len(body)} bytes did", self._who(head))
        return self._who(head), body

    async def _sse(self, path: str) -> tuple[str | None, bytes]:
        connection = await self._open()
        wanted, events, tail = self._plan.stream[0], 0, b""
        try:
            connection.send(self._request("GET", path, "close", "Accept: text/event-stream\r\n"))
            head = await connection.head()
            self._good_status(head)
            try:
                async for chunk in connection.chunks(head):
                    tail += chunk
                    *lines, tail = tail.replace(b"\r\n", b"\n").split(b"\n")
                    _bounded(tail)
                    events += sum(line.startswith(b"data:") for line in lines)
            except (Broken, OSError) as error:
                raise Cut(f"after {events} of {wanted} events: {error}", self._who(head)) from None
        finally:
            connection.close()
        if events != wanted:
            raise Cut(f"ended after {events} of {wanted} events", self._who(head))
        return self._who(head), b""

    async def _ws(self, path: str) -> tuple[str | None, bytes]:
        key, accept = websocket_key()
        extra = f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        connection = await self._open()
        wanted, every = self._plan.stream
        done = 0
        try:
            connection.send(self._request("GET", path, "Upgrade", extra))
            head = await connection.head()
            who = self._who(head)
            if head.status != 101 or head.headers.get("sec-websocket-accept") != accept:
                raise Wrong(f"no WebSocket: status {head.status}", who)
            try:
                for done in range(wanted):
                    message = f"{key} {done}".encode()
                    connection.send_frame(TEXT, message)
                    await _echoed(connection, message)
                    await asyncio.sleep(every)
                done = wanted
                connection.send_frame(CLOSE, (1000).to_bytes(2, "big"))
                while (await connection.frame())[0] != CLOSE:
                    pass
            except (Broken, OSError) as error:
                raise Cut(f"after {done} of {wanted} messages: {error}", who) from None
        finally:
            connection.close()
        return who, b""

    async def _open(self) -> Connection:
        return await Connection.open(self._door)

    def _request(self, method: str, path: str, connection: str, extra: str = "") -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._door.host}\r\nConnection: {connection}\r\n{extra}\r\n".encode()
        )

    async def _reused_answer(self, connection: Connection) -> tuple[Head, bytes]:
        try:
            return await self._answer(connection)
        except (Broken, OSError) as error:
            raise Broken(f"on a kept connection: {error}") from None

    async def _answer(self, connection: Connection) -> tuple[Head, bytes]:
        head = await connection.head()
        body = await connection.body(head)
        self._good_status(head)
        return head, body

    def _good_status(self, head: Head) -> None:
        if not 200 <= head.status < 400:
            raise Wrong(f"status {head.status}", self._who(head))

    def _who(self, head: Head) -> str | None:
        return head.headers.get(self._plan.release_header)

    def _named_in(self, body: bytes) -> str:
        if self._pattern is None or (found := self._pattern.search(body)) is None:
            return ""
        return found.group(1 if self._pattern.groups else 0).decode("utf-8", "replace")


def _bounded(tail: bytes) -> None:
    if len(tail) > LARGEST_HEAD:
        raise Broken("a line of events without end")


async def _echoed(connection: Connection, message: bytes) -> None:
    opcode, content = await connection.frame()
    if opcode == CLOSE:
        raise Broken(f"the server closed with code {close_code(content)}")
    if content != message:
        raise Broken("another message came back")
