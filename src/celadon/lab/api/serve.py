"""Serves the lab's application on a loopback address, and on nothing else."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from celadon.core.errors import Refused, Unavailable

START_SECONDS = 30.0
END_SECONDS = 10.0


class Droppable(H11Protocol):
    """Hands the connection to the application, which may be asked to lose an answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.app_state = {**self.app_state, "connection": transport}


class QuietServer(uvicorn.Server):
    """Signals belong to whoever runs the lab."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Served:
    """A running API. `url` has no version in it, as `LINODE_URL` wants it."""

    def __init__(
        self, url: str, server: uvicorn.Server, task: asyncio.Task[None], resources: contextlib.AsyncExitStack
    ) -> None:
        self.url = url
        self._server = server
        self._task = task
        self._resources = resources

    async def close(self) -> None:
        """Open requests get a second; then the connections are cut."""
        self._server.should_exit = True
        done, _ = await asyncio.wait([self._task], timeout=END_SECONDS)
        if not done:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._resources.aclose()


async def serve(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> Served:
    """Returns when requests are answered. Port 0: the kernel chooses. Raises Refused for any address but loopback."""
    refuse_public(host)
    async with contextlib.AsyncExitStack() as resources:
        listening = resources.enter_context(contextlib.closing(_listen(host, port)))
        # Entered here and not by uvicorn, which would end the whole program where this fails.
        await resources.enter_async_context(app.router.lifespan_context(app))
        config = uvicorn.Config(
            app,
            http=Droppable,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = QuietServer(config)
        task = asyncio.create_task(server.serve(sockets=[listening]), name="lab api")
        await _started(server, task)
        bound = cast("tuple[str, int]", listening.getsockname())[1]
        shown = f"[{host}]" if ":" in host else host
        return Served(f"http://{shown}:{bound}", server, task, resources.pop_all())


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.002)
    except TimeoutError:
        task.cancel()
        raise Unavailable(f"the lab's API did not start within {START_SECONDS:g} s") from None
    if task.done():
        raise Unavailable("the lab's API did not start", hint="its log says why") from task.exception()


def refuse_public(host: str) -> None:
    """A lab lets anybody in who has its token and runs what they ask: it is for this machine alone."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Refused(f"the lab does not listen on {host!r}", hint="use an address of 127.0.0.0/8")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle off only then; without it every answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Unavailable(f"{host}:{port} cannot be used: {error.strerror}", hint="choose another port") from error
    return listening
