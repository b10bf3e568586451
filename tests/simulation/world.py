"""A simulated Linode: hosts, a NodeBalancer whose changes lag, clients whose requests can be lost, and faults.

One seed is one world. It implements the driver's ports; the driver and the core are the real ones.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celadon.core.errors import LeaseLost, NoAnswer, Unavailable
from celadon.core.evidence import Tally
from celadon.core.intent import Hook, Rollout
from celadon.core.observed import (
    BalancerFacts,
    ConfigFacts,
    HostFacts,
    Mode,
    NodeFacts,
    ProbeFacts,
    Question,
    ReplicaFacts,
    SlotFacts,
)
from celadon.core.release import Colour, Release, ReleaseId, Seconds, Slot
from celadon.core.secret import Secret
from celadon.ports import CommandResult, Placement, WarmUp, Writ


@dataclass
class Replica:
    release: ReleaseId
    id: str
    born: float
    ready_at: float
    dies_at: float
    serial: int
    signalled: bool = False
    restarts: int = 0


@dataclass
class Host:
    name: str
    boot_id: str = "1"
    alive: bool = True
    linked: bool = True
    fence: int = 0
    settings: set[str] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)
    replicas: dict[str, Replica] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)


@dataclass
class Node:
    id: int
    port: int
    address: str
    mode: Mode
    weight: int
    applied: Mode  # what the data plane does
    applied_weight: int
    changes: list[tuple[float, Mode, int]] = field(default_factory=list)
    up: bool | None = None
    streak: int = 0


@dataclass
class Behaviour:
    """What the candidate is like, once started."""

    ready_after: float = 2.0
    dies_after: float = float("inf")
    fails: float = 0.0  # share of requests answered with an error


@dataclass
class Faults:
    """Chances, a call each; all nought is a calm world."""

    crash: float = 0.0
    refuse: float = 0.0
    lost_answer: float = 0.0
    host_silent: float = 0.0
    stale_read: float = 0.0
    late_put: float = 0.0


class SimWorld:
    """State and physics. `Ports` below is one driver's way to it."""

    def __init__(self, seed: int, *, colours: int = 2, ports: int = 1, lag: float = 2.0, shared: bool = False) -> None:
        self.random = random.Random(seed)
        self.lag = lag
        self.faults = Faults()
        self.behaviour = Behaviour()
        self.behaviours: dict[ReleaseId, Behaviour] = {}
        self.hosts: dict[str, Host] = {}
        self.slots: dict[Colour, tuple[Slot, ...]] = {}
        self.by_address: dict[str, Slot] = {}
        number = 0
        for colour in Colour:
            slots = []
            for index in range(colours):
                name = f"app-{index}" if shared else f"{colour.value}-{index}"
                port = 5000 + (shared and colour is Colour.GREEN)
                number += 1
                octet = 10 + index if shared else 10 + number
                slot = Slot(name, f"192.168.130.{octet}", port)
                self.hosts.setdefault(name, Host(name))
                slots.append(slot)
                self.by_address[slot.node_address] = slot
            self.slots[colour] = tuple(slots)
        self.ports = tuple(80 + 363 * index for index in range(ports))
        self.nodes: dict[int, Node] = {}
        for port in self.ports:
            for slot in self.by_address.values():
                id_ = len(self.nodes) + 1
                self.nodes[id_] = Node(id_, port, slot.node_address, Mode.REJECT, 1, Mode.REJECT, 1)
        self.stale: dict[int, tuple[Mode, int, bool | None, float]] = {}
        self.lease: bytes | None = None
        self.intent: bytes | None = None
        self.journals: dict[int, list[bytes]] = {}
        self.store_fence = 0
        self.sent = 0
        self.lost: list[str] = []
        self.cut = 0
        self.harmed = 0
        self.served: dict[ReleaseId, int] = {}
        self.serial = 0
        self.calls = 0
        self.effects: list[str] = []
        self.broken: list[str] = []
        self.candidate_failures = 0
        self.answers: list[tuple[float, ReleaseId, bool]] = []
        self.drain = 60.0
        self.flying: list[str] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # -- physics ---------------------------------------------------------------------------------

    async def physics(self, *, tick: float, rate: float) -> None:
        """Checks, propagation and clients, until cancelled."""
        while True:
            await asyncio.sleep(tick)
            for node in self.nodes.values():
                self._propagate(node)
                self._check(node)
            for _ in range(int(rate * tick)):
                self._arrive()

    def _propagate(self, node: Node) -> None:
        while node.changes and node.changes[0][0] <= self.now:
            _, mode, weight = node.changes.pop(0)
            if node.applied is Mode.REJECT and mode is not Mode.REJECT:
                node.up, node.streak = None, 0
            if mode is Mode.REJECT:
                node.up = False
            node.applied, node.applied_weight = mode, weight

    def _check(self, node: Node) -> None:
        if node.applied is Mode.REJECT:
            return
        well = self.is_ready(self.by_address[node.address])
        node.streak = max(1, node.streak + 1) if well else min(-1, node.streak - 1)
        if node.streak >= 2:
            node.up = True
        elif node.streak <= -2:
            node.up = False

    def replica(self, slot: Slot) -> Replica | None:
        host = self.hosts[slot.host]
        if not host.alive:
            return None
        replica = host.replicas.get(slot.key)
        if replica is not None and replica.dies_at <= self.now:
            replica.restarts += 1
            replica.id = f"{replica.serial}-{replica.restarts}"
            behaviour = self.behaviours.get(replica.release, Behaviour())
            replica.ready_at = self.now + behaviour.ready_after
            replica.dies_at = self.now + behaviour.dies_after
        return replica

    def is_ready(self, slot: Slot) -> bool:
        replica = self.replica(slot)
        return replica is not None and replica.ready_at <= self.now and not replica.signalled

    def _arrive(self) -> None:
        """One request at each port: to an UP accept node by weight, else to an UP backup, else it is lost."""
        port = self.random.choice(self.ports)
        here = [node for node in self.nodes.values() if node.port == port]
        takers = [node for node in here if node.applied is Mode.ACCEPT and node.up]
        if not takers:
            takers = [node for node in here if node.applied is Mode.BACKUP and node.up]
        self.sent += 1
        if not takers and any(node.applied is Mode.ACCEPT and self._died_by_itself(node) for node in here):
            self.harmed += 1  # a release that dies while it serves takes its requests with it
            return
        if not takers:
            self.lost.append(f"{self.now:.1f} port {port}: no node is UP")
            return
        node = self.random.choices(takers, [taker.applied_weight for taker in takers])[0]
        slot = self.by_address[node.address]
        if not self.is_ready(slot):
            replica = self.replica(slot)
            why = "signalled" if replica is not None and replica.signalled else "not there"
            dead_by_itself = why == "not there" and (replica is not None or not self.hosts[slot.host].alive)
            if dead_by_itself:
                self.answers.append((self.now, self._release_at(slot), False))  # its own fault, not Celadon's
                return
            self.lost.append(f"{self.now:.1f} {slot.key}: the replica is {why}")
            return
        replica = self.replica(slot)
        assert replica is not None
        self.served[replica.release] = self.served.get(replica.release, 0) + 1
        bad = self.random.random() < self.behaviours.get(replica.release, Behaviour()).fails
        self.answers.append((self.now, replica.release, not bad))
        seconds = self.random.choice([0.001, 0.05, 0.3, 3.0, 20.0])
        self._serve(slot, replica, seconds)

    def _died_by_itself(self, node: Node) -> bool:
        slot = self.by_address[node.address]
        replica = self.replica(slot)
        return not self.hosts[slot.host].alive or (replica is not None and replica.restarts > 0)

    def _release_at(self, slot: Slot) -> ReleaseId:
        replica = self.hosts[slot.host].replicas.get(slot.key)
        return replica.release if replica is not None else ""

    def _serve(self, slot: Slot, replica: Replica, seconds: float) -> None:
        host = self.hosts[slot.host]
        host.open[slot.key] = host.open.get(slot.key, 0) + 1
        host.opened[slot.key] = host.opened.get(slot.key, 0) + 1
        asyncio.get_running_loop().call_later(seconds, self._answered, host, slot, replica, self.now)

    def _answered(self, host: Host, slot: Slot, replica: Replica, began: float) -> None:
        host.open[slot.key] -= 1
        if replica.signalled and self.now - began < self.drain:
            self.cut += 1

    # -- what a test does ------------------------------------------------------------------------

    def serve_from(self, colour: Colour, release: Release, *, modes: Mode = Mode.ACCEPT) -> None:
        for slot in self.slots[colour]:
            host = self.hosts[slot.host]
            host.settings.add(release.id)
            host.artifacts.add(release.artifact)
            self.serial += 1
            host.replicas[slot.key] = Replica(
                release.id, f"{self.serial}-0", self.now, self.now, float("inf"), self.serial
            )
        addresses = {slot.node_address for slot in self.slots[colour]}
        for node in self.nodes.values():
            if node.address in addresses:
                node.mode = node.applied = modes
                node.weight = node.applied_weight = 100
                node.up, node.streak = True, 5

    def broke(self, promise: str) -> None:
        self.broken.append(f"{self.now:.1f} {promise}")


class Ports:
    """One driver's way to the world: hosts, balancer, store, clock, verifier, commands, secrets in one."""

    def __init__(self, world: SimWorld, *, skew: float = 0.0, frozen: bool = False) -> None:
        self.world = world
        self.skew = skew
        self.frozen = frozen
        self._taken = len(world.answers)
        self._passes = 0
        self._since: float | None = None
        self.candidate: ReleaseId = ""
        self.died: str = ""
        self.process: asyncio.Task[Any] | None = None

    async def _die(self, where: str) -> None:
        """SIGKILL: the process ends here, whatever else it was doing."""
        self.died = self.died or where
        if self.process is not None:
            self.process.cancel()
        await asyncio.Event().wait()

    # -- faults ----------------------------------------------------------------------------------

    async def _before(self, what: str, *, effect: bool) -> None:
        world = self.world
        world.calls += 1
        if self.died:
            await asyncio.Event().wait()
        await asyncio.sleep(world.random.choice([0.0, 0.01, 0.1]))
        if world.random.random() < world.faults.crash:
            await self._die(f"before {what}")
        if effect and world.random.random() < world.faults.refuse:
            raise Unavailable(f"{what}: try again")
        if effect:
            world.effects.append(what)

    async def _after(self, what: str, *, effect: bool) -> None:
        world = self.world
        await asyncio.sleep(world.random.choice([0.0, 0.01]))
        if world.random.random() < world.faults.crash:
            await self._die(f"after {what}")
        if effect and world.random.random() < world.faults.lost_answer:
            raise NoAnswer(f"{what}: no answer")

    def _reach(self, name: str) -> Host:
        host = self.world.hosts[name]
        if not host.alive or not host.linked or self.world.random.random() < self.world.faults.host_silent:
            raise Unavailable(f"{name}: no answer")
        return host

    def _check_fence(self, host: Host, fence: int) -> None:
        if fence < host.fence:
            raise LeaseLost(f"{host.name}: fence {host.fence}")
        host.fence = fence

    # -- hosts -----------------------------------------------------------------------------------

    async def look(self, host: str, question: Question) -> HostFacts:
        await self._before(f"look {host}", effect=False)
        here = self._reach(host)
        slots = tuple(self._slot(here, asked.slot, asked.release, probe=asked.probe) for asked in question.slots)
        await self._after(f"look {host}", effect=False)
        return HostFacts(
            name=host,
            boot_id=here.boot_id,
            utc=self.utc(),
            disk_free=10**10,
            fence=here.fence,
            settings=frozenset(here.settings),
            artifacts=frozenset(here.artifacts),
            slots=slots,
        )

    def _slot(self, host: Host, slot: Slot, release: ReleaseId | None, *, probe: bool) -> SlotFacts:
        replica = self.world.replica(slot)
        if replica is None:
            return SlotFacts(key=slot.key, open=0, opened=0)
        ready = self.world.is_ready(slot)
        expected = release is None or replica.release == release
        return SlotFacts(
            key=slot.key,
            replica=ReplicaFacts(replica.release, replica.id, running=True, restarts=replica.restarts, exit_code=None),
            listening=ready,
            open=host.open.get(slot.key, 0),
            opened=host.opened.get(slot.key, 0),
            probe=ProbeFacts(ready, 200 if ready else None, "" if ready else "refused", 0.01)
            if probe and expected
            else None,
        )

    async def raise_fence(self, writ: Writ) -> None:
        await self._before(f"fence {writ.host}", effect=False)
        self._check_fence(self._reach(writ.host), writ.fence)
        await self._after(f"fence {writ.host}", effect=False)

    async def put_settings(self, writ: Writ, release: Release, secrets: Mapping[str, Secret]) -> None:
        await self._before(f"settings {writ.host}", effect=True)
        host = self._reach(writ.host)
        self._check_fence(host, writ.fence)
        host.settings.add(release.id)
        await self._after(f"settings {writ.host}", effect=True)

    async def put_artifact(self, writ: Writ, release: Release) -> int:
        await self._before(f"artifact {writ.host}", effect=True)
        await asyncio.sleep(self.world.random.uniform(0, 20))
        host = self._reach(writ.host)
        self._check_fence(host, writ.fence)
        host.artifacts.add(release.artifact)
        await self._after(f"artifact {writ.host}", effect=True)
        return 1

    async def start(self, writ: Writ, placement: Placement) -> None:
        world, slot, release = self.world, placement.slot, placement.release
        await self._before(f"start {slot.key}", effect=True)
        host = self._reach(writ.host)
        self._check_fence(host, writ.fence)
        if release.id not in host.settings or release.artifact not in host.artifacts:
            raise Unavailable(f"{slot.key}: nothing to start from")
        there = world.replica(slot)
        if there is None or there.release != release.id:
            if there is not None and self._can_receive(slot):
                world.broke(f"started {release.id} over {there.release}, which could receive requests")
            behaviour = world.behaviours.get(release.id, Behaviour())
            world.serial += 1
            host.replicas[slot.key] = Replica(
                release.id,
                f"{world.serial}-0",
                world.now,
                world.now + behaviour.ready_after,
                world.now + behaviour.dies_after,
                world.serial,
            )
        await self._after(f"start {slot.key}", effect=True)

    def _can_receive(self, slot: Slot) -> bool:
        return any(n.applied is not Mode.REJECT for n in self.world.nodes.values() if n.address == slot.node_address)

    async def stop(self, writ: Writ, release: ReleaseId, slot: Slot, grace: Seconds) -> int:
        world = self.world
        await self._before(f"stop {slot.key}", effect=True)
        host = self._reach(writ.host)
        self._check_fence(host, writ.fence)
        replica = world.replica(slot)
        open_ = host.open.get(slot.key, 0)
        if replica is not None and replica.release == release:
            if self._can_receive(slot):
                world.broke(f"no signal to a replica that can still receive requests: {slot.key}")
            replica.signalled = True
            await asyncio.sleep(0.2)
            if host.replicas.get(slot.key) is replica:
                del host.replicas[slot.key]
        await self._after(f"stop {slot.key}", effect=True)
        return open_

    async def warm_up(self, host: str, warm_up: WarmUp) -> None:
        await self._before(f"warm {warm_up.slot.key}", effect=True)
        self._reach(host)
        await self._after(f"warm {warm_up.slot.key}", effect=True)

    async def prune(self, writ: Writ, keep: frozenset[ReleaseId]) -> None:
        await self._before(f"prune {writ.host}", effect=True)
        host = self._reach(writ.host)
        self._check_fence(host, writ.fence)
        host.settings &= set(keep)
        await self._after(f"prune {writ.host}", effect=True)

    async def tail(self, host: str, app: str, release: ReleaseId, slot: Slot, lines: int) -> tuple[str, ...]:
        return ("a log line",)

    # -- balancer --------------------------------------------------------------------------------

    async def read(self) -> BalancerFacts:
        await self._before("read balancer", effect=False)
        configs = tuple(
            ConfigFacts(
                port=port,
                id=port,
                protocol="http",
                check="http",
                check_interval=5.0,
                check_attempts=2,
                check_passive=False,
                stickiness="none",
                nodes=tuple(self._facts(node) for node in self.world.nodes.values() if node.port == port),
            )
            for port in self.world.ports
        )
        return BalancerFacts(1, "balancer", "127.0.0.1", 0, configs)

    def _facts(self, node: Node) -> NodeFacts:
        mode, weight, up = node.mode, node.weight, node.up
        old = self.world.stale.get(node.id)
        if old is not None and self.world.now < old[3] and self.world.random.random() < self.world.faults.stale_read:
            mode, weight, up = old[:3]
        return NodeFacts(node.port, node.port, node.id, node.address, node.address, mode, weight, up)

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        await self._before(f"read node {node.id}", effect=False)
        facts = self._facts(self.world.nodes[node.id])
        await self._after(f"read node {node.id}", effect=False)
        return facts

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None:
        world = self.world
        await self._before(f"put node {node.id} {mode.value}", effect=True)
        if world.random.random() < world.faults.late_put:
            asyncio.get_running_loop().call_later(world.random.uniform(0, deadline), self._apply, node.id, mode, weight)
            raise NoAnswer("no answer")
        self._apply(node.id, mode, weight)
        await self._after(f"put node {node.id} {mode.value}", effect=True)

    def _apply(self, id_: int, mode: Mode, weight: int) -> None:
        world, node = self.world, self.world.nodes[id_]
        world.stale[id_] = (node.mode, node.weight, node.up, world.now + 8.0)
        node.mode, node.weight = mode, weight
        at = max([world.now + world.random.uniform(0, world.lag), *(change[0] for change in node.changes)])
        node.changes.append((at, mode, weight))

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        raise AssertionError("a driver never adds nodes")

    # -- store -----------------------------------------------------------------------------------

    async def read_lease(self) -> bytes | None:
        await self._before("read lease", effect=False)
        return self.world.lease

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        await self._before("swap lease", effect=False)
        if self.world.lease != old:
            return False
        self.world.lease = new
        await self._after("swap lease", effect=False)
        return True

    async def read_intent(self) -> bytes | None:
        await self._before("read intent", effect=False)
        return self.world.intent

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool:
        await self._before("swap intent", effect=False)
        if self.world.intent != old:
            return False
        self.world.intent = new
        return True

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        await self._before("read journal", effect=False)
        return self.world.journals.get(rollout, [])[start:]

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        await self._before("append", effect=False)
        world = self.world
        if fence < world.store_fence:
            raise LeaseLost("store: a larger fence was seen")
        world.store_fence = fence
        journal = world.journals.setdefault(rollout, [])
        for number, event in enumerate(events, start):
            if number < len(journal):
                if journal[number] != event:
                    raise LeaseLost("store: another event has this number")
            else:
                journal.append(event)
        await self._after("append", effect=False)

    async def rollouts(self) -> Sequence[int]:
        return sorted(self.world.journals)

    # -- clock, verifier, commands, secrets ------------------------------------------------------

    def now(self) -> float:
        return self.world.now

    def utc(self) -> float:
        return 1.7e9 + self.world.now + self.skew

    async def sleep(self, seconds: Seconds) -> None:
        await asyncio.sleep(seconds)

    def begin(self, rollout: Rollout) -> None:
        self.candidate = rollout.candidate.id

    def take(self) -> Tally:
        new = self.world.answers[self._taken :]
        self._taken = len(self.world.answers)
        served: dict[ReleaseId, int] = {}
        failed = failed_on_candidate = 0
        for at, release, ok in new:
            if ok:
                served[release] = served.get(release, 0) + 1
                mine = release == self.candidate
                self._passes = self._passes + 1 if mine else 0
                self._since = (self._since if self._passes > 1 else at) if mine else None
            else:
                failed += 1
                failed_on_candidate += release == self.candidate
                self._passes, self._since = 0, None
        return Tally(
            sent=len(new),
            failed=failed,
            failed_on_candidate=failed_on_candidate,
            served=served,
            passes=self._passes,
            since=self._since,
        )

    async def close(self) -> None:
        pass

    async def run(self, command: Hook, rollout: Rollout, *, test: bool) -> CommandResult:
        await self._before(f"run {command.name}", effect=True)
        await asyncio.sleep(1.0)
        await self._after(f"run {command.name}", effect=False)
        return CommandResult(ok=True, lines=())

    def values(self, release: Release) -> Mapping[str, Secret]:
        return {}
