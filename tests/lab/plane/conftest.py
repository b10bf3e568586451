"""Backends that can be told how to behave, and a plane that leads to them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from tests.lab.addresses import free_port, own_address

from celadon.lab.parts import LabPaths, PlaneBalancer, PlaneConfig, PlaneNode
from celadon.lab.plane import HaproxyPlane

PACE = 0.02  # a check interval of 5 is 0.1 s


class Switches(msgspec.Struct, frozen=True):
    """As the lab's own, with its defaults."""

    mode_delay_seconds: float = 0
    backup_checked: bool = True
    reject_to_accept_unknown: bool = True
    redispatch: bool = False


class Backend:
    """An application: says its name, and does what it is told."""

    def __init__(self, name: str, private: str) -> None:
        self.name = name
        self.private = private
        self.status = 200
        self.body = name
        self.served = 0
        self.checks: list[tuple[str, str]] = []  # Host header and protocol version of each health check
        self.headers: list[dict[str, str]] = []
        self.peers: list[str | None] = []  # who asked, checks too
        self.address = "127.0.0.1"
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def node_address(self) -> str:
        return f"{self.private}:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/ws", self._ws)
        app.router.add_get("/sse", self._sse)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/status/{code}", self._code)
        app.router.add_route("*", "/", self._root)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, port or self.port, backlog=512)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, request: web.Request) -> web.Response:
        self.peers.append(request.remote)
        self.checks.append((request.headers.get("Host", ""), f"{request.version.major}.{request.version.minor}"))
        return web.Response(text=self.body, status=self.status)

    async def _root(self, request: web.Request) -> web.Response:
        self.served += 1
        self.peers.append(request.remote)
        self.headers.append(dict(request.headers))
        await request.read()
        return web.Response(text=self.name)

    async def _code(self, request: web.Request) -> web.Response:
        self.served += 1
        return web.Response(text=self.name, status=int(request.match_info["code"]))

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text=self.name)

    async def _sse(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(200):
            await response.write(f"data: {self.name} {number}\n\n".encode())
            await asyncio.sleep(0.02)
        return response

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(f"{self.name} {message.data}")
        return ws


class World:
    """A plane, its backends, and a balancer that tests change by replacing parts of it."""

    def __init__(self, root: Path) -> None:
        self.paths = LabPaths(root)
        self.table: dict[str, str | None] = {}
        self.backends: list[Backend] = []
        self.delays: list[float] = []  # of the next changes, when they differ from the switch
        self.plane = HaproxyPlane(self.paths, self.table.get, Switches(), delay=self._delay, pace=PACE)
        self.address = own_address()
        self.port = free_port(self.address)

    def _delay(self, seconds: float) -> float:
        return self.delays.pop(0) if self.delays else seconds

    async def backend(self, name: str) -> Backend:
        private = f"192.168.128.{10 + len(self.backends)}"
        backend = Backend(name, private)
        await backend.start()
        self.table[private] = backend.address
        self.backends.append(backend)
        return backend

    def config(self, *nodes: PlaneNode, **changes: object) -> PlaneConfig:
        base = PlaneConfig(
            id=1, port=self.port, protocol="http", algorithm="roundrobin", stickiness="none", check="http",
            check_interval=5, check_timeout=4, check_attempts=2, check_path="/healthz", check_body="",
            check_passive=False, ssl_cert=None, ssl_key=None, nodes=nodes,
        )  # fmt: skip
        return msgspec.structs.replace(base, **changes)

    def balancer(self, *configs: PlaneConfig, throttle: int = 0) -> PlaneBalancer:
        return PlaneBalancer(7, self.address, throttle, configs)

    async def apply(self, *nodes: PlaneNode, **changes: object) -> None:
        await self.plane.apply(self.balancer(self.config(*nodes, **changes)))

    async def close(self) -> None:
        await self.plane.close()
        for backend in self.backends:
            await backend.stop()


def node(backend: Backend, mode: str = "accept", weight: int = 100, number: int | None = None) -> PlaneNode:
    identity = number if number is not None else int(backend.private.rpartition(".")[2])
    return PlaneNode(identity, backend.node_address, weight, mode)  # type: ignore[arg-type]


async def get(world: World, path: str = "/", **options: object) -> tuple[int, str]:
    """One request on a connection of its own."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(f"http://{world.address}:{world.port}{path}", **options) as answer,  # type: ignore[arg-type]
    ):
        return answer.status, await answer.text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "lab")
    yield world
    await world.close()
