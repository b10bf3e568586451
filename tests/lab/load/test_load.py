"""The load: every kind is really sent and really checked; what goes wrong is seen, named and put where it belongs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.adapters.servers import HANG, http, scripted, serving
from tests.lab.load.app import LoadedApp, seen

from celadon.core.errors import Refused, Unavailable
from celadon.lab.load import Load
from celadon.lab.load_kinds import MIX, Plan
from celadon.lab.load_report import Counts, Report

pytestmark = pytest.mark.slow  # a load against a server, in real time


@pytest.fixture
def app() -> LoadedApp:
    return LoadedApp()


@pytest.fixture
async def url(app: LoadedApp) -> AsyncIterator[str]:
    async with serving(app.app()) as address:
        yield address


async def run(url: str, **changes: Any) -> Report:
    usual: dict[str, Any] = {
        "url": url, "rate": 100.0, "seconds": 60.0, "count": 20, "slow": (0.05, 0.1), "stream": (3, 0.02),
    }  # fmt: skip
    load = Load(Plan(**(usual | changes)))
    await load.start()
    return await asyncio.wait_for(load.wait(), 60)


async def test_all_kinds_together_are_sent_and_answered(url: str) -> None:
    report = await run(url, count=100, mix=dict.fromkeys(MIX, 1))
    assert report.failures == ()
    assert report.total == Counts(sent=100, ok=100)
    assert all(report.kind(kind).sent > 5 for kind in MIX)
    assert report.acts[0].served == {"v1": 100}
    assert not report.running


async def test_the_same_seed_is_the_same_load(url: str) -> None:
    first, second, other = [await run(url, count=60, seed=seed, rate=500.0) for seed in (3, 3, 4)]
    assert first.acts[0].kinds == second.acts[0].kinds != other.acts[0].kinds


async def test_requests_go_out_on_the_clock_while_nobody_answers(app: LoadedApp, url: str) -> None:
    app.never_answer = True
    report = await run(url, count=30, mix={"new": 1}, deadline=1.5)
    assert app.requests == 30
    assert report.total == Counts(sent=30, failed=30)
    assert report.failures[0].reason == "no answer in 1.5 s"


async def test_new_connections_are_new_and_kept_ones_are_kept(app: LoadedApp, url: str) -> None:
    await run(url, count=15, mix={"new": 1})
    assert len(app.connections) == 15
    app.connections.clear()
    report = await run(url, count=15, rate=20.0, mix={"keep": 1})
    assert report.total == Counts(sent=15, ok=15)
    assert len(app.connections) < 15


async def test_an_answer_that_says_close_ends_a_kept_connection() -> None:
    answers = [http("200 OK", b"hi", "Connection: close")] * 8
    async with scripted(answers) as server:
        report = await run(server.url, count=8, mix={"keep": 1})
    assert report.total == Counts(sent=8, ok=8)
    assert b"Connection: keep-alive\r\n" in server.requests[0]


async def test_a_status_is_a_failure_with_its_release(app: LoadedApp, url: str) -> None:
    app.fail_every = 4
    report = await run(url, count=20, mix={"new": 1})
    assert report.total == Counts(sent=20, ok=15, failed=5)
    assert {(each.kind, each.reason, each.who) for each in report.failures} == {("new", "status 500", "v1")}
    assert report.failure_bound > 5 / 20


async def test_only_the_first_failures_are_told_one_by_one(app: LoadedApp, url: str) -> None:
    app.fail_every = 1
    report = await run(url, count=40, rate=400.0, mix={"new": 1})
    assert (report.total.failed, len(report.failures)) == (40, 20)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed within the head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed with 6 bytes of the body to come"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", "closed in the middle of the body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "closed in the middle of the body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a size that is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a size that is out of bounds"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "the head of the answer is too long"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
        (http("503 Service Unavailable", b"<html>"), "status 503"),
    ],
)
async def test_a_bad_answer_is_named(content: bytes, reason: str) -> None:
    async with scripted([content] * 2) as server:
        report = await run(server.url, count=2, mix={"new": 1})
    assert report.total == Counts(sent=2, failed=2)
    assert {each.reason for each in report.failures} == {reason}


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end v2",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nv2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n1;x=y\r\n2\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-Release: v2\r\n\r\n",
    ],
)
async def test_every_framing_is_read_and_the_release_found(content: bytes) -> None:
    async with scripted([content] * 2) as server:
        report = await run(server.url, count=2, mix={"keep": 1}, release_pattern=r"v\d")
    assert report.failures == ()
    assert report.acts[0].served == {"v2": 2}


async def test_a_closed_door_is_a_failure() -> None:
    async with scripted([]) as server:
        url = server.url
    report = await run(url, count=3, mix={"new": 1, "sse": 1, "ws": 1})
    assert report.total == Counts(sent=3, failed=3)


async def test_a_body_that_comes_back_changed_is_a_failure(app: LoadedApp, url: str) -> None:
    app.mangle = True
    report = await run(url, count=2, mix={"post": 1})
    assert report.total == Counts(sent=2, failed=2)
    assert report.failures[0].reason == "the body did not come back: 512 bytes did"


async def test_a_stream_that_ends_early_is_cut(app: LoadedApp, url: str) -> None:
    app.cut_streams = True
    report = await run(url, count=20, mix={"sse": 1, "ws": 1})
    assert report.total == Counts(sent=20, cut=20)
    assert report.kind("ws").cut > 0
    assert all(each.who == "v1" for each in report.failures)
    assert {each.reason.split(":")[0] for each in report.failures} >= {"after 1 of 3 events", "after 0 of 3 messages"}


async def test_a_stream_that_ends_well_but_short_is_cut(app: LoadedApp, url: str) -> None:
    app.events_missing = 1
    report = await run(url, count=2, mix={"sse": 1})
    assert {each.reason for each in report.failures} == {"ended after 2 of 3 events"}


async def test_a_websocket_that_the_server_closes_is_cut_with_its_code(app: LoadedApp, url: str) -> None:
    app.close_frame = 1012
    report = await run(url, count=2, mix={"ws": 1})
    assert report.total == Counts(sent=2, cut=2)
    assert report.failures[0].reason == "after 0 of 3 messages: the server closed with code 1012"


async def test_a_websocket_echo_is_checked(app: LoadedApp, url: str) -> None:
    app.mangle = True
    report = await run(url, count=1, mix={"ws": 1})
    assert report.failures[0].reason == "after 0 of 3 messages: another message came back"


@pytest.mark.parametrize("status", ["200 OK", "101 Switching Protocols"])
async def test_no_websocket_there_is_a_failure_not_a_cut(status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nSec-WebSocket-Accept: of another\r\n\r\n".encode()
    async with scripted([answer]) as server:
        report = await run(server.url, count=1, mix={"ws": 1})
    assert report.total == Counts(sent=1, failed=1)
    assert report.failures[0].reason == f"no WebSocket: status {status[:3]}"


async def test_acts_hold_the_requests_that_were_due_in_them(app: LoadedApp, url: str) -> None:
    load = Load(Plan(url=url, rate=100.0, count=10_000, mix={"new": 1}))
    await load.start()

    async def look() -> Report:
        return load.snapshot()

    await seen(look, lambda report: report.total.ok >= 10)
    load.mark("second release")
    app.release = "v2"
    app.fail_every = 3
    running = await seen(look, lambda report: report.total.failed >= 3)
    assert running.running
    report = await load.stop()
    first, second = report.acts
    assert (first.name, second.name) == ("", "second release")
    assert (first.total.failed, second.total.failed >= 3) == (0, True)
    assert second.began > first.began
    assert set(second.served) <= {"v1", "v2"}
    assert report.failures[0].act == "second release"
    assert report.total.waiting == 0
    assert app.requests == report.total.sent < 10_000


async def test_stopping_waits_for_answers_and_then_no_more() -> None:
    async with scripted([HANG] * 50) as server:
        load = Load(Plan(url=server.url, count=5, rate=500.0, mix={"new": 1}))
        await load.start()
        await asyncio.wait_for(server.held.wait(), 30)
        report = await load.stop(grace=0.1)
    assert report.total.waiting == report.total.sent > 0
    assert report.failures == ()


async def test_too_many_waiting_is_a_failure_not_a_full_memory() -> None:
    async with scripted([HANG] * 50) as server:
        report = await run(server.url, count=20, mix={"new": 1}, most_in_flight=5, deadline=1.0)
    assert report.total.failed == 20
    assert "not sent: 5 are waiting" in {each.reason for each in report.failures}
    assert len(server.requests) < 20


async def test_latency_is_measured_from_when_a_request_was_due(url: str) -> None:
    report = await run(url, count=20, mix={"new": 1})
    act = report.acts[0]
    assert act.latency.count == 20
    assert act.p50 is not None
    assert act.p99 is not None
    assert 0 < act.p50 <= act.p99 <= act.latency.worst


@pytest.mark.parametrize("changes", [{"mix": {"ftp": 1}}, {"mix": {"new": 0}}, {"rate": 0.0}, {"paths": {"x": "/"}}])
def test_a_load_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        Plan(**({"url": "http://127.0.0.1:1"} | changes))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://127.0.0.1/path", "nonsense"])
async def test_a_door_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        await Load(Plan(url=url)).start()


async def test_a_name_that_does_not_exist_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"a\.\.b"):  # no name at all: nothing is asked of the network
        await Load(Plan(url="http://a..b")).start()
