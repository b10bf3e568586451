"""Hosts and store in memory: instant, for tests and simulation. They pass the same suite as the real ones.

A replica here is well unless `set_replica` says otherwise; `silence` makes a host unreachable.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from celadon.core.errors import LeaseLost, NotHome, Refused, Unavailable
from celadon.core.home import epoch_of
from celadon.core.observed import HostFacts, ProbeFacts, Question, ReplicaFacts, SlotFacts, SlotQuestion
from celadon.core.release import Release, ReleaseId, Seconds, Slot, SlotKey
from celadon.core.secret import Secret
from celadon.ports import Placement, WarmUp, Writ


class MemoryReplica(msgspec.Struct):
    """One replica and how it behaves; tests change it in place."""

    release: Release
    slot: Slot
    colour: str
    id: str
    running: bool = True
    restarts: int = 0
    exit_code: int | None = None
    healthy: bool = True
    open: int | None = 0
    opened: int | None = 0
    own: int = 0
    lines: list[str] = msgspec.field(default_factory=list)
    rollout: int = 0

    @property
    def facts(self) -> ReplicaFacts:
        return ReplicaFacts(
            self.release.id, self.id, self.running, self.restarts, self.exit_code, self.colour, self.rollout
        )


class MemoryHost(msgspec.Struct):
    """One machine. `reachable` False: every call to it is `Unavailable`."""

    name: str
    reachable: bool = True
    boot_id: str = "boot-1"
    disk_free: int = 10 << 30
    first_boot: str = ""
    fences: dict[str, int] = msgspec.field(default_factory=dict)
    settings: dict[tuple[str, ReleaseId], dict[str, str]] = msgspec.field(default_factory=dict)
    artifacts: dict[tuple[str, ReleaseId], str] = msgspec.field(default_factory=dict)
    replicas: dict[tuple[str, ReleaseId, SlotKey], MemoryReplica] = msgspec.field(default_factory=dict)
    foreign: dict[int, str] = msgspec.field(default_factory=dict)  # port: who holds it


class MemoryHosts:
    """The port `Hosts` over `MemoryHost`s, which tests reach by `machines[name]`."""

    def __init__(self, names: Iterable[str], *, utc: float = 0.0) -> None:
        self.machines = {name: MemoryHost(name) for name in names}
        self.utc = utc
        self.calls: list[tuple[str, str]] = []
        self._started = 0

    def replica(self, host: str, app: str, release: ReleaseId, slot: Slot) -> MemoryReplica:
        """To change how it behaves."""
        return self.machines[host].replicas[app, release, slot.key]

    async def look(self, host: str, question: Question) -> HostFacts:
        machine = self._machine(host, "look")
        app = question.app
        return HostFacts(
            name=host,
            boot_id=machine.boot_id,
            utc=self.utc,
            disk_free=machine.disk_free,
            fence=machine.fences.get(app, 0),
            settings=frozenset(release for owner, release in machine.settings if owner == app),
            artifacts=frozenset(what for (owner, _), what in machine.artifacts.items() if owner == app),
            slots=tuple(_slot_facts(machine, app, one) for one in question.slots),
            first_boot=machine.first_boot,
        )

    async def raise_fence(self, writ: Writ) -> None:
        self._behind(writ, "raise_fence")

    async def put_settings(self, writ: Writ, release: Release, secrets: Mapping[str, Secret]) -> None:
        machine = self._behind(writ, "put_settings")
        missing = [name for name, _ in release.secrets if name not in secrets]
        if missing:
            raise Refused(f"no value was given for {', '.join(missing)}", where=writ.host)
        values = dict(release.env) | {name: secrets[name].reveal() for name, _ in release.secrets}
        machine.settings[writ.app, release.id] = values

    async def put_artifact(self, writ: Writ, release: Release) -> int:
        machine = self._behind(writ, "put_artifact")
        new = release.artifact not in machine.artifacts.values()
        machine.artifacts[writ.app, release.id] = release.artifact
        return len(release.artifact) if new else 0

    async def start(self, writ: Writ, placement: Placement) -> None:
        machine = self._behind(writ, "start")
        release, slot = placement.release, placement.slot
        if (writ.app, release.id) not in machine.settings:
            raise Refused(f"{writ.host}: {writ.app}: the settings of release {release.id} are not on this host")
        if release.artifact not in machine.artifacts.values():
            raise Refused(f"{writ.host}: {writ.app}: the archive of release {release.id} is not on this host")
        there = machine.replicas.get((writ.app, release.id, slot.key))
        if there is not None and there.running:
            return
        _refuse_occupied(machine, slot)
        self._started += 1
        replica = MemoryReplica(release, slot, placement.colour, f"start-{self._started}", rollout=placement.rollout)
        replica.lines.append(f"hello from {release.version}")
        machine.replicas[writ.app, release.id, slot.key] = replica

    async def stop(self, writ: Writ, release: ReleaseId, slot: Slot, grace: Seconds) -> int | None:
        del grace
        machine = self._behind(writ, "stop")
        replica = machine.replicas.get((writ.app, release, slot.key))
        if replica is None or not replica.running:
            return 0
        cut, replica.open, replica.running, replica.exit_code = replica.open, 0, False, 0
        return cut

    async def warm_up(self, host: str, warm_up: WarmUp) -> None:
        machine = self._machine(host, "warm_up")
        for replica in machine.replicas.values():
            if replica.slot == warm_up.slot and replica.running and replica.opened is not None:
                replica.opened += warm_up.requests
                replica.own += warm_up.requests

    async def prune(self, writ: Writ, keep: frozenset[ReleaseId]) -> None:
        machine = self._behind(writ, "prune")
        running = {one.release.id for (app, _, _), one in machine.replicas.items() if app == writ.app and one.running}
        kept = keep | running
        tables: Sequence[dict[Any, Any]] = (machine.settings, machine.artifacts, machine.replicas)
        for table in tables:
            for key in [key for key in table if key[0] == writ.app and key[1] not in kept]:
                del table[key]

    async def tail(self, host: str, app: str, release: ReleaseId, slot: Slot, lines: int) -> tuple[str, ...]:
        machine = self._machine(host, "tail")
        replica = machine.replicas.get((app, release, slot.key))
        return tuple(replica.lines[-lines:]) if replica is not None and lines > 0 else ()

    def _machine(self, host: str, call: str) -> MemoryHost:
        self.calls.append((call, host))
        machine = self.machines.get(host)
        if machine is None:
            raise Refused(f"no host is named {host}", where=host)
        if not machine.reachable:
            raise Unavailable(f"{host}: ssh timed out", hint=f"celadon check --host {host}", where=host)
        return machine

    def _behind(self, writ: Writ, call: str) -> MemoryHost:
        machine = self._machine(writ.host, call)
        seen = machine.fences.get(writ.app, 0)
        if epoch_of(writ.fence) < epoch_of(seen):
            raise NotHome(f"{writ.host}: {writ.app}: the home was replaced: epoch {epoch_of(seen)}", where=writ.host)
        if writ.fence < seen:
            raise LeaseLost(f"{writ.host}: {writ.app}: another driver has taken over", where=writ.host)
        machine.fences[writ.app] = writ.fence
        return machine


class MemoryStore:
    """The port `KeyedStore` in memory. `check` is called before everything and may refuse it: see `memory_homes`."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self.documents: dict[str, bytes] = {}
        self.journals: dict[int, list[bytes]] = {}
        self.fence = 0

    async def read_lease(self) -> bytes | None:
        return self._read("lease")

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        return self._swap("lease", old, new)

    async def read_intent(self) -> bytes | None:
        return self._read("intent")

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool:
        return self._swap("intent", old, new)

    async def read_key(self) -> bytes | None:
        return self._read("key")

    async def swap_key(self, old: bytes | None, new: bytes) -> bool:
        return self._swap("key", old, new)

    async def read_adopted(self) -> bytes | None:
        return self._read("adopted")

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        self._check()
        return tuple(self.journals.get(rollout, [])[start:])

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        self._check()
        if fence < self.fence:
            raise LeaseLost("another driver has taken over the journal")
        self.fence = fence
        there = self.journals.get(rollout, [])
        if start > len(there):
            raise Refused(f"journal {rollout} has {len(there)} events: number {start} would leave a gap")
        known = there[start : start + len(events)]
        if known != list(events[: len(known)]):
            raise LeaseLost(f"another driver wrote event {start} of rollout {rollout}")
        self.journals[rollout] = [*there, *events[len(known) :]]

    async def rollouts(self) -> Sequence[int]:
        self._check()
        return tuple(sorted(self.journals))

    def _read(self, name: str) -> bytes | None:
        self._check()
        return self.documents.get(name)

    def _swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        if self._read(name) != old:
            return False
        self.documents[name] = new
        return True


def _slot_facts(machine: MemoryHost, app: str, question: SlotQuestion) -> SlotFacts:
    slot = question.slot
    replica = _in_slot(machine, app, question)
    foreign = machine.foreign.get(slot.port)
    running = replica is not None and replica.running
    listening = running or foreign is not None
    seen = SlotFacts(slot.key, replica.facts if replica else None, foreign, listening)
    if foreign is not None:
        seen = msgspec.structs.replace(seen, remedy=f"end {foreign}")
    if question.count:
        counts = (replica.open, replica.opened) if replica and running else (None, None) if foreign else (0, 0)
        own = replica.own if replica and running else 0
        seen = msgspec.structs.replace(seen, open=counts[0], opened=counts[1], own=own)
    if question.probe and replica and running and foreign is None and question.release in (None, replica.release.id):
        ok = replica.healthy
        seen = msgspec.structs.replace(
            seen, probe=ProbeFacts(ok, 200 if ok else 503, "" if ok else "answered 503", 0.001)
        )
    return seen


def _in_slot(machine: MemoryHost, app: str, question: SlotQuestion) -> MemoryReplica | None:
    """As a real host answers: a running one, else the release asked for, else the last one started."""
    found = [
        replica for (owner, _, key), replica in machine.replicas.items() if owner == app and key == question.slot.key
    ]
    return max(found, key=lambda one: (one.running, one.release.id == question.release), default=None)


def _refuse_occupied(machine: MemoryHost, slot: Slot) -> None:
    if slot.port in machine.foreign:
        raise Refused(f"{slot.node_address} is held by {machine.foreign[slot.port]}, not ours", where=machine.name)
    for replica in machine.replicas.values():
        if replica.slot == slot and replica.running:
            raise Refused(f"{slot.node_address} is held by release {replica.release.id}", where=machine.name)
