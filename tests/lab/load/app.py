"""An application that answers every kind of the load, with faults on request."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from celadon.lab.load_report import Report


async def seen(look: Callable[[], Awaitable[Report]], wanted: Callable[[Report], bool]) -> Report:
    """Look again and again, for a minute at most."""
    async with asyncio.timeout(60):
        while True:
            if wanted(report := await look()):
                return report
            await asyncio.sleep(0.02)


class LoadedApp:
    """`release` is echoed in `X-Release`. `break_*` decide what goes wrong with the next requests of a kind."""

    def __init__(self, release: str = "v1") -> None:
        self.release = release
        self.connections: set[object] = set()
        self.requests = 0
        self.fail_every = 0  # each n-th GET / answers 500
        self.events_missing = 0  # events left out at the end
        self.cut_streams = False  # the connection is dropped in the middle
        self.mangle = False  # echoes come back changed
        self.never_answer = False
        self.close_frame = 0  # the WebSocket is closed with this code after its first message

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._root)
        app.router.add_post("/echo", self._echo)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/events", self._events)
        app.router.add_get("/ws", self._ws)
        app.on_response_prepare.append(self._name)
        return app

    async def _name(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Release"] = self.release

    async def _root(self, request: web.Request) -> web.Response:
        self.requests += 1
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        if self.never_answer:
            await asyncio.Event().wait()
        if self.fail_every and self.requests % self.fail_every == 0:
            return web.Response(status=500)
        return web.Response(text=f"Hello from {self.release}")

    async def _echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(body=body[::-1] if self.mangle else body)

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.Response(text="slow")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(int(request.query["count"]) - self.events_missing):
            await response.write(f"id: {number}\r\ndata: event {number}\r\n\r\n".encode())
            await asyncio.sleep(float(request.query["every"]))
            if self.cut_streams:
                assert request.transport is not None
                request.transport.abort()
        return response

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if self.cut_streams:
                assert request.transport is not None
                request.transport.abort()
            elif self.close_frame:
                await socket.close(code=self.close_frame)
            else:
                await socket.ping()
                await socket.send_str(message.data[::-1] if self.mangle else message.data)
        return socket
