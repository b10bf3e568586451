"""The prober against a door of the test's own: what it sends, when, and what it calls what comes back."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from tests.adapters.servers import HANG, http, scripted, serving

from celadon.adapters.clock import SystemClock
from celadon.adapters.verifier import PublicVerifier, Target, is_our_own
from celadon.core.attribution import Attribution, Known
from celadon.core.evidence import Evidence

OLD, NEW = Known("aaaaaaaaaa", "v1"), Known("bbbbbbbbbb", "v2")
ENOUGH = 30.0


@asynccontextmanager
async def verifying(url: str, deadline: float = 10.0, grace: float = 0.0) -> AsyncIterator[PublicVerifier]:
    target = Target(url=url + "/health?x=1", rate=100.0, deadline=deadline, grace=grace)
    verifier = PublicVerifier(target, Attribution((OLD, NEW), "{version}"), NEW.id, SystemClock())
    verifier.start()
    try:
        yield verifier
    finally:
        await verifier.close()


async def until(verifier: PublicVerifier, wanted: Callable[[Evidence], bool]) -> Evidence:
    async with asyncio.timeout(ENOUGH):
        while True:
            verifier.take()
            if wanted(verifier.evidence()):
                return verifier.evidence()
            await asyncio.sleep(0.01)


async def seen(content: bytes, *, deadline: float = 10.0) -> Evidence:
    """What the verifier makes of a door that answers the same each time."""
    async with scripted([content] * 10_000) as server, verifying(server.url, deadline) as verifier:
        return await until(verifier, lambda evidence: evidence.sent >= 3)


@pytest.mark.parametrize(
    ("content", "outcome", "who"),
    [
        (http("200 OK", b"this is v2"), "ok", NEW.id),
        (http("200 OK", b"this is v1"), "ok", OLD.id),
        (http("200 OK", b"hello"), "ok", None),
        (http("200 OK", b"hello", "X-Release: v1"), "ok", OLD.id),
        (http("302 Found", b"", "Location: http://127.0.0.1:1/"), "ok", None),
        (http("500 Oops", b"v2 failed"), "failed", NEW.id),
        (http("503 Service Unavailable", b""), "failed", None),
        (http("404 Not Found", b""), "failed", None),
        (b"", "failed", None),
        (b"HTTP/1.1 200 OK\r\nX-Release: v2\r\nContent-Length: 9\r\n\r\ncut", "failed", NEW.id),
        (b"nonsense\r\n\r\n", "failed", None),
    ],
)
async def test_an_answer_is_called_what_it_is(content: bytes, outcome: str, who: str | None) -> None:
    evidence = await seen(content)
    by = evidence.served if outcome == "ok" else evidence.failed_by
    assert getattr(evidence, outcome) == evidence.sent
    assert by == ({} if who is None else {who: evidence.sent})
    if outcome == "failed":
        assert evidence.failures[0].reason
        assert evidence.failures[0].reason.isprintable()


async def test_a_door_that_is_shut_is_a_failure() -> None:
    async with scripted([]) as server:
        url = server.url
    async with verifying(url) as verifier:
        evidence = await until(verifier, lambda evidence: evidence.sent >= 3)
    assert evidence.failed == evidence.sent


async def test_silence_is_a_failure_and_holds_nobody_up() -> None:
    async with scripted([HANG] * 10_000) as server, verifying(server.url, deadline=1.0) as verifier:
        evidence = await until(verifier, lambda evidence: evidence.failed >= 3)
        assert len(server.requests) > 10
    assert evidence.failures[0].reason == "no answer in 1 s"
    assert evidence.failures[0].seconds >= 1.0


async def test_requests_go_out_on_the_clock_while_answers_are_slow() -> None:
    waiting = 0
    most = 0

    async def slow(_request: web.Request) -> web.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.3)
        waiting -= 1
        return web.Response(text="v2")

    app = web.Application()
    app.router.add_get("/health", slow)
    async with serving(app) as url, verifying(url) as verifier:
        evidence = await until(verifier, lambda evidence: evidence.ok >= 30)
    assert most >= 5
    assert evidence.failed == 0


async def test_every_request_has_a_connection_of_its_own_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    peers: list[object] = []

    async def remember(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        assert request.query_string == "x=1"
        return web.Response(text="v2")

    app = web.Application()
    app.router.add_get("/health", remember)
    async with serving(app) as url, verifying(url) as verifier:
        evidence = await until(verifier, lambda evidence: evidence.sent >= 10)
    assert evidence.ok == evidence.sent
    assert len(set(peers)) == len(peers)


async def test_each_request_is_sent_once() -> None:
    async with scripted([b""] * 10_000) as server:
        async with verifying(server.url, grace=ENOUGH) as verifier:
            await until(verifier, lambda evidence: evidence.sent >= 10)
        verifier.take()
        assert verifier.evidence().sent == len(server.requests)


async def test_what_is_open_at_the_end_is_unknown() -> None:
    async with scripted([HANG] * 10_000) as server:
        async with verifying(server.url) as verifier:
            await asyncio.wait_for(server.held.wait(), ENOUGH)
        counts = verifier.take()
    assert counts.sent == counts.unknown > 0
    assert counts.failed == 0


async def test_closing_waits_for_answers_that_are_on_their_way() -> None:
    asked = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(0.2)
        return web.Response(text="v2")

    app = web.Application()
    app.router.add_get("/health", slow)
    async with serving(app) as url:
        async with verifying(url, grace=ENOUGH) as verifier:
            await asyncio.wait_for(asked.wait(), ENOUGH)
        counts = verifier.take()
    assert counts.served == {NEW.id: counts.sent}


async def test_counts_are_taken_once_and_runs_go_on() -> None:
    async with scripted([http("200 OK", b"v2")] * 10_000) as server, verifying(server.url) as verifier:
        total = last = 0
        async with asyncio.timeout(ENOUGH):
            while total < 10:
                counts = verifier.take()
                total += counts.sent
                last = max(last, counts.passes)
                await asyncio.sleep(0.01)
    assert last == total == verifier.evidence().sent


async def test_phases_are_kept_apart() -> None:
    async with scripted([http("200 OK", b"v2")] * 10_000) as server, verifying(server.url) as verifier:
        await until(verifier, lambda evidence: evidence.ok >= 2)
        verifier.phase = "after"
        evidence = await until(verifier, lambda evidence: "after" in evidence.latency)
    assert evidence.latency["before"].count >= 2
    assert sum(each.count for each in evidence.latency.values()) == evidence.ok


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (OSError(errno.ENETUNREACH, ""), True),
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.EHOSTUNREACH, ""), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), False),
        (ConnectionResetError(errno.ECONNRESET, ""), False),
        (socket.gaierror(socket.EAI_AGAIN, ""), True),
        (socket.gaierror(socket.EAI_NONAME, ""), False),
        (aiohttp.ServerDisconnectedError(), False),
    ],
)
def test_only_what_this_machine_did_is_unknown(error: Exception, *, ours: bool) -> None:
    assert is_our_own(error) is ours
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        key = aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None)
        assert is_our_own(aiohttp.ClientConnectorError(key, error)) is ours


async def test_a_clock_that_jumps_makes_time_outs_unknown() -> None:
    class Jumpy(SystemClock):
        jump = 0.0

        def now(self) -> float:
            return super().now() + self.jump

    clock = Jumpy()
    async with scripted([HANG] * 10_000) as server:
        target = Target(url=server.url, rate=5.0, deadline=0.5, grace=0.0)
        verifier = PublicVerifier(target, Attribution(()), NEW.id, clock)
        verifier.start()
        await asyncio.wait_for(server.held.wait(), ENOUGH)
        clock.jump = 3600.0
        evidence = await until(verifier, lambda evidence: evidence.sent >= 1)
        await verifier.close()
    assert (evidence.failed, evidence.unknown > 0) == (0, True)
    assert len(server.requests) < 50
