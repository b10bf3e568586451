"""The deployer's end against a hostile host: bounded memory, one clear error, and nothing believed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celadon.adapters.agent_link import AgentLink, Call
from celadon.agent import wire
from celadon.core.errors import CeladonError, NoAnswer, Unavailable


class Script:
    """A host that answers what the test says, whenever something is written to it."""

    def __init__(self, *frames: bytes) -> None:
        self.reader = asyncio.StreamReader()
        greeting = b'{"ok":{"protocol":%d,"python":"3","hostname":"h","euid":0}}' % wire.PROTOCOL
        self.reader.feed_data(wire.MARKER + wire.frame(wire.REPLY, 0, greeting))
        self._frames = frames
        self._asked = False

    def write(self, data: bytes) -> None:
        if data[:1] == bytes([wire.REQUEST]) and not self._asked:
            self._asked = True
            self.reader.feed_data(b"".join(self._frames))

    async def drain(self) -> None:
        await asyncio.sleep(0)


@asynccontextmanager
async def linked(*frames: bytes) -> AsyncIterator[AgentLink]:
    host = Script(*frames)
    link = await AgentLink.open("here", host.reader, host, b"")
    try:
        yield link
    finally:
        await link.close()


async def ask(link: AgentLink, op: str = "rollouts", answer: Any = list[int], **more: Any) -> Any:
    return await link.ask(Call(op, {}, answer, 5, **more))


async def test_an_answer_is_of_the_type_that_was_asked_for() -> None:
    async with linked(wire.frame(wire.REPLY, 1, b'{"ok":[1,2]}')) as link:
        assert await ask(link) == [1, 2]


@pytest.mark.parametrize(
    "reply",
    [
        b'{"ok":' + b"[" * 100_000,
        b'{"ok":"\xff"}',
        b'{"ok":"text"}',
        b'{"ok":[1,"2"]}',
        b"{",
        b"",
        b"[]",
        b'{"error":{"kind":1}}',
        b"{}",
    ],
)
async def test_an_answer_of_another_shape_makes_no_sense(reply: bytes) -> None:
    async with linked(wire.frame(wire.REPLY, 1, reply)) as link:
        with pytest.raises(Unavailable, match="here: rollouts: the host's answer makes no sense"):
            await ask(link)


async def test_an_effect_with_a_senseless_answer_may_have_been_done() -> None:
    async with linked(wire.frame(wire.REPLY, 1, b"{")) as link:
        with pytest.raises(NoAnswer):
            await ask(link, "stop", int)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 64,
        wire.HEADER.pack(wire.REPLY, 1, 0xFFFFFFFF),
        wire.HEADER.pack(wire.CHUNK, 1, wire.MAX_CHUNK + 2),
        wire.frame(wire.REQUEST, 1, b"{}"),
        wire.frame(wire.CHUNK, 1, b""),
        wire.frame(wire.CHUNK, 1, b"\x01"),  # no data: would be kept, and cost no credit
        wire.frame(wire.CHUNK, 1, b"\x01data"),  # this operation writes nothing
        wire.frame(wire.PONG, 0),
        wire.frame(wire.REPLY, 2, b"{}"),
        wire.frame(wire.CREDIT, 1, (wire.WINDOW + 1).to_bytes(4, "big")),
    ],
)
async def test_what_is_not_the_agents_language_ends_the_link(frame: bytes) -> None:
    async with linked(frame) as link:
        with pytest.raises(Unavailable, match="here: rollouts: the host sent something"):
            await ask(link)
        assert link.lost is not None


async def test_a_host_cannot_send_more_than_is_asked_for() -> None:
    chunk = wire.frame(wire.CHUNK, 1, b"\x01" + b"x" * wire.MAX_CHUNK)
    never = asyncio.Event()

    async def take(_stream: int, _data: bytes) -> None:
        await never.wait()

    async with linked(*[chunk] * (wire.WINDOW // wire.MAX_CHUNK + 2)) as link:
        with pytest.raises(Unavailable, match="here: logs: the host sent something"):
            await ask(link, "logs", None, take=take)


async def test_a_host_that_gives_no_credit_gets_no_data() -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1000

    async with linked() as link:
        with pytest.raises(NoAnswer, match="no answer within"):
            await link.ask(Call("put_artifact", {}, int, 0.2, body()))
    assert read <= 1


async def test_what_reads_the_body_may_fail() -> None:
    async def body() -> AsyncIterator[bytes]:
        for part in ("archive", ""):
            if not part:
                raise FileNotFoundError(part)
            yield part.encode()

    async with linked(wire.frame(wire.CREDIT, 1, b"\0\0\x10\0")) as link:
        with pytest.raises(FileNotFoundError):
            await link.ask(Call("put_artifact", {}, int, 5, body()))
        assert link.lost is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.tuples(st.integers(0, 9), st.integers(0, 3), st.binary(max_size=60))))
)
def test_whatever_comes_is_an_answer_or_one_of_our_errors(
    pieces: list[bytes | tuple[int, int, bytes]],
) -> None:
    def encoded(piece: bytes | tuple[int, int, bytes]) -> bytes:
        if isinstance(piece, bytes):
            return piece
        return wire.HEADER.pack(piece[0], piece[1], len(piece[2])) + piece[2]

    async def run() -> None:
        host = Script(*map(encoded, pieces))
        link = await AgentLink.open("here", host.reader, host, b"")
        asking = asyncio.create_task(ask(link))
        await asyncio.sleep(0)
        host.reader.feed_eof()
        await asyncio.wait([asking])
        error = asking.exception()
        assert isinstance(error, CeladonError) if error else isinstance(asking.result(), list)
        assert error is None or "here" in str(error)
        await link.close()

    asyncio.run(run())
