"""The language between deployer and agent: frames, limits, operations and errors. Both ends import this file.

A frame is `kind, request, length` and `length` bytes. Requests and replies are JSON; everything large or endless
(archives, output, logs) goes in chunks. A chunk may only be sent against credit: each side grants what it is ready
to hold, so neither can fill the other's memory, and one busy stream never blocks a look.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

PROTOCOL = 1
MARKER = b"\x00celadon-agent\x00\n"  # ends whatever a login shell's start-up files print
NO_PYTHON = b"celadon: no python3"  # instead of the marker, followed by the versions that were found

HEADER = struct.Struct("!BII")
REQUEST = 1  # JSON: {"op": name, "args": {…}}
REPLY = 2  # JSON: {"ok": value} or {"error": {kind, message, hint, details}}; request 0 is the greeting
CHUNK = 3  # one byte: the stream; then data
END = 4  # no more chunks from the deployer for this request
CREDIT = 5  # four bytes: how many more bytes of chunks the other side may send
PING = 6
PONG = 7
CANCEL = 8  # the deployer does not want the rest

STDIN = 0
STDOUT = 1
STDERR = 2

MAX_JSON = 4 << 20
MAX_CHUNK = 64 << 10
WINDOW = 1 << 20  # bytes of chunks in flight a request: 25 MB/s at 40 ms
SILENCE = 60.0  # seconds without a frame (the deployer sends one every few) after which the agent leaves

READ = "read"
EFFECT = "effect"
STORE = "store"
OPERATIONS = {
    "look": READ,
    "warm_up": READ,
    "try_out": READ,  # nothing of it lasts
    "tail": READ,
    "logs": READ,
    "run": EFFECT,
    "raise_fence": EFFECT,
    "put_settings": EFFECT,
    "put_artifact": EFFECT,
    "start": EFFECT,
    "stop": EFFECT,
    "prune": EFFECT,
    "read_document": STORE,
    "swap_document": STORE,
    "read_journal": STORE,
    "append": STORE,
    "rollouts": STORE,
    "releases": READ,
    "home_facts": STORE,
    "home_digest": STORE,
    "home_claim": EFFECT,
    "home_receive": STORE,
    "home_seal": STORE,
    "home_leave": STORE,
    "home_open": STORE,
    "home_found": STORE,
}

CHANGES = frozenset(name for name, kind in OPERATIONS.items() if kind == EFFECT) | {
    "swap_document",
    "append",
    "home_receive",
    "home_seal",
    "home_leave",
    "home_open",
    "home_found",
}
"""Without an answer to one of these, it may have been done."""

REFUSED = "refused"
UNAVAILABLE = "unavailable"
LEASE_LOST = "lease_lost"
NOT_HOME = "not_home"
BUG = "bug"


class BadFrame(Exception):
    """The other side does not speak this protocol: the link cannot be used any more."""


def limit(kind: int) -> int:
    """The longest payload a frame of this kind may have."""
    if kind in (REQUEST, REPLY):
        return MAX_JSON
    if kind == CHUNK:
        return MAX_CHUNK + 1
    if kind == CREDIT:
        return 4
    if kind in (END, PING, PONG, CANCEL):
        return 0
    raise BadFrame(f"unknown kind of frame {kind}")


def check_header(header: bytes) -> tuple[int, int, int]:
    """(kind, request, length) of a frame whose length is within its kind's limit."""
    kind, request, length = HEADER.unpack(header)
    if length > limit(kind):
        raise BadFrame(f"a frame of kind {kind} with {length} bytes")
    return kind, request, length


def frame(kind: int, request: int, payload: bytes = b"") -> bytes:
    if len(payload) > limit(kind):
        raise BadFrame(f"a frame of kind {kind} with {len(payload)} bytes")
    return HEADER.pack(kind, request, len(payload)) + payload


def read_frame(source: BinaryIO) -> tuple[int, int, bytes] | None:
    """The next frame; None at the end of input, also in the middle of a frame: nobody is there to answer."""
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    kind, request, length = check_header(header)
    payload = source.read(length) if length else b""
    return (kind, request, payload) if len(payload) == length else None
