"""Addresses and ports of 127/8 that no other test process uses."""

import itertools
import os
import socket

_counter = itertools.count()


def own_address() -> str:
    """Sixteen addresses a process (the last twelve bits of its pid, and a counter)."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 12) % 64}.{(pid >> 4) % 256}.{(pid % 16) << 4 | (next(_counter) % 15 + 1)}"


def free_port(address: str) -> int:
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])
