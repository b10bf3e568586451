"""TCP sockets as the Linux kernel tells of them: tables under /proc, and netlink news of each socket's end.

Facts only; what they mean for a slot is in `counting.py`. No root is needed except to look into another network
namespace by netlink (its tables under /proc are open to everybody).

A sample of a table misses what is shorter than its interval (at 20 requests a second, 1 of 113 samples saw one).
The kernel also broadcasts the end of every TCP socket to `SOCK_DIAG` listeners, so nothing has to be sampled: the
news waits in a socket's buffer until somebody reads it, and a filter in the kernel keeps other ports out of it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from celadon.agent import inetdump
from celadon.agent.inetdump import HEADER, NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY

ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2 = 0x01, 0x03, 0x04, 0x05
CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 0x08, 0x09, 0x0A, 0x0B
TIME_WAIT, NEW_SYN_RECV = 0x06, 0x0C  # a connection that is over; the kernel's own name for SYN_RECV in a question
EVERY = frozenset(range(1, NEW_SYN_RECV + 1)) - {TIME_WAIT}

# include/uapi/linux/sock_diag.h: SKNLGRP_INET_TCP_DESTROY = 1, SKNLGRP_INET6_TCP_DESTROY = 3, as a bit mask.
TCP_DESTROY_GROUPS = (1 << 0) | (1 << 2)
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
CLONE_NEWNET = 0x40000000

PORTS_AT = HEADER.size + 4  # inet_diag_msg: family, state, timer, retransmits, then the ports in network order
ADDRESS_AT = PORTS_AT + 4
MESSAGE_END = ADDRESS_AT + 16
BUFFER_BYTES = 1 << 20  # about 1,000 ends between two reads; more is reported as overflow, never as silence


class Row(NamedTuple):
    """One socket. A connection of which only the TIME_WAIT record is left is over, and none."""

    address: str
    port: int
    remote_port: int
    state: int
    inode: int


class Owner(NamedTuple):
    pid: int
    name: str


def plain(packed: bytes) -> str:
    """4 or 16 bytes as text; an IPv4 address inside IPv6 is the IPv4 address that it is."""
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def is_wildcard(address: str) -> bool:
    return address in ("0.0.0.0", "::")


def is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def rows(port: int, pid: int | None = None, states: Iterable[int] = EVERY) -> list[Row]:
    """Every IPv4 and IPv6 socket with this local port, in the namespace of `pid` (None: our own); port 0: of all ports.

    Our own namespace is asked by netlink, which is cheap; another's, or where the kernel has no netlink, by its tables.
    Raises OSError where those cannot be read: the process is gone, or /proc hides it.
    """
    wanted = frozenset(states)
    if pid is None:
        try:
            return [_row(one) for one in inetdump.sockets(sum(1 << each for each in wanted), port)]
        except OSError:
            pass  # a kernel without inet_diag: its tables say the same
    folder = Path("/proc/net" if pid is None else f"/proc/{pid}/net")
    found = list(_table(folder / "tcp", port))
    try:
        found.extend(_table(folder / "tcp6", port))
    except FileNotFoundError:  # a kernel without IPv6 has no such table, and no such connections
        (folder / "tcp").stat()
    return [row for row in found if row.state in wanted]


def listeners(pid: int | None = None) -> list[Row]:
    """Every listening socket in the namespace of `pid` (None: our own). Raises OSError as `rows` does."""
    return rows(0, pid, (LISTEN,))


def _row(one: inetdump.Socket) -> Row:
    return Row(plain(one.address), one.port, one.remote_port, one.state, one.inode)


def _table(path: Path, port: int) -> Iterator[Row]:
    wanted = f":{port:04X}" if port else ":"
    with path.open(encoding="ascii") as lines:
        next(lines, None)
        for line in lines:
            if wanted not in line:  # most lines of a busy host, and no need to take them apart
                continue
            fields = line.split()
            if port and not fields[1].endswith(wanted):
                continue
            if fields[5].startswith("03:"):  # the timer of a TIME_WAIT record, whatever state it prints
                continue
            yield Row(
                address=_address(fields[1].partition(":")[0]),
                port=int(fields[1].rpartition(":")[2], 16),
                remote_port=int(fields[2].rpartition(":")[2], 16),
                state=int(fields[3], 16),
                inode=int(fields[9]),
            )


@functools.lru_cache(maxsize=256)
def _address(text: str) -> str:
    """The rows of one port have few addresses between them."""
    return plain(_packed(text))


def _packed(text: str) -> bytes:
    """The table prints each 32-bit word in the machine's own order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "big":
        return raw
    return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))


def listener(address: str, port: int, pid: int | None = None) -> Row | None:
    """Who would get a connection to this address and port, or be in the way of a bind to it."""
    found = None
    for row in rows(port, pid, (LISTEN,)):
        if row.address == address:
            return row
        if is_wildcard(row.address) or is_wildcard(address):
            found = row
    return found


def owner(inode: int) -> Owner | None:
    """The process that holds this socket. None: it is not ours to see (another user's, without root)."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8", "replace").strip()
                return Owner(int(process.name), name)
        except OSError:  # it ended while we looked, or belongs to somebody else
            continue
    return None


def passive_opens(pid: int) -> int:
    """How many connections were ever accepted in the namespace of `pid`. Raises OSError."""
    path = Path(f"/proc/{pid}/net/snmp")
    with path.open(encoding="ascii") as lines:
        names: list[str] = []
        for line in lines:
            fields = line.split()
            if fields[0] != "Tcp:":
                continue
            if not names:
                names = fields
                continue
            return int(fields[names.index("PassiveOpens")])
    raise OSError(errno.ENODATA, "no Tcp line", str(path))


def started_at(pid: int) -> int | None:
    """The start time of a process in clock ticks: with the pid, a name that is never used twice. None: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


class End(NamedTuple):
    """One TCP socket with this local address that ceased to be."""

    address: str
    remote_port: int


class Ends:
    """The ends of the TCP sockets of one local port, since this was made, in one network namespace.

    Raises OSError where netlink is not to be had, or (`pid` given) the namespace cannot be entered.
    """

    def __init__(self, port: int, pid: int | None = None, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._socket = _netlink_socket() if pid is None else _inside(pid)
        _enlarge(self._socket, buffer_bytes)
        try:
            _only(self._socket, port)
            self._socket.bind((0, TCP_DESTROY_GROUPS))
        except OSError:
            self._socket.close()
            raise

    def read(self) -> tuple[list[End], bool]:
        """What came since the last read, and whether some of it was lost for want of buffer."""
        ends: list[End] = []
        overflowed = False
        while True:
            try:
                message = self._socket.recv(1 << 16)
            except BlockingIOError:
                return ends, overflowed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overflowed = True
                continue
            ends.extend(_ends(message))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


def _netlink_socket() -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    netlink.setblocking(False)
    return netlink


def _enlarge(netlink: socket.socket, size: int) -> None:
    try:
        netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:  # not root: as much as the system's limit gives
        netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _inside(pid: int) -> socket.socket:
    """A netlink socket of another process's network namespace. A thread goes there and ends; we stay."""
    result: list[socket.socket] = []
    problem: list[OSError] = []

    def go() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(namespace, CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code), "setns")
                result.append(_netlink_socket())
            finally:
                os.close(namespace)
        except OSError as error:
            problem.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]


def _only(netlink: socket.socket, port: int) -> None:
    """Let the kernel drop other ports' news before it takes our buffer: a busy neighbour must not drown a slot."""
    load_half_word, jump_if_equal, give_back = 0x28, 0x15, 0x06
    code = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (load_half_word, 0, 0, PORTS_AT),
            (jump_if_equal, 0, 1, port),
            (give_back, 0, 0, 0xFFFFFFFF),
            (give_back, 0, 0, 0),
        )
    )
    program = ctypes.create_string_buffer(code, len(code))
    netlink.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(program)))


def _ends(message: bytes) -> Iterator[End]:
    at = 0
    while at + MESSAGE_END <= len(message):
        length, kind = HEADER.unpack_from(message, at)[:2]
        if length < MESSAGE_END:
            return
        remote_port = struct.unpack_from("!H", message, at + PORTS_AT + 2)[0]
        if kind == SOCK_DIAG_BY_FAMILY and remote_port:  # without one it was a listener
            size = 4 if message[at + HEADER.size] == socket.AF_INET else 16
            yield End(plain(message[at + ADDRESS_AT : at + ADDRESS_AT + size]), remote_port)
        at += (length + 3) & ~3


def ends_are_told() -> bool:
    """Whether this kernel really broadcasts ends: without the inet_diag module it takes listeners and is silent."""
    try:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen(1)
            ends = Ends(door.getsockname()[1])
            try:
                with socket.create_connection(door.getsockname(), timeout=1.0):
                    door.settimeout(1.0)
                    door.accept()[0].close()
                return _heard(ends, 1.0)
            finally:
                ends.close()
    except OSError:
        return False


def _heard(ends: Ends, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        select.select([ends], [], [], 0.1)
        if ends.read()[0]:
            return True
    return False
