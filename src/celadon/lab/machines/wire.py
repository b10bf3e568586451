"""An instance's network cable: every SSH connection goes through it, and it can be cut, held or pulled.

The bytes are relayed between the caller's socket and a socket pair whose other end the SSH server has. That costs
a copy and gives what no SSH library offers: a link on which nothing moves any more, in both directions.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

from celadon.lab.loopback import BACKLOG, silence

log = logging.getLogger(__name__)
CHUNK = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends a reset


class Connection:
    """One caller, relayed."""

    def __init__(self, caller: socket.socket, flowing: asyncio.Event) -> None:
        self._caller = caller
        self._near, self.far = socket.socketpair()
        self._flowing = flowing
        for sock in (self._near, self.far, caller):
            sock.setblocking(False)

    async def relay(self) -> None:
        """Until both sides have ended; cancel it to cut the connection off."""
        orderly = False
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(self._caller, self._near))
                both.create_task(self._pump(self._near, self._caller))
            orderly = True
        except* OSError as errors:
            log.debug("SSH connection ended: %s", errors.exceptions)
        finally:
            if not orderly:
                with contextlib.suppress(OSError):  # already reset by the caller
                    self._caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self, _relay: asyncio.Future[None] | None = None) -> None:
        self._caller.close()
        self._near.close()

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, CHUNK):
            await self._flowing.wait()
            await loop.sock_sendall(sink, data)
        await self._flowing.wait()
        sink.shutdown(socket.SHUT_WR)


class Wire:
    """Starts unplugged: callers are refused, the port stays ours."""

    def __init__(self, listener: socket.socket, serve: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._listener = listener
        self._serve = serve
        self._flowing = asyncio.Event()
        self._accepting: asyncio.Task[None] | None = None
        self._filler: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def plug(self) -> None:
        """Carry traffic: at the start, and again after `hold` or `pull`."""
        if self._filler is not None:
            self._filler.close()
            self._filler = None
        self._listener.listen(BACKLOG)
        self._listening = True
        self._flowing.set()
        if self._accepting is None:
            self._accepting = asyncio.create_task(self._accept())

    async def hold(self) -> None:
        """Nobody is at home: connections stay and new ones are made, but nothing is ever answered."""
        self._flowing.clear()
        await self._stop_accepting()

    async def pull(self) -> None:
        """The network is gone: nothing moves, and new connections hang."""
        await self.hold()
        if self._filler is None:
            self._filler = await asyncio.to_thread(silence, self._listener)

    async def cut(self) -> None:
        """Reset every open connection, once."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def unplug(self) -> None:
        """Reset every open connection and refuse new ones."""
        await self._stop_accepting()
        if self._filler is not None:
            self._filler.close()
            self._filler = None
        if self._listening:
            self._listener.shutdown(socket.SHUT_RDWR)  # bound it stays
            self._listening = False
        await self.cut()

    async def close(self) -> None:
        await self.unplug()
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            caller, _ = await loop.sock_accept(self._listener)
            connection = Connection(caller, self._flowing)
            relay = asyncio.ensure_future(connection.relay())
            relay.add_done_callback(connection.close)
            for task in (relay, asyncio.ensure_future(self._serve(connection.far))):
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
            self._accepting = None
