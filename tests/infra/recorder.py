"""A proxy on loopback before a lab's API: passes everything on and remembers what was asked, in order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web


class Recorder:
    def __init__(self, url: str) -> None:
        self.url = ""
        self.asked: list[str] = []
        """`GET /nodebalancers/1?page=1`: method and path below the version."""
        self._behind = url

    def forget(self) -> None:
        self.asked.clear()

    async def pass_on(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path_qs.removeprefix('/v4')}")
        headers = {name: request.headers[name] for name in ("Authorization", "X-Filter") if name in request.headers}
        body = await request.read()
        if body:
            headers["Content-Type"] = "application/json"
        async with (
            ClientSession(trust_env=False) as session,
            session.request(
                request.method, f"{self._behind}{request.path_qs}", data=body or None, headers=headers
            ) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name in ("Content-Type", "Retry-After")}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)


@asynccontextmanager
async def recording(url: str) -> AsyncIterator[Recorder]:
    recorder = Recorder(url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.pass_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        recorder.url = f"http://{host}:{port}"
        yield recorder
    finally:
        await runner.cleanup()
