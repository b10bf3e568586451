"""The health probe against servers that answer anything."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celadon.agent import probe
from celadon.agent.errors import AgentError

HOW = {"path": "/healthz", "host_header": "shop.example", "https": False, "timeout": 10.0}
Serve = Callable[[bytes], int]


class Door:
    """Answers one connection with given bytes; `keep` leaves it open afterwards."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.request = b""

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def answers(self, answer: bytes, *, keep: bool = False) -> None:
        def serve() -> None:
            connection, _ = self._socket.accept()
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            connection.sendall(answer)
            if keep:
                self._kept.append(connection)
            else:
                connection.close()

        self._threads.append(threading.Thread(target=serve))
        self._threads[-1].start()

    def close(self) -> None:
        for thread in self._threads:
            thread.join(30)
        for connection in self._kept:
            connection.close()
        self._socket.close()


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


def ask(door: Door, **changes: Any) -> dict[str, Any]:
    return probe.ask("127.0.0.1", door.port, {**HOW, **changes})


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nfine", 200, ""),
        (b"HTTP/1.0 204\r\n\r\n", 204, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ncut", 200, ""),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", 301, "answered 301"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", 500, "answered 500"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", None, "the answer is not HTTP"),
        (b"HTTP/1.1 2xx\r\n\r\n", None, "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", None, "the answer is not HTTP"),
        (b"", None, "closed the connection without an answer"),
    ],
)
def test_only_a_whole_2xx_answer_passes(door: Door, answer: bytes, status: int | None, error: str) -> None:
    door.answers(answer)
    facts = ask(door)
    assert (facts["ok"], facts["status"], facts["error"]) == (error == "", status, error)


def test_it_asks_as_the_balancer_would(door: Door) -> None:
    door.answers(b"HTTP/1.1 200 OK\r\n\r\n")
    ask(door, https=True)
    lines = door.request.decode().split("\r\n")
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert {"Host: shop.example", "X-Forwarded-Proto: https", "Connection: close"} <= set(lines)


def test_silence_ends_at_the_deadline(door: Door) -> None:
    door.answers(b"HTTP/1.1 200 OK\r\n", keep=True)
    facts = ask(door, timeout=0.2)
    assert (facts["ok"], facts["error"]) == (False, "no answer within 0.2 s")


def test_a_body_without_end_does_not_spoil_the_answer(door: Door) -> None:
    door.answers(b"HTTP/1.1 200 OK\r\n\r\nsome", keep=True)
    assert ask(door, timeout=0.2)["ok"]


def test_nobody_there_is_said_in_one_line(door: Door) -> None:
    port = door.port
    door.close()
    facts = probe.ask("127.0.0.1", port, HOW)
    assert (facts["ok"], facts["status"], facts["error"]) == (False, None, "connection refused")


@pytest.mark.parametrize("change", [{"path": "/ x"}, {"path": "/\r\nX: y"}, {"host_header": "a\r\nb"}, {"path": ""}])
def test_a_request_cannot_be_smuggled(door: Door, change: dict[str, str]) -> None:
    with pytest.raises(AgentError):
        ask(door, **change)
