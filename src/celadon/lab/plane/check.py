"""One active health check of one backend, as the NodeBalancer makes it. No state, no policy."""

import asyncio
import re
from collections.abc import Callable

import msgspec

BODY_LIMIT = 16384  # bytes of an answer that are looked at: HAProxy's own buffer


class Target(msgspec.Struct, frozen=True):
    """Where to dial (an address of the plane's link), whom to say we want, and from which address to come."""

    host: str
    port: int
    name: str
    source: str


class Probe(msgspec.Struct, frozen=True):
    """What counts as healthy. `body`: a pattern, for http_body only."""

    kind: str
    path: str
    body: str
    timeout_seconds: float


async def passes(probe: Probe, target: Target) -> bool:
    """Whether the backend is healthy now. Any failure to answer in time is a no."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            reader, writer = await asyncio.open_connection(target.host, target.port, local_addr=(target.source, 0))
            try:
                return probe.kind == "connection" or await _answers_well(probe, target, reader, writer)
            finally:
                writer.close()
    except (OSError, TimeoutError):  # refused, reset, silent: what a check is for
        return False


async def _answers_well(
    probe: Probe, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    writer.write(f"GET {probe.path or '/'} HTTP/1.0\r\nHost: {target.name}\r\n\r\n".encode())
    answer = b""
    # Only http_body needs more than the status line; a stream that never ends must not hold the check.
    enough: Callable[[], bool] = (
        (lambda: len(answer) >= BODY_LIMIT) if probe.kind == "http_body" else (lambda: b"\r\n" in answer)
    )
    while not enough() and (more := await reader.read(BODY_LIMIT)):
        answer += more
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", answer)
    if status is None or status[1][:1] not in (b"2", b"3"):
        return False
    if probe.kind == "http":
        return True
    body = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    return re.search(probe.body, body) is not None
