"""One HTTP request to a slot of this host: health probe and warm-up. 2xx passes; a redirect proves nothing."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

HEAD_LIMIT = 64 << 10
BODY_LIMIT = 1 << 20  # read and thrown away: closing earlier would look like a broken client in the app's log
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |$)")
_made: Counter[tuple[str, int]] = Counter()
_making = threading.Lock()
_SAFE = re.compile(r"[\x21-\x7e]+")


def ask(address: str, port: int, question: dict[str, Any]) -> dict[str, Any]:
    """`ProbeFacts`: ok, status, error (one safe line), seconds."""
    request = _request(address, port, question)
    began = time.monotonic()
    status: int | None = None
    try:
        status = _status(address, port, request, began + float(question["timeout"]))
        error = "" if 200 <= status < 300 else f"answered {status}"
    except _NotHttp as problem:
        error = str(problem)
    except TimeoutError:
        error = "no answer within {:g} s".format(question["timeout"])
    except OSError as problem:
        error = (problem.strerror or type(problem).__name__).lower()
    return {"ok": not error, "status": status, "error": error, "seconds": time.monotonic() - began}


class Whole(NamedTuple):
    """An answer that came to its end. `location`: where a redirect leads; empty where it is none."""

    status: int
    location: str


def whole_answer(address: str, port: int, question: Mapping[str, Any], seconds: float) -> Whole:
    """Raises OSError or HTTPException where it was cut."""
    request = _request(address, port, question)
    with socket.create_connection((address, port), timeout=seconds) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection, method="GET")
        answer.begin()
        answer.read()
        return Whole(answer.status, answer.getheader("Location", ""))


class _NotHttp(Exception):
    pass


def _request(address: str, port: int, question: Mapping[str, Any]) -> bytes:
    path, host = str(question["path"]), str(question["host_header"]) or authority(address, port)
    for what, text in (("path", path), ("host header", host)):
        if not _SAFE.fullmatch(text):
            raise AgentError(REFUSED, f"the probe's {what} {text!r:.80} has characters that HTTP does not allow")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: celadon-probe",
        "Accept: */*",
        "Connection: close",
    ]
    if question["https"]:
        lines.append("X-Forwarded-Proto: https")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def authority(address: str, port: int) -> str:
    """`host:port` as URLs and headers have it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def made(address: str, port: int) -> int:
    """Connections that this agent's own requests opened there: what a slot's count holds of our own."""
    with _making:
        return _made[address, port]


def _status(address: str, port: int, request: bytes, end: float) -> int:
    with socket.create_connection((address, port), timeout=_left(end)) as connection:
        with _making:
            _made[address, port] += 1
        connection.settimeout(_left(end))
        connection.sendall(request)
        head, rest = _head(connection, end)
        match = _STATUS.match(head.split(b"\r\n")[0])
        if not match:
            raise _NotHttp("the answer is not HTTP")
        _drain(connection, end, len(rest))
        return int(match.group(1))


def _head(connection: socket.socket, end: float) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        connection.settimeout(_left(end))
        data = connection.recv(HEAD_LIMIT)
        if not data:
            raise _NotHttp("closed the connection without an answer" if not received else "the answer is not HTTP")
        received += data
        if len(received) > HEAD_LIMIT:
            raise _NotHttp("the answer's headers have no end")
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _drain(connection: socket.socket, end: float, read: int) -> None:
    # The status line has answered the question; a body that stalls or is cut is the app's own business.
    try:
        while read < BODY_LIMIT:
            connection.settimeout(_left(end))
            data = connection.recv(65536)
            if not data:
                return
            read += len(data)
    except OSError:
        return


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
