"""A simulated Linode: hosts, a NodeBalancer whose changes lag, and users whose requests can be lost.

State and physics only. `ports.py` is one driver's way to it, with the faults of that way; `promises.py` says what must
never be seen here. One seed is one world.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heappush

from celadon.core.observed import Mode
from celadon.core.release import Colour, Release, ReleaseId, Slot
from tests.simulation.machines import Behaviour, Change, Host, Node, Replica
from tests.simulation.virtual import VirtualLoop

TICK = 0.5  # seconds between two checks of the balancer's; users come in bunches as often
RATE = 6.0  # requests a second
STALE = 8.0  # seconds after a change for which an answer may be from before it
SHORT = (0.001, 0.05, 0.3, 3.0)  # seconds that a request takes
LENGTHS = (*SHORT, 20.0)
LONG = (*LENGTHS, 120.0, 600.0)
OLD_NEWS = 12.0  # seconds: what died no longer ago than that before a change was sent, nobody could know
NET_NEWS = 0.3  # but the net is left on what was seen just now
TRIES = 2  # checks in a row that change a node's status


class SimWorld:
    """Everything that is so, whether or not a driver looks."""

    def __init__(
        self,
        seed: int,
        *,
        colours: int = 2,
        ports: int = 1,
        lag: float = 2.0,
        shared: bool = False,
        test_port: int | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.lag = lag
        self._ticks, self.every = 0, 1  # ticks between two checks of a node
        self.patient_until = 0.0  # going back, a lone net waits so long for a candidate that died
        self.unchecked_backups = False  # not documented: does the NodeBalancer check the health of a backup?
        self.behaviours: dict[ReleaseId, Behaviour] = {}
        self.fails: dict[ReleaseId, float] = {}  # of those that answer with errors, how often
        self.hosts: dict[str, Host] = {}
        self.slots: dict[Colour, tuple[Slot, ...]] = {}
        self.by_address: dict[str, Slot] = {}
        for offset, colour in enumerate(Colour):
            self.slots[colour] = tuple(self._slot(colour, offset, index, shared=shared) for index in range(colours))
        for slot in (slot for slots in self.slots.values() for slot in slots):
            self.hosts.setdefault(slot.host, Host(slot.host))
            self.by_address[slot.node_address] = slot
        self.ports = tuple(80 + 363 * index for index in range(ports))
        self.test_port = test_port
        self.nodes: dict[int, Node] = {}
        for port in self.every_port:
            for address in self.by_address:
                self.add_node(port, address)
        self.lease: bytes | None = None
        self.intent: bytes | None = None
        self.journals: dict[int, list[bytes]] = {}
        self.store_fence = 0
        self.home_lost = self.api_away = False
        self.outages = 0.0  # seconds in which the API was away, and the calls that came then
        self.serial = self.calls_away = self.lists = 0  # `lists`: reads of the whole balancer
        self.drain, self.slow = 60.0, 1.0  # `slow`: seconds that a test takes
        self.no_artifact = False
        self.first = self.closed = False  # a first deploy: nobody comes before there is anything
        self.sent = self.cut = 0
        self.lost: list[str] = []
        # Requests that died with a release or a host, not by Celadon's doing; and those that met a lone unchecked net
        # as it was raised: the known price (docs/decisions).
        self.harmed = self.exposed = 0
        self.lengths: tuple[float, ...] = LENGTHS
        self.served: dict[ReleaseId, int] = {}
        self.tested: Counter[ReleaseId] = Counter()  # who answered on the test port
        self.answers: list[tuple[float, ReleaseId, bool]] = []
        self.broken: list[str] = []
        # An event: whoever wrote it dies before it can know. And why the floor cannot be asked for any more.
        self.doomed = self.excused = ""
        self.watchers: list[Callable[[], None]] = []  # promises that are looked at in every tick
        self.faults: Counter[str] = Counter()
        self.recent: dict[str, float] = {}  # when each kind of fault came last
        self.calls: dict[str, deque[float]] = {"list": deque(), "node": deque()}  # of the API, in the last minute
        self.limits = {"list": 200, "node": 1600}  # a minute
        self.edited_at: dict[int, float] = {}  # by port: when somebody changed the balancer by hand
        self.deleted_at: dict[str, float] = {}  # by address
        self.died_at: dict[str, float] = {}  # by address: when what was there last stopped answering by itself
        self.out_since: dict[int, float] = {}  # by port: nobody is UP
        self.blame: dict[int, str] = {}  # and why
        # What only changes when something happens is worked out then: `touched` says that something did.
        self.taking: dict[int, list[Node]] = {port: [] for port in self.every_port}
        self.ready: dict[str, bool] = dict.fromkeys(self.by_address, False)
        self.touched()
        self._loop: VirtualLoop | None = None

    @staticmethod
    def _slot(colour: Colour, offset: int, index: int, *, shared: bool) -> Slot:
        if shared:
            return Slot(f"app-{index}", f"192.168.130.{10 + index}", 5000 + offset)
        return Slot(f"{colour.value}-{index}", f"192.168.{130 + offset}.{10 + index}", 5000)

    @property
    def every_port(self) -> tuple[int, ...]:
        """The users', and the testers' where there is one."""
        return self.ports if self.test_port is None else (*self.ports, self.test_port)

    @property
    def now(self) -> float:
        return self.loop.now

    @property
    def loop(self) -> VirtualLoop:
        if self._loop is None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            self._loop = loop
        return self._loop

    def fault(self, kind: str) -> None:
        self.faults[kind] += 1
        self.recent[kind] = self.now

    # -- physics ---------------------------------------------------------------------------------

    def touched(self) -> None:
        """Something was started, stopped, changed, added or removed: look at everything anew."""
        self._ready_until = 0.0
        self._who_takes_is_old = True
        self._at_rest = False  # true: no change is on its way, and no check says anything new

    async def physics(self, *, rate: float = RATE) -> None:
        """Checks, propagation and users, until cancelled."""
        loop, requests = self.loop, int(rate * TICK)
        error: asyncio.Future[None] = loop.create_future()

        def tick() -> None:
            if error.done():
                return
            try:
                self._tick(loop.now, requests)
            except Exception as what:  # noqa: BLE001 - raised by whoever awaits the physics
                error.set_exception(what)
            loop.call_later(TICK, tick)

        loop.call_later(TICK, tick)
        await error

    def _tick(self, now: float, requests: int) -> None:
        self._ticks += 1
        if now >= self._ready_until:
            self._who_is_ready(now)
        if not self._at_rest:
            self._let_nodes_change(now)
        if self._who_takes_is_old:
            self._who_takes(now)
        if self.closed:
            self.closed = not all(self.taking[port] for port in self.ports)
        elif requests:
            self._users(requests, now)
        if self.test_port is not None and self.random.random() < 0.5:
            self._tester(self.taking[self.test_port], now)
        for watcher in self.watchers:
            watcher()

    def _who_is_ready(self, now: float) -> None:
        """`ready` is a new dict when anything in it changed; it holds until the next replica dies or gets ready."""
        ready = {address: self._is_ready(slot, now) for address, slot in self.by_address.items()}
        if ready != self.ready:
            for address, was in self.ready.items():
                if was and not ready[address] and not self._is_signalled(address):
                    self.died_at[address] = now
            self.ready = ready
            self._at_rest = False
        replicas = [replica for host in self.hosts.values() for replica in host.replicas.values()]
        moments = [moment for r in replicas for moment in (r.ready_at, r.dies_at) if moment > now]
        self._ready_until = min(moments, default=float("inf"))

    def _let_nodes_change(self, now: float) -> None:
        """What was sent applies, and each node is checked; at rest once neither can change anything."""
        self._at_rest = True
        for node in self.nodes.values():
            before = node.up, node.applied
            if node.changes:
                self._propagate(node, now)
            if node.applied is not Mode.REJECT:
                well = self.ready[node.address]
                if self.unchecked_backups and node.applied is Mode.BACKUP:
                    node.up = well  # it is tried when it is needed
                elif self.every == 1 or (self._ticks + node.id) % self.every == 0:
                    self._check(node, well=well)
                steady = node.streak >= TRIES if well else node.streak <= -TRIES
                if not steady and not (self.unchecked_backups and node.applied is Mode.BACKUP):
                    self._at_rest = False
            if node.changes:
                self._at_rest = False
            if before != (node.up, node.applied):
                self._who_takes_is_old = True

    def _who_takes(self, now: float) -> None:
        """By port; and where nobody does any more, since when and whose fault it is. A new dict each time."""
        were, self.taking = self.taking, {port: self.takers(port) for port in self.every_port}
        self._who_takes_is_old = False
        for port in self.ports:
            if self.taking[port]:
                self.out_since.pop(port, None)
            elif port not in self.out_since and were[port]:
                self.out_since[port] = now
                self.blame[port] = self._whose_fault(port, were[port], self.ready)

    def _is_signalled(self, address: str) -> bool:
        slot = self.by_address[address]
        host = self.hosts[slot.host]
        replica = host.replicas.get(slot.key)
        return host.alive and (replica is None or replica.signalled)

    def _propagate(self, node: Node, now: float) -> None:
        while node.changes and node.changes[0].at <= now:
            change = node.changes.pop(0)
            before = bool(node.up)
            if change.mode is Mode.REJECT:
                node.up, node.streak = False, 0
            elif node.applied is Mode.REJECT or (
                self.unchecked_backups and node.applied is Mode.BACKUP is not change.mode
            ):
                node.up, node.streak = None, 0
            if before and not node.up:
                node.lost_by = change
            node.applied, node.applied_weight = change.mode, change.weight

    def _check(self, node: Node, *, well: bool) -> None:
        node.streak = max(1, node.streak + 1) if well else min(-1, node.streak - 1)
        if node.streak >= TRIES:
            node.up = True
        elif node.streak <= -TRIES:
            if node.up:
                node.lost_by = None
            node.up = False

    def _whose_fault(self, port: int, were: list[Node], ready: dict[str, bool]) -> str:
        """Why nobody is UP any more: empty where no change of ours took away what could serve."""
        taken = [n for n in were if n.lost_by is not None and n.lost_by.ours and ready[n.address]]
        if not taken:
            return ""
        decided_at = min(node.lost_by.decided_at for node in taken if node.lost_by is not None)
        raised = [n for n in taken if n.lost_by is not None and n.lost_by.mode is Mode.ACCEPT]  # checked anew
        edited = self.edited_at.get(port)
        old_news = OLD_NEWS + (self.every - 1) * TICK * TRIES  # the balancer itself is as slow to know
        if edited is not None and edited > decided_at - old_news:
            return ""
        news = NET_NEWS if raised else old_news
        others = {n.address for n in self.nodes.values() if n.port == port} - {n.address for n in taken}
        if any(self.died_at.get(address, 0.0) > decided_at - news for address in others):
            return ""
        listed = {n.address for n in self.nodes.values() if n.port == port}
        stable = {slot.node_address for slot in self.slots[Colour.BLUE]} & listed
        if raised and sum(ready[address] for address in stable) <= 1:
            if decided_at < self.patient_until:
                return f"port {port}: all that is left of stable was raised before the candidate had had its time"
            return "exposed"  # the known price (docs/decisions/a-lone-net-waits.md)
        return f"port {port}: nobody is UP, {', '.join(node.address for node in taken)} taken away"

    def replica(self, slot: Slot) -> Replica | None:
        host = self.hosts[slot.host]
        replica = host.replicas.get(slot.key) if host.alive else None
        if replica is not None and replica.dies_at <= self.now:
            self._restart(replica)
            self.touched()
        return replica

    def _restart(self, replica: Replica) -> None:
        behaviour = self.behaviours.get(replica.release, Behaviour())
        replica.restarts += 1
        replica.restarted_at = self.now
        replica.ready_at = self.now + (1e9 if behaviour.stays_dead else behaviour.ready_after)
        replica.dies_at = self.now + behaviour.dies_after
        replica.open, replica.opened, replica.probed, replica.warm = [], 0, 0, False

    def is_ready(self, slot: Slot) -> bool:
        return self._is_ready(slot, self.now)

    def _is_ready(self, slot: Slot, now: float) -> bool:
        host = self.hosts[slot.host]
        replica = host.replicas.get(slot.key)
        if replica is None or not host.alive:
            return False
        if replica.dies_at <= now:
            self._restart(replica)
        return replica.ready_at <= now and not replica.signalled

    def takers(self, port: int) -> list[Node]:
        """The nodes that get this port's requests: accept and UP, else backup and UP."""
        up = [node for node in self.nodes.values() if node.port == port and node.up]
        accept = [node for node in up if node.applied is Mode.ACCEPT]
        return accept or [node for node in up if node.applied is Mode.BACKUP]

    def _could_serve(self, port: int) -> bool:
        """Somebody who may is ready, and only not UP yet."""
        return any(n.port == port and n.applied is Mode.ACCEPT and self.ready[n.address] for n in self.nodes.values())

    def _users(self, requests: int, now: float) -> None:
        """A few draws a request: this is where a quiet world spends its time."""
        ports, takers, ready, chance = self.ports, self.taking, self.ready, self.random.random
        port = ports[0]
        self.sent += requests
        for _ in range(requests):
            if len(ports) > 1:
                port = ports[int(chance() * len(ports))]
            here = takers[port]
            if not here:
                self._nobody(port, now)
                continue
            address = (here[0] if len(here) == 1 else self._choose(here)).address
            slot = self.by_address[address]
            if not ready[address]:
                self._refused(slot, now)
                continue
            release = self._open(self.hosts[slot.host].replicas[slot.key], now)
            self.served[release] = self.served.get(release, 0) + 1
            fails = self.fails.get(release)
            self.answers.append((now, release, fails is None or chance() >= fails))

    def _tester(self, takers: list[Node], now: float) -> None:
        """Testers wait for an answer as users do, and go away where nobody gives one."""
        if not takers or not self.ready[(node := self._choose(takers)).address]:
            return
        slot = self.by_address[node.address]
        self.tested[self._open(self.hosts[slot.host].replicas[slot.key], now)] += 1

    def _choose(self, takers: list[Node]) -> Node:
        left = self.random.random() * sum(node.applied_weight for node in takers)
        for node in takers:
            left -= node.applied_weight
            if left < 0:
                return node
        return takers[-1]

    def _nobody(self, port: int, now: float) -> None:
        """Whose fault it is was settled when it began; see `_whose_fault`."""
        blame = self.blame.get(port, "")
        if blame == "exposed":
            self.exposed += 1
            late = now > self.out_since[port] + self.lag + TICK * self.every * (TRIES + 2)
            if late and self._could_serve(port):  # else it has died meanwhile
                self.lost.append(f"{now:.1f} port {port}: a lone net is out for longer than a round of checks")
        elif blame and not self.first:
            self.lost.append(f"{now:.1f} {blame}")
        else:
            self.harmed += 1  # a release that dies while it serves takes its requests with it

    def _refused(self, slot: Slot, now: float) -> None:
        host, replica = self.hosts[slot.host], self.hosts[slot.host].replicas.get(slot.key)
        if replica is not None and replica.signalled:
            self.lost.append(f"{now:.1f} {slot.key}: the replica is signalled")
        elif replica is None and host.alive and host.boots == 1:
            self.lost.append(f"{now:.1f} {slot.key}: there is no replica")
        else:
            self.harmed += 1  # its own fault, not Celadon's
            self.answers.append((now, replica.release if replica is not None else "", False))

    def _open(self, replica: Replica, now: float) -> ReleaseId:
        replica.opened += 1
        length = self.lengths[int(self.random.random() * len(self.lengths))]
        heappush(replica.open, (now + length, now))
        return replica.release

    # -- what is done to it ------------------------------------------------------------------------

    def add_node(self, port: int, address: str) -> None:
        id_ = max(self.nodes, default=0) + 1
        self.nodes[id_] = Node(id_, port, address)
        self.touched()

    def edited_within(self, seconds: float, port: int) -> bool:
        return self.now < self.edited_at.get(port, -1e9) + seconds

    def remove_node(self, id_: int) -> None:
        """Deleted by hand, or with its instance."""
        node = self.nodes.pop(id_)
        self.edited_at[node.port] = self.deleted_at[node.address] = self.now
        self.touched()

    def apply(self, id_: int, mode: Mode, weight: int, *, decided_at: float | None = None, ours: bool = True) -> None:
        """The API takes a change; the data plane has it up to `lag` later."""
        node = self.nodes.get(id_)
        if node is None:
            return  # somebody deleted it
        node.before = (node.mode, node.weight, node.up, self.now + STALE)
        node.mode, node.weight = mode, weight
        at = max([self.now + self.random.uniform(0, self.lag), *(change.at for change in node.changes)])
        node.changes.append(Change(at, mode, weight, self.now if decided_at is None else decided_at, ours))
        self._at_rest = False
        if not ours:
            self.edited_at[node.port] = self.now

    def behaves(self, release: Release, behaviour: Behaviour) -> None:
        self.behaviours[release.id] = behaviour
        if behaviour.fails:
            self.fails[release.id] = behaviour.fails

    def run(self, release: Release, slot: Slot) -> None:
        behaviour = self.behaviours.get(release.id, Behaviour())
        self.serial += 1
        self.hosts[slot.host].replicas[slot.key] = Replica(
            release.id, self.serial, self.now + behaviour.ready_after, self.now + behaviour.dies_after
        )
        self.touched()

    def signal(self, slot: Slot) -> int:
        """SIGTERM. What is open is cut: counted where it was not past the drain deadline."""
        replica = self.hosts[slot.host].replicas[slot.key]
        replica.signalled = True
        self.touched()
        open_ = replica.count(self.now)
        deleted = self.deleted_at.get(slot.node_address, -1e9)
        if self.now > deleted + 60.0 + self.drain:  # nobody can know since when a deleted node gets nothing
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
            if node.address in addresses and node.port != self.test_port:
                node.mode = node.applied = mode
                node.weight = node.applied_weight = 100
                node.up, node.streak = True, 5
        self.touched()

    def add_port_lately(self, port: int) -> None:
        """Somebody added it since blue serves: its nodes are made in mode reject, and nobody comes in there yet."""
        for node in self.nodes.values():
            if node.port == port:
                node.mode = node.applied = Mode.REJECT
                node.up, node.streak = False, 0
        self.touched()

    def leave_test_port_open(self) -> None:
        """Somebody made its nodes by hand: `accept` is what Linode's own form says."""
        for node in self.nodes.values():
            if node.port == self.test_port:
                node.mode = node.applied = Mode.ACCEPT
                node.weight = node.applied_weight = 100
        self.touched()

    def kill_host(self, name: str) -> None:
        self.hosts[name].alive = False
        self.touched()

    def boot_host(self, name: str, *, empty: bool) -> None:
        """It comes back: its replicas start again; or it was rebuilt, and nothing is there."""
        host = self.hosts[name]
        host.alive, host.boots = True, host.boots + 1
        if empty:
            host.fence = 0
            host.settings, host.artifacts, host.replicas = set(), set(), {}
        for replica in host.replicas.values():
            self._restart(replica)
        self.touched()

    def written(self) -> Iterator[bytes]:
        """All that its home keeps."""
        yield from (raw for journal in self.journals.values() for raw in journal)
        yield from (raw for raw in (self.intent, self.lease) if raw is not None)

    def is_gone(self, colour: Colour) -> bool:
        """No replica is ready, or somebody deleted its nodes: nothing can bring it back."""
        return not any(self.is_ready(slot) and self.is_listed(slot) for slot in self.slots[colour])

    def is_listed(self, slot: Slot) -> bool:
        return {node.port for node in self.nodes.values() if node.address == slot.node_address} >= set(self.ports)

    def broke(self, promise: str, what: str = "") -> None:
        self.broken.append(f"{self.now:.1f} {promise}: {what}")
