"""Slots for tests of the agent: loopback addresses of their own, ports from the kernel, and plain JSON values."""

import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_next = itertools.count(1)


def own_slot(host: str = "web-1") -> dict[str, Any]:
    """An address in 127/8 that no other worker uses, and a port that is free there."""
    address = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.{next(_next) % 250 + 1}"
    with socket.socket() as door:
        door.bind((address, 0))
        return {"host": host, "address": address, "port": door.getsockname()[1]}


def until(ask: Callable[[], T], wanted: Callable[[T], bool], what: str, seconds: float = 30.0) -> T:
    """Ask until the answer is as wanted; returns it. The last answer is in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; the last answer: {answer!r}"
        time.sleep(0.03)
