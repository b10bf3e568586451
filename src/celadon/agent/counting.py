"""How many connections a slot has, and how many it ever had. Unknown is None, and never 0.

A published Docker port is forwarded: the host's own table shows nothing of it, so a docker slot is counted inside
the container's network namespace, by the container's port. A venv slot is counted in the host's, by the slot's
address and port. "Ever opened" is what has ended (told by the kernel, `sockdiag.py`) plus what is alive; where the
kernel cannot be heard, a docker slot falls back on its namespace's own count of accepted connections, which has the
container's own health checks in it, and a venv slot is unknown.
"""

from __future__ import annotations

import select
from typing import NamedTuple

from celadon.agent import sockdiag
from celadon.agent.errors import AgentError

# The balancer uses no keep-alive, so each of these is a request that has not had all of its answer.
OPEN = frozenset((sockdiag.SYN_RECV, sockdiag.ESTABLISHED, sockdiag.CLOSE_WAIT, sockdiag.FIN_WAIT1, sockdiag.LAST_ACK))
# Sockets that have yet to end, and will be told of. SYN_RECV is none yet, and may never be one.
ALIVE = (OPEN - {sockdiag.SYN_RECV}) | {sockdiag.FIN_WAIT2, sockdiag.CLOSING}

MOST_WATCHES = 512  # far beyond any host's slots: a forgotten caller must not eat the host's memory


class Count(NamedTuple):
    """Connections open now, and ever opened. Each is None where it cannot be known; (0, 0): nobody is there."""

    open: int | None
    opened: int | None


UNKNOWN = Count(None, None)


class Subject(NamedTuple):
    """What is counted: everything about a slot that, when it changes, makes it another thing to count."""

    address: str
    port: int  # the slot's, on the host
    runtime: str
    inside: int | None  # docker: the container's init process
    born: int | None  # its start time: a pid alone may be somebody else's tomorrow
    inner_port: int  # the port in the namespace that is counted

    def concerns(self, address: str) -> bool:
        if self.runtime == "docker":  # published traffic never arrives on the container's loopback: health checks do
            return not sockdiag.is_loopback(address)
        return sockdiag.is_wildcard(self.address) or address == self.address


class Tally(NamedTuple):
    open: int
    alive: int


class Watch:
    """One running replica under observation. Holds one netlink socket, and a few numbers."""

    def __init__(self, subject: Subject, ends: sockdiag.Ends | None, carried: int) -> None:
        self.subject = subject
        self._ends = ends
        self._ended = 0
        self._opened = 0
        self._carried = carried  # of earlier replicas in this slot: differences must not go backwards

    def count(self) -> Count:
        if self.subject.inside is not None and sockdiag.started_at(self.subject.inside) != self.subject.born:
            return UNKNOWN  # restarted since it was looked up: the new one is yet to be counted
        try:
            # The news first: a socket that ends between the two readings is then in neither, until the next count.
            # The other way round it would be in both, and counted twice for ever.
            self._hear()
            tally = tally_of(self.subject)
            return Count(tally.open, self._opened_with(tally.alive))
        except OSError:
            return UNKNOWN

    def await_news(self, seconds: float) -> None:
        if self._ends is not None:
            select.select([self._ends], [], [], seconds)

    def _hear(self) -> None:
        if self._ends is None:
            return
        ended, overflowed = self._ends.read()
        # Overflow is traffic beyond counting: one more than known is enough to say "not quiet".
        self._ended += sum(self.subject.concerns(end.address) for end in ended) + overflowed

    def _opened_with(self, alive: int) -> int | None:
        if self._ends is not None:
            total = self._ended + alive
        elif self.subject.inside is not None:
            total = sockdiag.passive_opens(self.subject.inside)
        else:
            return None
        # Between a socket's leaving the table and the news of it, it is in neither.
        self._opened = max(self._opened, total)
        return self._carried + self._opened

    @property
    def reached(self) -> int:
        return self._carried + self._opened

    def close(self) -> None:
        if self._ends is not None:
            self._ends.close()


def tally_of(subject: Subject) -> Tally:
    """Counts now. Raises OSError where the table cannot be read."""
    is_open = is_alive = 0
    for row in sockdiag.rows(subject.inner_port, subject.inside):
        if not subject.concerns(row.address):
            continue
        is_open += row.state in OPEN
        is_alive += row.state in ALIVE
    return Tally(is_open, is_alive)


class Counter:
    """The counts of all slots a caller asks about, for as long as the agent runs.

    `netlink=False` does without the kernel's news: what a host without it would answer.
    """

    def __init__(self, *, netlink: bool = True) -> None:
        self._netlink: bool | None = None if netlink else False  # None: not tried yet
        self._watches: dict[str, Watch] = {}
        self._vacant: dict[str, tuple[str, int]] = {}

    def watch(
        self,
        slot_key: str,
        address: str,
        port: int,
        pid: int | None,
        runtime: str,
        container_port: int | None = None,
    ) -> None:
        """Call it at every look, before `count`: the same replica goes on, another one starts afresh.

        `address`, `port`: where the slot listens on this host (as bound). `pid`: the replica's process, docker: the
        container's init process; None: no replica runs. `container_port`: docker only, and needed there.
        """
        if pid is None:
            self.forget(slot_key)
            self._make_room()
            self._vacant[slot_key] = (address, port)
            return
        self._vacant.pop(slot_key, None)
        subject = _subject(address, port, pid, runtime, container_port)
        before = self._watches.get(slot_key)
        if before is not None and before.subject == subject:
            return
        carried = 0
        if before is not None:
            before.count()
            carried = before.reached
        self.forget(slot_key)
        self._make_room()
        self._watches[slot_key] = Watch(subject, self._listen(subject), carried)

    def count(self, slot_key: str) -> Count:
        watch = self._watches.get(slot_key)
        if watch is not None:
            return watch.count()
        if slot_key not in self._vacant:
            return UNKNOWN
        try:
            if sockdiag.listener(*self._vacant[slot_key]) is None:
                return Count(0, 0)
        except OSError:
            pass  # cannot be seen: said below
        return UNKNOWN

    def await_news(self, slot_key: str, seconds: float) -> None:
        """Until the kernel tells of an end, at most so long: it does so a moment after the socket has gone."""
        watch = self._watches.get(slot_key)
        if watch is not None:
            watch.await_news(seconds)

    def forget(self, slot_key: str) -> None:
        self._vacant.pop(slot_key, None)
        watch = self._watches.pop(slot_key, None)
        if watch is not None:
            watch.close()

    def close(self) -> None:
        for slot_key in list(self._watches):
            self.forget(slot_key)
        self._vacant.clear()

    def _listen(self, subject: Subject) -> sockdiag.Ends | None:
        if self._netlink is None:
            self._netlink = sockdiag.ends_are_told()
        if not self._netlink:
            return None
        try:
            return sockdiag.Ends(subject.inner_port, subject.inside)
        except OSError:  # another namespace needs root: the fallback says what it can
            return None

    def _make_room(self) -> None:
        while len(self._watches) + len(self._vacant) >= MOST_WATCHES:
            oldest = next(iter(self._watches or self._vacant))
            self.forget(oldest)


def _subject(address: str, port: int, pid: int, runtime: str, container_port: int | None) -> Subject:
    if runtime != "docker":
        return Subject(address, port, runtime, None, None, port)
    if not container_port:
        # Counting the wrong port would read as 0, and 0 lets a replica be stopped.
        raise AgentError("bug", f"slot {address}:{port}: a docker slot is counted by its container's port")
    return Subject(address, port, runtime, pid, sockdiag.started_at(pid), container_port)


def open_now(pid: int, container_port: int) -> int | None:
    """Open connections to a container's port, once. None: cannot be counted."""
    try:
        return tally_of(_subject("", 0, pid, "docker", container_port)).open
    except OSError:
        return None
