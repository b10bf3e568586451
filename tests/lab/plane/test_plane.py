"""The data plane with real traffic."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import subprocess
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import pytest
from tests.lab.addresses import free_port
from tests.lab.plane.conftest import PACE, Switches, World, get, node
from tests.lab.waiting import until

from celadon.core.errors import Refused, Unavailable
from celadon.lab.loopback import Link
from celadon.lab.parts import LabPaths, PlaneBalancer
from celadon.lab.plane import HaproxyPlane
from celadon.lab.processes import end_from_pidfile

pytestmark = pytest.mark.slow  # a real HAProxy


async def up(world: World, *backends: object) -> None:
    ids = [int(backend.private.rpartition(".")[2]) for backend in backends]  # type: ignore[attr-defined]
    await until(lambda: all(world.plane.status(i) == "UP" for i in ids), f"{ids} UP")


async def answers(world: World, count: int) -> Counter[str]:
    return Counter([(await get(world))[1] for _ in range(count)])


async def test_ten_flips_under_load_lose_nothing(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green))
    await up(world, blue, green)
    pids = haproxy_pids(world)
    outcomes: Counter[tuple[int, str]] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            await asyncio.sleep(number * 0.01)  # on a clock: an open loop
            path = "/slow" if number % 30 == 0 else "/"
            ask = session.post if number % 5 == 0 and path == "/" else session.get
            async with ask(f"http://{world.address}:{world.port}{path}") as answer:
                outcomes[answer.status, await answer.text()] += 1

        async def flip() -> None:
            for turn in range(10):
                await asyncio.sleep(0.25)
                on, off = (green, blue) if turn % 2 == 0 else (blue, green)
                # As a deployer does it: raise, wait for UP, then lower.
                await world.apply(node(on), node(off))
                await up(world, on)
                await world.apply(node(on), node(off, "reject"))

        await asyncio.gather(flip(), *(one(number) for number in range(300)))
    assert {status for status, _ in outcomes} == {200}
    assert sum(outcomes.values()) == 300
    assert {name for _, name in outcomes} == {"blue", "green"}
    assert haproxy_pids(world) == pids, "a node change must never take a new process"


def haproxy_pids(world: World) -> list[bytes]:
    return [file.read_bytes() for file in sorted(world.paths.plane.glob("*.pid"))]


async def test_a_flip_moves_new_requests_and_leaves_running_ones(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green, "reject"))
    await up(world, blue)
    base = f"http://{world.address}:{world.port}"
    async with aiohttp.ClientSession() as session:
        slow = asyncio.create_task(get(world, "/slow"))
        async with session.ws_connect(f"{base}/ws") as ws, session.get(f"{base}/sse") as events:
            await ws.send_str("before")
            assert await ws.receive_str(timeout=10) == "blue before"
            await events.content.readline()
            await world.apply(node(blue), node(green))
            await up(world, green)
            await world.apply(node(blue, "reject"), node(green))
            assert await answers(world, 10) == {"green": 10}
            await ws.send_str("after")
            assert await ws.receive_str(timeout=10) == "blue after"
            seen = [(await events.content.readline()).decode() for _ in range(40)]
            assert sum(line.startswith("data: blue") for line in seen) == 20
        assert await slow == (200, "blue")
    assert world.plane.status(10) == "DOWN"


async def test_a_node_carries_nothing_before_its_checks_pass(world: World) -> None:
    blue = await world.backend("blue")
    blue.status = 500
    await world.apply(node(blue))
    assert world.plane.status(10) == "Unknown"
    assert (await get(world))[0] == 503
    await until(lambda: world.plane.status(10) == "DOWN", "checks fail")
    assert len(blue.checks) >= 2
    blue.status = 302  # 2xx and 3xx are fine
    await up(world, blue)
    assert await get(world) == (200, "blue")
    assert set(blue.checks) == {(blue.node_address, "1.0")}
    await blue.stop()
    await until(lambda: world.plane.status(10) == "DOWN", "a dead node is noticed")


async def test_a_body_pattern_decides(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="http_body", check_body="^blu[e]")
    await up(world, blue)
    blue.body = "starting"
    await until(lambda: world.plane.status(10) == "DOWN", "the body no longer matches")
    with pytest.raises(Refused, match="check_body"):
        await world.apply(node(blue), check="http_body", check_body="(")


async def test_without_checks_a_node_serves_at_once_and_stays_unknown(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    assert await get(world) == (200, "blue")
    assert world.plane.status(10) == "Unknown"
    assert blue.checks == []


async def test_a_backup_serves_only_when_no_accept_node_is_up(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green, "backup"))
    await up(world, blue, green)
    assert await answers(world, 6) == {"blue": 6}
    blue.status = 500
    await until(lambda: world.plane.status(10) == "DOWN", "blue fails")
    assert await answers(world, 6) == {"green": 6}
    blue.status = 200
    await up(world, blue)
    assert await answers(world, 6) == {"blue": 6}


async def test_changes_arrive_after_the_delay_and_in_order(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green), check="none")
    world.plane.set_switches(Switches(mode_delay_seconds=0.4))
    await world.apply(node(blue, "reject"), node(green), check="none")
    await world.apply(node(blue), node(green, "reject"), check="none")
    await world.apply(node(blue, "reject"), node(green), check="none")
    assert set(await answers(world, 4)) == {"blue", "green"}  # not yet

    async def only_green() -> bool:
        return await answers(world, 4) == {"green": 4}

    await until(only_green, "the change arrives")
    await asyncio.sleep(0.1)
    assert await only_green(), "and the last one asked for is the one that stays"


async def test_a_quick_change_does_not_overtake_a_slow_one(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    world.delays = [0.6, 0.1, 0.6, 0]
    for mode in ("reject", "accept", "drain", "backup"):
        await world.apply(node(blue, mode), check="none")
    assert await get(world) == (200, "blue")
    await world.apply(node(blue, "reject"), check="none")  # without a delay, but after the others
    assert await get(world) == (200, "blue")

    async def off() -> bool:
        return (await get(world))[0] == 503

    await until(off, "all have arrived")
    await asyncio.sleep(0.3)
    assert await off()


@pytest.mark.parametrize("unknown", [True, False])
async def test_what_is_known_of_a_node_that_returns_from_reject(world: World, *, unknown: bool) -> None:
    blue = await world.backend("blue")
    world.plane.set_switches(Switches(reject_to_accept_unknown=unknown))
    await world.apply(node(blue))
    await up(world, blue)
    await world.apply(node(blue, "reject"))
    checks = len(blue.checks)
    await asyncio.sleep(0.3)
    assert len(blue.checks) <= checks + 1, "checks stop"
    if unknown:
        blue.status = 500  # or it would be UP before we looked
    await world.apply(node(blue))
    assert world.plane.status(10) == ("Unknown" if unknown else "UP")
    assert (await get(world))[0] == (503 if unknown else 200)
    blue.status = 200
    await up(world, blue)
    assert await get(world) == (200, "blue")


@pytest.mark.parametrize("passive", [True, False])
async def test_one_bad_answer_takes_a_node_out_when_passive_checks_are_on(world: World, *, passive: bool) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check_passive=passive, check_interval=25, check_timeout=20)
    await up(world, blue)
    assert (await get(world, "/status/501"))[0] == 501
    assert (await get(world))[0] == 200
    assert (await get(world, "/status/500"))[0] == 500
    if passive:
        await until(lambda: world.plane.status(10) == "DOWN", "marked down by its answer")
        await up(world, blue)
    else:
        await asyncio.sleep(0.3)
        assert world.plane.status(10) == "UP"


@pytest.mark.parametrize("redispatch", [False, True])
async def test_a_refused_connection_is_the_clients_unless_redispatch_hides_it(
    world: World, *, redispatch: bool
) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    world.plane.set_switches(Switches(redispatch=redispatch))
    await world.apply(node(blue), node(green), check="none")
    await blue.stop()
    statuses = Counter([(await get(world))[0] for _ in range(6)])
    assert statuses == ({200: 6} if redispatch else {200: 3, 503: 3})


async def test_weights_split_exactly(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue, weight=255), node(green, weight=1), check="none")
    await world.apply(node(blue, weight=150), node(green, weight=50), check="none")
    assert await answers(world, 80) == {"blue": 60, "green": 20}


@pytest.mark.parametrize("algorithm", ["leastconn", "source"])
async def test_other_algorithms_take_node_changes_at_run_time(world: World, algorithm: str) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green, "reject"), check="none", algorithm=algorithm)
    assert await answers(world, 4) == {"blue": 4}
    before = haproxy_pids(world)
    await world.apply(node(blue), node(green, weight=7), check="none", algorithm=algorithm)
    if algorithm == "source":
        assert len(await answers(world, 8)) == 1, "one client, one node"
    await world.apply(node(blue, "reject"), node(green), check="none", algorithm=algorithm)
    assert await answers(world, 4) == {"green": 4}
    assert haproxy_pids(world) == before


async def test_a_new_algorithm_takes_a_new_process_and_loses_no_request(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    before = haproxy_pids(world)
    slow = asyncio.create_task(get(world, "/slow"))
    await asyncio.sleep(0.1)

    async def traffic() -> set[int]:
        return {(await get(world))[0] for _ in range(60)}

    running = asyncio.create_task(traffic())
    await world.apply(node(blue), check="none", algorithm="leastconn")
    await world.apply(node(blue), check="none", algorithm="roundrobin")
    assert await running == {200}
    assert await slow == (200, "blue")
    await until(lambda: len(haproxy_pids(world)) == 1, "the old processes end")
    assert haproxy_pids(world) != before


async def test_cookie_stickiness_under_drain_and_reject(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    sticky = {"check": "http", "stickiness": "http_cookie"}
    await world.apply(node(blue), node(green, "reject"), **sticky)
    await up(world, blue)
    url = f"http://{world.address}:{world.port}/"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as pinned:

        async def ask() -> str:
            async with pinned.get(url) as answer:
                return await answer.text()

        assert await ask() == "blue"
        await world.apply(node(blue), node(green), **sticky)
        await up(world, green)
        await world.apply(node(blue, "drain"), node(green), **sticky)
        assert [await ask() for _ in range(4)] == ["blue"] * 4
        assert await answers(world, 4) == {"green": 4}
        await world.apply(node(blue, "reject"), node(green), **sticky)
        assert await ask() == "green"


async def test_headers_and_no_keep_alive(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    reader, writer = await asyncio.open_connection(world.address, world.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: example.test\r\nConnection: keep-alive\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()  # returns only because the balancer closes
    writer.close()
    assert b"connection: close" in answer.lower()
    (headers,) = blue.headers
    assert headers["Host"] == "example.test"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"


async def test_a_throttle_holds_back_one_client(world: World) -> None:
    blue = await world.backend("blue")
    config = world.config(node(blue), check="none")
    await world.plane.apply(world.balancer(config))
    before = haproxy_pids(world)
    assert await answers(world, 5) == {"blue": 5}
    await asyncio.sleep(1.1)  # the rate is counted over a second
    await world.plane.apply(world.balancer(config, throttle=2))
    refused = 0
    for _ in range(6):
        try:
            await get(world)
        except aiohttp.ClientError:
            refused += 1
    assert refused >= 1
    await world.plane.apply(world.balancer(config))
    assert await answers(world, 5) == {"blue": 5}
    assert haproxy_pids(world) == before


async def test_https(world: World, tmp_path: Path) -> None:
    blue = await world.backend("blue")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(  # noqa: ASYNC221 - a moment
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         str(key), "-out", str(cert), "-subj", "/CN=lab.test", "-days", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    pair = {"protocol": "https", "check": "none", "ssl_cert": cert.read_text(), "ssl_key": key.read_text()}
    await world.apply(node(blue), **pair)
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{world.address}:{world.port}/", ssl=context) as answer,
    ):
        assert (answer.status, answer.version) == (200, aiohttp.HttpVersion11)
    assert blue.headers[0]["X-Forwarded-Proto"] == "https"
    assert not [
        file for file in world.paths.plane.iterdir() if file.is_file() and key.read_text()[30:60] in file.read_text()
    ]
    with pytest.raises(Refused):
        await world.apply(node(blue), **{**pair, "ssl_cert": "nonsense"})
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{world.address}:{world.port}/", ssl=context) as answer,
    ):
        assert answer.status == 200, "the old certificate serves on"


async def test_tcp(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), protocol="tcp", check="connection")
    await up(world, blue)
    assert await get(world) == (200, "blue")
    assert "X-Forwarded-For" not in blue.headers[0]


async def test_several_ports_and_what_becomes_of_removed_ones(world: World) -> None:
    blue = await world.backend("blue")
    first = world.config(node(blue), check="none")
    second = msgspec.structs.replace(first, id=2, port=free_port(world.address), nodes=(node(blue, number=99),))
    await world.plane.apply(world.balancer(first, second))
    assert {port.bound_port for port in world.plane.listeners(7)} == {first.port, second.port}
    world.port = second.port
    assert await get(world) == (200, "blue")
    carried = world.plane.totals(7)
    assert carried[0] == 1
    assert carried[1] > 50
    await world.plane.apply(world.balancer(first))
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(world)
    assert world.plane.totals(7) == carried
    await world.plane.remove(7)
    assert world.plane.listeners(7) == ()
    assert list(world.paths.plane.iterdir()) == []


async def test_a_port_can_be_moved(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    world.port = free_port(world.address)
    await world.apply(node(blue), check="none")
    assert await get(world) == (200, "blue")
    assert [port.bound_port for port in world.plane.listeners(7)] == [world.port]


async def test_a_change_that_is_cancelled_leaves_nothing_half_known(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    for steps in range(12):
        cancelled = asyncio.create_task(world.apply(node(blue, "reject"), check="none"))
        for _ in range(steps):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        await world.apply(node(blue), check="none")
        assert await get(world) == (200, "blue"), f"cancelled after {steps} steps"


async def test_nodes_come_and_go_and_their_slots_with_them(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    for turn in range(5):
        nodes = [node(blue, number=100 + turn), *(node(green, number=200 + turn * 10 + n) for n in range(3))]
        await world.apply(*nodes, check="none")
        assert await answers(world, 8) == {"blue": 2, "green": 6}
        await world.apply(*nodes[1:], check="none")
        assert await answers(world, 3) == {"green": 3}
    await world.apply(check="none")
    assert (await get(world))[0] == 503


async def test_a_privileged_port_that_cannot_be_had_is_taken_8000_higher(world: World) -> None:
    blue = await world.backend("blue")
    low = 81
    with contextlib.ExitStack() as held, contextlib.suppress(PermissionError):
        taken = held.enter_context(socket.socket())
        taken.bind((world.address, low))  # where we may: then it is taken
        taken.listen()
        await world.apply(node(blue), check="none", port=low)
    if not world.plane.listeners(7):  # where we may not, it is refused anyway
        await world.apply(node(blue), check="none", port=low)
    (listener,) = world.plane.listeners(7)
    assert (listener.port, listener.bound_port) == (low, low + 8000)
    world.port = listener.bound_port
    assert await get(world) == (200, "blue")


async def test_a_port_that_is_taken_is_an_error_that_names_it(world: World) -> None:
    blue = await world.backend("blue")
    with socket.socket() as taken:
        taken.bind((world.address, world.port))
        taken.listen()
        with pytest.raises(Unavailable, match=f"{world.address}:{world.port} cannot be opened"):
            await world.apply(node(blue), check="none")
    assert world.plane.listeners(7) == ()
    await world.apply(node(blue), check="none")
    assert await get(world) == (200, "blue")


async def test_an_address_that_leads_nowhere_hangs_and_is_noticed(world: World) -> None:
    blue, green = await world.backend("blue"), await world.backend("green")
    await world.apply(node(blue), node(green))
    await up(world, blue, green)
    world.table[blue.private] = None  # it lost its network
    await until(lambda: world.plane.status(10) == "DOWN", "unreachable")
    assert await answers(world, 4) == {"green": 4}
    world.table[blue.private] = blue.address
    await up(world, blue)
    assert set(await answers(world, 4)) == {"blue", "green"}


async def test_a_haproxy_that_dies_is_replaced(world: World) -> None:
    blue = await world.backend("blue")
    await world.apply(node(blue), check="none")
    (pidfile,) = world.paths.plane.glob("*.pid")
    end_from_pidfile(pidfile)
    assert await get(world) == (200, "blue"), "the socket is ours: the client only waits"


async def test_only_loopback(world: World) -> None:
    with pytest.raises(Refused, match="loopback"):
        await world.plane.apply(PlaneBalancer(7, "192.0.2.1", 0, ()))
    blue = await world.backend("blue")
    world.table[blue.private] = "192.0.2.1"
    with pytest.raises(Refused, match=r"not in 127\.0\.0\.0/8"):
        await world.apply(node(blue))


async def test_a_closed_network_instead_of_loopback(world: World, tmp_path: Path) -> None:
    """Backends see the plane's address there; what is outside of it gets nothing."""
    blue, outside = await world.backend("blue"), await world.backend("outside")
    world.table[outside.private] = "127.77.0.1"
    link = Link(ipaddress.IPv4Network("127.0.0.0/24"), "127.0.0.9")
    plane = HaproxyPlane(LabPaths(tmp_path / "other"), world.table.get, Switches(), pace=PACE, link=link)
    try:
        await plane.apply(world.balancer(world.config(node(blue), check="http")))
        await until(lambda: plane.status(node(blue).id) == "UP", "checked from its address")
        assert await get(world) == (200, "blue")
        assert blue.headers[0]["X-Forwarded-For"] == "127.0.0.1"
        assert set(blue.peers) == {"127.0.0.9"}
        with pytest.raises(Refused, match=r"not in 127\.0\.0\.0/24"):
            await plane.apply(world.balancer(world.config(node(blue), node(outside))))
    finally:
        await plane.close()
