"""One agent on one host, spoken to over the streams of one SSH session: requests by number, several at a time.

Nothing here knows what an operation does, nor SSH. Whatever arrives is bounded and checked: a host may be hostile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol

import msgspec

from celadon.adapters.http import quoted
from celadon.agent import wire
from celadon.core import foreign
from celadon.core.errors import Bug, CeladonError, LeaseLost, NoAnswer, NotHome, Refused, Unavailable
from celadon.core.release import Seconds

Take = Callable[[int, bytes], Awaitable[None]]
"""Called with (stream, data) for what an operation writes; the next piece comes when it has returned."""

NOISE = 64 << 10  # bytes that a login shell's start-up files may print before the agent speaks
DETAILS = 100  # lines of an error's details that are kept
LARGEST_FAILURE = 256 << 10  # bytes of a whole error; a longer one makes no sense, as it is cut off
LONGEST = 1000  # characters of one of its texts

Word = Annotated[str, msgspec.Meta(max_length=256)]


class Heartbeat(msgspec.Struct, frozen=True):
    """A ping every `every` seconds; a link on which nothing arrived for `silence` is lost."""

    every: Seconds = 4.0
    silence: Seconds = 10.0  # with `every`, noticed within 15 s


class Call(msgspec.Struct, frozen=True):
    """One request. `body` is sent only as far as the agent reads it; `take` gets what it writes."""

    op: str
    args: Mapping[str, Any]
    answer: Any = None  # the type of its value
    within: Seconds = 20.0
    body: AsyncIterable[bytes] | None = None
    take: Take | None = None


class Reader(Protocol):
    async def readexactly(self, n: int) -> bytes: ...


class Writer(Protocol):
    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class Greeting(msgspec.Struct, frozen=True):
    protocol: int
    python: Word
    hostname: Word
    euid: int


class _Failure(msgspec.Struct, frozen=True):
    kind: str
    message: str
    hint: str | None = None
    details: list[str] = []


class _Reply(msgspec.Struct, frozen=True):
    ok: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct, frozen=True):
    op: str
    args: Mapping[str, Any]


def advice(text: str | None) -> str | None:
    """What a host proposes that a person do there. Commands of ours are never a host's to propose.

    A hint's commands are also offered to machines (`next` of --json), which would run them here.
    """
    return None if not text or "celadon " in text else quoted(text, LONGEST)


class LinkLost(Exception):
    """The link ended, and why."""


class _Pending:
    """One request that waits for its reply, with its two streams."""

    def __init__(self, reply: asyncio.Future[bytes], *, takes: bool) -> None:
        self.reply = reply
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.room = wire.WINDOW if takes else 0  # bytes that the agent may still send
        self.credit = 0  # bytes that we may still send
        self.granted = asyncio.Event()


class AgentLink:
    """`name` is the host's, for errors. Use `open` to get one."""

    def __init__(self, name: str, reader: Reader, writer: Writer, heartbeat: Heartbeat) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer
        self._heartbeat = heartbeat
        self._pending: dict[int, _Pending] = {}
        self._last = 0
        self._pinged = 0  # pings that were not answered yet
        self._heard = asyncio.get_running_loop().time()
        self._tasks: list[asyncio.Task[None]] = []
        self.lost: LinkLost | None = None
        self.greeting = Greeting(0, "", "", 0)

    @classmethod
    async def open(
        cls, name: str, reader: Reader, writer: Writer, bundle: bytes, heartbeat: Heartbeat | None = None
    ) -> "AgentLink":
        """Send the source, wait for the greeting. The caller holds a deadline around it."""
        link = cls(name, reader, writer, heartbeat or Heartbeat())
        try:
            with contextlib.suppress(OSError):  # a host without Python does not read it, and says why
                writer.write(bundle)
                await writer.drain()
            await link._greet()
        except (OSError, EOFError, wire.BadFrame, foreign.Senseless) as error:
            raise Unavailable(
                f"{name}: the agent did not start", hint=f"celadon check --host {name}", where=name
            ) from error
        link._tasks = [asyncio.create_task(link._listen()), asyncio.create_task(link._beat())]
        return link

    async def ask(self, call: Call) -> Any:
        """The operation's value, of the type that the call names."""
        payload = msgspec.json.encode(_Request(call.op, call.args))
        if len(payload) > wire.MAX_JSON:
            raise Refused(f"{self._name}: {call.op}: {len(payload)} bytes are more than a request may have")
        pending = _Pending(asyncio.get_running_loop().create_future(), takes=call.take is not None)
        number = self._number()
        streams: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(call.within):
                self._check()
                self._pending[number] = pending
                await self._send(wire.REQUEST, number, payload)
                if call.body is not None:
                    streams.append(asyncio.create_task(self._feed(number, pending, call.body)))
                if call.take is not None:
                    streams.append(asyncio.create_task(self._pass_on(number, pending, call.take)))
                reply = await self._reply(pending, streams)
                if call.take is not None:
                    await pending.incoming.join()
            return self._value(reply, call)
        except TimeoutError as error:
            raise self._unanswered(call.op, f"no answer within {call.within:g} s") from error
        except LinkLost as error:
            raise self._unanswered(call.op, str(error)) from error
        finally:
            await self._forget(number, pending, streams)

    async def close(self) -> None:
        """Nothing is waited for: the agent leaves when its input ends."""
        self._fail("closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _greet(self) -> None:
        seen = b""
        while not seen.endswith(wire.MARKER):
            try:
                seen += await self._reader.readexactly(1)
            except EOFError:
                self._refuse_python(seen)
                raise
            if len(seen) > NOISE:
                raise wire.BadFrame("no agent in the first bytes")
        kind, request, payload = await self._frame()
        if (kind, request) != (wire.REPLY, 0):
            raise wire.BadFrame("no greeting")
        self.greeting = foreign.read(foreign.read(payload, _Reply).ok, Greeting)
        if self.greeting.protocol != wire.PROTOCOL:
            raise Bug(f"{self._name}: the agent speaks protocol {self.greeting.protocol}, not {wire.PROTOCOL}")

    def _refuse_python(self, seen: bytes) -> None:
        _, found, rest = seen.partition(wire.NO_PYTHON)
        if found:
            versions = sorted({line for line in rest.decode("ascii", "replace").splitlines() if line[:7] == "Python "})
            there = f"has {', '.join(versions)}" if versions else "has no python3"
            raise Refused(
                f"{self._name}: the host needs Python 3.9 or later and {there}",
                hint=f"install python3.9 or later on {self._name}",
                where=self._name,
            )

    async def _listen(self) -> None:
        try:
            while True:
                kind, request, payload = await self._frame()
                self._heard = asyncio.get_running_loop().time()
                self._take(kind, request, payload)
        except wire.BadFrame:
            self._fail("the host sent something that is not the agent's language")
        except (OSError, EOFError):
            self._fail("the connection was lost")

    async def _frame(self) -> tuple[int, int, bytes]:
        header = await self._reader.readexactly(wire.HEADER.size)
        kind, request, length = wire.check_header(header)
        return kind, request, await self._reader.readexactly(length) if length else b""

    def _take(self, kind: int, request: int, payload: bytes) -> None:
        """What an agent has no cause to send ends the link: a flood of it would cost us all our time."""
        pending = self._pending.get(request)
        if kind == wire.PONG:
            self._pinged -= 1
            if self._pinged < 0:
                raise wire.BadFrame("an answer to no ping")
        elif pending is None:
            # What was given up meanwhile may still be answered.
            if kind not in (wire.REPLY, wire.CHUNK, wire.CREDIT) or not 0 < request <= self._last:
                raise wire.BadFrame(f"a frame of kind {kind} to no request")
        else:
            self._take_for(pending, kind, payload)

    @staticmethod
    def _take_for(pending: _Pending, kind: int, payload: bytes) -> None:
        if kind == wire.REPLY:
            if not pending.reply.done():
                pending.reply.set_result(payload)
        elif kind == wire.CHUNK and len(payload) > 1:  # one without data would cost us memory and them no credit
            pending.room -= len(payload) - 1
            if pending.room < 0:
                raise wire.BadFrame("more data than was asked for")
            pending.incoming.put_nowait(payload)
        elif kind == wire.CREDIT:
            pending.credit += int.from_bytes(payload, "big")
            if pending.credit > wire.WINDOW:
                raise wire.BadFrame("more credit than an agent gives")
            pending.granted.set()
        else:
            raise wire.BadFrame(f"an unexpected frame of kind {kind}")

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        last = self._heard
        while self.lost is None:
            await asyncio.sleep(self._heartbeat.every)
            overslept = loop.time() - last - self._heartbeat.every
            last = loop.time()
            if overslept > self._heartbeat.every:
                self._heard += overslept  # we were stopped, or had no time: that is not the host's silence
            silent = loop.time() - self._heard
            if silent > self._heartbeat.silence:
                self._fail(f"silent for {silent:.0f} s")
                return
            # Not drained: a link that takes nothing more is what this must notice.
            self._pinged += 1
            with contextlib.suppress(OSError):
                self._writer.write(wire.frame(wire.PING, 0))

    async def _feed(self, number: int, pending: _Pending, body: AsyncIterable[bytes]) -> None:
        async for data in body:
            view = memoryview(data)
            while view:
                while not pending.credit:
                    pending.granted.clear()
                    await pending.granted.wait()
                piece = view[: min(wire.MAX_CHUNK, pending.credit)]
                pending.credit -= len(piece)
                view = view[len(piece) :]
                await self._send(wire.CHUNK, number, bytes([wire.STDIN]) + piece)
        await self._send(wire.END, number)

    async def _pass_on(self, number: int, pending: _Pending, take: Take) -> None:
        while True:
            payload = await pending.incoming.get()
            await take(payload[0], payload[1:])
            pending.room += len(payload) - 1
            pending.incoming.task_done()
            await self._send(wire.CREDIT, number, (len(payload) - 1).to_bytes(4, "big"))

    async def _reply(self, pending: _Pending, streams: list[asyncio.Task[None]]) -> bytes:
        """The reply, or the first failure of a stream: a body that cannot be read, a reader that is gone."""
        waiting: set[asyncio.Future[Any]] = {pending.reply, *streams}
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for stream in done - {pending.reply}:
                stream.result()
            if pending.reply in done:
                return pending.reply.result()

    def _value(self, reply: bytes, call: Call) -> Any:
        try:
            decoded = foreign.read(reply, _Reply)
            failure = foreign.read(bytes(decoded.error)[:LARGEST_FAILURE], _Failure | None)
            if failure is None:
                return foreign.read(decoded.ok, call.answer)
        except foreign.Senseless as error:
            raise self._unanswered(call.op, "the host's answer makes no sense") from error
        raise self._failure(failure)

    def _failure(self, failure: _Failure) -> CeladonError:
        kinds = {
            wire.REFUSED: Refused,
            wire.UNAVAILABLE: Unavailable,
            wire.LEASE_LOST: LeaseLost,
            wire.NOT_HOME: NotHome,
        }
        kind = kinds.get(failure.kind, Bug)
        return kind(
            f"{self._name}: {quoted(failure.message, LONGEST)}",
            hint=advice(failure.hint),
            where=self._name,
            details=[line[:LONGEST] for line in failure.details[:DETAILS]],
        )

    def _unanswered(self, op: str, reason: str) -> Unavailable:
        """What was asked tells whether it may have been done."""
        kind = NoAnswer if op in wire.CHANGES else Unavailable
        return kind(f"{self._name}: {op}: {reason}", hint=f"celadon check --host {self._name}", where=self._name)

    async def _send(self, kind: int, request: int, payload: bytes = b"") -> None:
        self._check()
        try:
            self._writer.write(wire.frame(kind, request, payload))
            await self._writer.drain()
        except OSError as error:
            self._fail("the connection was lost")
            raise LinkLost("the connection was lost") from error

    def _check(self) -> None:
        if self.lost is not None:
            raise self.lost

    def _fail(self, reason: str) -> None:
        if self.lost is None:
            self.lost = LinkLost(reason)
        for pending in self._pending.values():
            if not pending.reply.done():
                pending.reply.set_exception(LinkLost(reason))

    def _number(self) -> int:
        self._last = self._last % 0xFFFFFFFF + 1
        return self._last

    async def _forget(self, number: int, pending: _Pending, streams: list[asyncio.Task[None]]) -> None:
        self._pending.pop(number, None)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        if not pending.reply.done() and self.lost is None:
            # Not awaited beyond the buffer: whoever gave up does not wait for it.
            with contextlib.suppress(OSError):
                self._writer.write(wire.frame(wire.CANCEL, number))
        elif pending.reply.done() and not pending.reply.cancelled():
            pending.reply.exception()  # seen
