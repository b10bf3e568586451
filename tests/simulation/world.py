"""A simulated Linode: hosts, a NodeBalancer whose changes lag, and users whose requests can be lost.

State and physics only. `ports.py` is one driver's way to it, with the faults of that way; `promises.py` says what must
never be seen here. One seed is one world.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from celadon.core.observed import Mode
from celadon.core.release import Colour, Release, ReleaseId, Slot

TICK = 0.5  # seconds between two checks of the balancer's; users come in bunches as often
RATE = 10.0  # requests a second
LENGTHS = (0.001, 0.05, 0.3, 3.0, 20.0)  # seconds that a request takes
TRIES = 2  # checks in a row that change a node's status


@dataclass
class Behaviour:
    """What a release is like, once started."""

    ready_after: float = 2.0
    dies_after: float = float("inf")
    fails: float = 0.0  # share of requests answered with an error


@dataclass
class Replica:
    release: ReleaseId
    serial: int
    ready_at: float
    dies_at: float
    restarts: int = 0
    signalled: bool = False
    open: list[tuple[float, float]] = field(default_factory=list)  # (ends, began) of the requests under way
    opened: int = 0

    @property
    def id(self) -> str:
        return f"{self.serial}-{self.restarts}"

    def count(self, now: float) -> int:
        while self.open and self.open[0][0] <= now:
            heapq.heappop(self.open)
        return len(self.open)


@dataclass
class Host:
    name: str
    boots: int = 1
    alive: bool = True
    fence: int = 0
    settings: set[str] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)
    replicas: dict[str, Replica] = field(default_factory=dict)


@dataclass
class Node:
    id: int
    port: int
    address: str
    mode: Mode = Mode.REJECT
    weight: int = 1
    applied: Mode = Mode.REJECT  # what the data plane does
    applied_weight: int = 1
    changes: list[tuple[float, Mode, int]] = field(default_factory=list)
    before: tuple[Mode, int, bool | None, float] | None = None  # what a stale read shows, and until when
    up: bool | None = False
    streak: int = 0
    calls: int = 0
    was_net: bool = False  # raised from backup, and not yet found well where backups are not checked


class SimWorld:
    """Everything that is so, whether or not a driver looks."""

    def __init__(self, seed: int, *, colours: int = 2, ports: int = 1, lag: float = 2.0, shared: bool = False) -> None:
        self.random = random.Random(seed)
        self.lag = lag
        self.unchecked_backups = False  # not documented: does the NodeBalancer check the health of a backup?
        self.behaviours: dict[ReleaseId, Behaviour] = {}
        self.hosts: dict[str, Host] = {}
        self.slots: dict[Colour, tuple[Slot, ...]] = {}
        self.by_address: dict[str, Slot] = {}
        for offset, colour in enumerate(Colour):
            self.slots[colour] = tuple(self._slot(colour, offset, index, shared=shared) for index in range(colours))
        for slot in (slot for slots in self.slots.values() for slot in slots):
            self.hosts.setdefault(slot.host, Host(slot.host))
            self.by_address[slot.node_address] = slot
        self.ports = tuple(80 + 363 * index for index in range(ports))
        self.nodes: dict[int, Node] = {}
        for port in self.ports:
            for address in self.by_address:
                self.add_node(port, address)
        self.lease: bytes | None = None
        self.intent: bytes | None = None
        self.journals: dict[int, list[bytes]] = {}
        self.store_fence = 0
        self.home_lost = False
        self.serial = 0
        self.lists = 0  # reads of the whole balancer
        self.drain = 60.0
        self.closed = False  # a first deploy: nobody comes before there is anything
        self.first = False
        self.sent = 0
        self.lost: list[str] = []
        self.cut = 0
        self.harmed = 0  # requests that died with a release or a host, not by Celadon's doing
        self.served: dict[ReleaseId, int] = {}
        self.answers: list[tuple[float, ReleaseId, bool]] = []
        self.broken: list[str] = []
        self.excused = ""  # why the floor cannot be asked for any more
        self.watchers: list[Callable[[], None]] = []  # promises that are looked at in every tick
        self._loop: asyncio.AbstractEventLoop | None = None

    @staticmethod
    def _slot(colour: Colour, offset: int, index: int, *, shared: bool) -> Slot:
        if shared:
            return Slot(f"app-{index}", f"192.168.130.{10 + index}", 5000 + offset)
        return Slot(f"{colour.value}-{index}", f"192.168.{130 + offset}.{10 + index}", 5000)

    @property
    def now(self) -> float:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    # -- physics ---------------------------------------------------------------------------------

    async def physics(self, *, rate: float = RATE) -> None:
        """Checks, propagation and users, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            now = self.now
            ready = {address: self.is_ready(slot) for address, slot in self.by_address.items()}
            for node in self.nodes.values():
                if node.changes:
                    self._propagate(node, now)
                if node.applied is not Mode.REJECT:
                    self._check(node, well=ready[node.address])
            if self.closed:
                self.closed = not all(self.takers(port) for port in self.ports)
            elif rate:
                self._users(int(rate * TICK), ready, now)
            for watcher in self.watchers:
                watcher()

    def _propagate(self, node: Node, now: float) -> None:
        while node.changes and node.changes[0][0] <= now:
            _, mode, weight = node.changes.pop(0)
            if mode is Mode.REJECT:
                node.up, node.streak = False, 0
            elif node.applied is Mode.REJECT or (self.unchecked_backups and node.applied is Mode.BACKUP is not mode):
                node.was_net = node.applied is Mode.BACKUP
                node.up, node.streak = None, 0
            node.applied, node.applied_weight = mode, weight

    def _check(self, node: Node, *, well: bool) -> None:
        if self.unchecked_backups and node.applied is Mode.BACKUP:
            node.up = well  # it is tried when it is needed
            return
        node.streak = max(1, node.streak + 1) if well else min(-1, node.streak - 1)
        if node.streak >= TRIES:
            node.up, node.was_net = True, False
        elif node.streak <= -TRIES:
            node.up = False

    def replica(self, slot: Slot) -> Replica | None:
        host = self.hosts[slot.host]
        replica = host.replicas.get(slot.key) if host.alive else None
        if replica is not None and replica.dies_at <= self.now:
            self._restart(replica)
        return replica

    def _restart(self, replica: Replica) -> None:
        behaviour = self.behaviours.get(replica.release, Behaviour())
        replica.restarts += 1
        replica.ready_at = self.now + behaviour.ready_after
        replica.dies_at = self.now + behaviour.dies_after
        replica.open, replica.opened = [], 0

    def is_ready(self, slot: Slot) -> bool:
        replica = self.replica(slot)
        return replica is not None and replica.ready_at <= self.now and not replica.signalled

    def takers(self, port: int) -> list[Node]:
        """The nodes that get this port's requests: accept and UP, else backup and UP."""
        up = [node for node in self.nodes.values() if node.port == port and node.up]
        accept = [node for node in up if node.applied is Mode.ACCEPT]
        return accept or [node for node in up if node.applied is Mode.BACKUP]

    def _users(self, requests: int, ready: dict[str, bool], now: float) -> None:
        chance = self.random.random
        here = {port: self.takers(port) for port in self.ports}
        for _ in range(requests):
            port = self.ports[int(chance() * len(self.ports))]
            self.sent += 1
            takers = here[port]
            if not takers:
                self._nobody(port)
                continue
            node = takers[0] if len(takers) == 1 else self._choose(takers)
            if ready[node.address]:
                self._serve(self.by_address[node.address], now)
            else:
                self._refused(self.by_address[node.address], now)

    def _choose(self, takers: list[Node]) -> Node:
        left = self.random.random() * sum(node.applied_weight for node in takers)
        for node in takers:
            left -= node.applied_weight
            if left < 0:
                return node
        return takers[-1]

    def _nobody(self, port: int) -> None:
        down = [node for node in self.nodes.values() if node.port == port and node.applied is Mode.ACCEPT]
        net = [node for node in down if node.was_net and self.is_ready(self.by_address[node.address])]
        if len(net) > 1:
            self.lost.append(f"{self.now:.1f} port {port}: the whole net was raised at once")
        elif self.first or any(map(self._died_by_itself, down)) or not all(h.alive for h in self.hosts.values()):
            self.harmed += 1  # a release that dies while it serves takes its requests with it
        else:
            self.lost.append(f"{self.now:.1f} port {port}: no node is UP")

    def _refused(self, slot: Slot, now: float) -> None:
        host, replica = self.hosts[slot.host], self.hosts[slot.host].replicas.get(slot.key)
        if replica is not None and replica.signalled:
            self.lost.append(f"{now:.1f} {slot.key}: the replica is signalled")
        elif replica is None and host.alive and host.boots == 1:
            self.lost.append(f"{now:.1f} {slot.key}: there is no replica")
        else:
            self.harmed += 1  # its own fault, not Celadon's
            self.answers.append((now, replica.release if replica is not None else "", False))

    def _serve(self, slot: Slot, now: float) -> None:
        replica = self.hosts[slot.host].replicas[slot.key]
        release, chance = replica.release, self.random.random
        self.served[release] = self.served.get(release, 0) + 1
        bad = release in self.behaviours and chance() < self.behaviours[release].fails
        self.answers.append((now, release, not bad))
        replica.opened += 1
        heapq.heappush(replica.open, (now + LENGTHS[int(chance() * len(LENGTHS))], now))

    def _died_by_itself(self, node: Node) -> bool:
        slot = self.by_address[node.address]
        replica = self.replica(slot)
        host = self.hosts[slot.host]
        return not host.alive or host.boots > 1 or (replica is not None and replica.restarts > 0)

    # -- what is done to it ------------------------------------------------------------------------

    def add_node(self, port: int, address: str) -> None:
        id_ = len(self.nodes) + 1
        self.nodes[id_] = Node(id_, port, address)

    def apply(self, id_: int, mode: Mode, weight: int) -> None:
        """The API takes a change; the data plane has it up to `lag` later."""
        node = self.nodes[id_]
        node.before = (node.mode, node.weight, node.up, self.now + 8.0)
        node.mode, node.weight = mode, weight
        at = max([self.now + self.random.uniform(0, self.lag), *(change[0] for change in node.changes)])
        node.changes.append((at, mode, weight))

    def run(self, release: Release, slot: Slot) -> None:
        behaviour = self.behaviours.get(release.id, Behaviour())
        self.serial += 1
        self.hosts[slot.host].replicas[slot.key] = Replica(
            release.id, self.serial, self.now + behaviour.ready_after, self.now + behaviour.dies_after
        )

    def signal(self, slot: Slot) -> int:
        """SIGTERM. What is open is cut: counted where it was not past the drain deadline."""
        replica = self.hosts[slot.host].replicas[slot.key]
        replica.signalled = True
        open_ = replica.count(self.now)
        self.cut += sum(self.now - began < self.drain for _, began in replica.open)
        return open_

    def can_receive(self, slot: Slot) -> bool:
        return any(n.applied is not Mode.REJECT for n in self.nodes.values() if n.address == slot.node_address)

    def serve_from(self, colour: Colour, release: Release, *, mode: Mode = Mode.ACCEPT) -> None:
        for slot in self.slots[colour]:
            host = self.hosts[slot.host]
            host.settings.add(release.id)
            host.artifacts.add(release.artifact)
            self.run(release, slot)
            host.replicas[slot.key].ready_at = self.now
        addresses = {slot.node_address for slot in self.slots[colour]}
        for node in self.nodes.values():
            if node.address in addresses:
                node.mode = node.applied = mode
                node.weight = node.applied_weight = 100
                node.up, node.streak = True, 5

    def kill_host(self, name: str) -> None:
        self.hosts[name].alive = False

    def boot_host(self, name: str, *, empty: bool) -> None:
        """It comes back: its replicas start again; or it was rebuilt, and nothing is there."""
        host = self.hosts[name]
        host.alive, host.boots = True, host.boots + 1
        if empty:
            host.fence = 0
            host.settings, host.artifacts, host.replicas = set(), set(), {}
        for replica in host.replicas.values():
            self._restart(replica)

    def broke(self, promise: str) -> None:
        self.broken.append(f"{self.now:.1f} {promise}")
