"""One question to the kernel: the TCP sockets of this network namespace in these states, with this local port.

The kernel leaves out what was not asked for. Its text table (/proc/net/tcp) has a line for every connection of the
last minute as well: 200 requests a second make 12,000 of them, which cost a look at the host 20 ms of processor time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
TIMER_TIME_WAIT = 3  # what is left of a connection that is over, whatever state it tells
SECONDS = 5.0  # the kernel answers at once, or never

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, sender
REQUEST = struct.Struct("=BBBxI2s2s44x")  # inet_diag_req_v2; ports in network order, no address and no cookie
# inet_diag_msg: family, state, (timer, retransmits), local port, remote port, local address, (remote, interface,
# cookie), (expires, queues, user), inode
MESSAGE = struct.Struct("=BBxxHH16s16x12x16xI")
TIMER_AT = HEADER.size + 2


class Socket(NamedTuple):
    """`address`: 4 or 16 bytes, the local one."""

    address: bytes
    port: int
    remote_port: int
    state: int
    inode: int


def sockets(states: int, port: int = 0) -> list[Socket]:
    """IPv4 and IPv6, but no TIME_WAIT records. `states`: a mask of `1 << state`; `port` 0: all.

    Raises OSError where there is no answer.
    """
    return [one for family in (socket.AF_INET, socket.AF_INET6) for one in ask(family, states, port)]


def ask(family: int, states: int, port: int = 0) -> Iterator[Socket]:
    """Those of one address family."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(SECONDS)
        yield from _dump(netlink, family, states, port)


def _dump(netlink: socket.socket, family: int, states: int, port: int) -> Iterator[Socket]:
    question = REQUEST.pack(family, socket.IPPROTO_TCP, 0, states, struct.pack("!H", port), b"\0\0")
    head = HEADER.pack(HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, 0)
    netlink.sendto(head + question, (0, 0))
    while True:
        answer = netlink.recv(1 << 16)
        if not answer:
            raise OSError(errno.ENODATA, "no answer from the kernel")
        at = 0
        while at + HEADER.size <= len(answer):
            length, kind = HEADER.unpack_from(answer, at)[:2]
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR or length < HEADER.size:
                code = -struct.unpack_from("=i", answer, at + HEADER.size)[0] if kind == NLMSG_ERROR else errno.EBADMSG
                raise OSError(code, os.strerror(code))
            if kind == SOCK_DIAG_BY_FAMILY and answer[at + TIMER_AT] != TIMER_TIME_WAIT:
                yield _socket(answer, at + HEADER.size)
            at += (length + 3) & ~3


def _socket(answer: bytes, at: int) -> Socket:
    family, state, port, remote_port, address, inode = MESSAGE.unpack_from(answer, at)
    return Socket(
        address[:4] if family == socket.AF_INET else address,
        socket.ntohs(port),
        socket.ntohs(remote_port),
        state,
        inode,
    )
