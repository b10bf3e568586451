"""An API that belongs to somebody else: HTTP on loopback whose answers a test makes byte by byte."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

BALANCER = {"id": 1, "label": "app-nodebalancer", "ipv4": "127.0.0.1", "region": "us-ord", "client_conn_throttle": 0}
CONFIG = {
    "id": 11, "port": 80, "protocol": "http", "check": "http", "check_interval": 5, "check_attempts": 3,
    "check_passive": False, "stickiness": "none",
}  # fmt: skip
NODE = {
    "id": 100, "config_id": 11, "label": "blue-1", "address": "192.168.130.11:5000", "weight": 100, "mode": "accept",
    "status": "UP",
}  # fmt: skip

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(answer: bytes) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return say


def js(value: Any, *headers: str, status: str = "200 OK") -> Say:
    return says(http(status, json.dumps(value).encode(), *headers))


def endless(head: bytes, piece: bytes, most: int = 256 << 20) -> Say:
    """As long as anybody reads (and in any case an end: it must be seen to be bounded by the reader)."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(most // len(piece)):
            writer.write(piece)
            await writer.drain()

    return say


@dataclass
class HostileApi:
    """`answers`: by the path's end, and the connection ends with them; everything else gets an honest answer."""

    url: str = ""
    answers: dict[str, Say] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, the Authorization header)

    def reset(self) -> None:
        self.answers, self.requests = {}, []

    def hostile(self, target: str) -> Say | None:
        path = urlsplit(target).path
        return next((say for end, say in self.answers.items() if path.endswith(end)), None)

    def honest(self, target: str) -> Say:
        path = urlsplit(target).path
        match path.split("/")[2:]:
            case ["profile"]:
                return js({"username": "me"}, "X-OAuth-Scopes: nodebalancers:read_write linodes:read_only")
            case ["nodebalancers"]:
                return js({"data": [BALANCER], "pages": 1})
            case ["nodebalancers", "1"]:
                return js(BALANCER)
            case ["nodebalancers", "1", "configs"]:
                return js({"data": [CONFIG], "pages": 1})
            case ["nodebalancers", "1", "configs", "11", "nodes"]:
                return js({"data": [NODE], "pages": 1})
            case ["balancers", "1"]:  # the lab's own
                return js({"listeners": [{"port": 80, "host": "127.0.0.1", "bound_port": 9}]})
            case _:
                return js({"errors": [{"reason": "Not found"}]}, status="404 Not Found")


@asynccontextmanager
async def hostile_api() -> AsyncIterator[HostileApi]:
    state = HostileApi()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                given = next((line for line in head if line.lower().startswith("authorization:")), "")
                length = next((int(line[15:]) for line in head if line.lower().startswith("content-length:")), 0)
                await reader.readexactly(length)
                target = head[0].split(" ")[1]
                state.requests.append((target, given))
                if (say := state.hostile(target)) is not None:
                    await say(writer)
                    break
                await state.honest(target)(writer)
            writer.close()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
