"""The kernel is asked by netlink, or its tables are read: both must say the same of the same sockets."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celadon.agent import inetdump, sockdiag
from celadon.agent.sockdiag import CLOSE_WAIT, ESTABLISHED, FIN_WAIT2, LISTEN, SYN_RECV


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def both(port: int) -> tuple[set[sockdiag.Row], set[sockdiag.Row]]:
    """(asked, read): a process's own tables are those of its namespace."""
    return set(sockdiag.rows(port)), set(sockdiag.rows(port, os.getpid()))


@pytest.mark.parametrize(
    ("family", "bound", "told"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_every_state_a_slot_can_show_is_told_alike(
    stack: ExitStack, family: socket.AddressFamily, bound: str, told: str
) -> None:
    door = stack.enter_context(socket.create_server((bound, 0), family=family, dualstack_ipv6=bound == "::"))
    port = door.getsockname()[1]
    lines = [stack.enter_context(socket.create_connection((told, port), timeout=10)) for _ in range(3)]
    served = [stack.enter_context(door.accept()[0]) for _ in lines]
    lines[1].close()  # the application has not closed yet
    served[2].close()  # the client has not closed yet
    asked, read = both(port)
    assert asked == read
    assert {row.address for row in asked if row.state != LISTEN} == {told}
    states = sorted(row.state for row in asked)
    assert states == sorted((LISTEN, ESTABLISHED, CLOSE_WAIT, FIN_WAIT2))


def test_a_connection_that_is_over_is_told_by_neither(stack: ExitStack) -> None:
    door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = door.getsockname()[1]
    line = socket.create_connection(door.getsockname(), timeout=10)
    served = door.accept()[0]
    served.close()  # who closes first keeps the record
    line.close()
    deadline = time.monotonic() + 10
    while len(sockdiag.rows(port)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    table = [row.split() for row in Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]]
    assert [row[3] for row in table if row[1].endswith(f":{port:04X}")].count("06") == 1  # the record is there
    asked, read = both(port)
    assert asked == read
    assert [row.state for row in asked] == [LISTEN]


def test_a_full_backlog_is_told_alike(stack: ExitStack) -> None:
    door = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        line = stack.enter_context(socket.socket())
        line.setblocking(False)
        line.connect_ex(door.getsockname())
    time.sleep(0.1)
    asked, read = both(door.getsockname()[1])
    assert {row.state for row in asked} <= {LISTEN, ESTABLISHED, SYN_RECV}
    assert {row[:4] for row in asked} == {row[:4] for row in read}


def test_only_listeners_of_all_ports(stack: ExitStack) -> None:
    doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
    stack.enter_context(socket.create_connection(doors[0].getsockname(), timeout=10))
    found = sockdiag.listeners()
    assert {door.getsockname()[1] for door in doors} <= {row.port for row in found}
    assert {row.state for row in found} == {LISTEN}


def test_a_question_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        list(inetdump.ask(socket.AF_APPLETALK, 1 << LISTEN))
