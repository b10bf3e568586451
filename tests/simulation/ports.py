"""One driver's way to the simulated world: all ports in one, and what can go wrong between a driver and the world.

Faults are chances, drawn at each call. A driver can die at any call (`died`) and be stopped for a while (`freeze`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from celadon.core.errors import LeaseLost, NoAnswer, Refused, Unavailable
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
from celadon.core.release import Release, ReleaseId, Seconds, Slot
from celadon.core.secret import Secret
from celadon.ports import CommandResult, Placement, WarmUp, World, Writ
from tests.simulation.machines import Host, Node
from tests.simulation.virtual import turn
from tests.simulation.world import SimWorld

SECRET = "hunter2-never-to-be-seen"


class Faults(msgspec.Struct, omit_defaults=True):
    """Chances, a call each; all nought is a calm world."""

    crash: float = 0.0
    refuse: float = 0.0
    lost_answer: float = 0.0
    host_silent: float = 0.0
    stale_read: float = 0.0
    late_put: float = 0.0
    uncounted: float = 0.0  # a host cannot count a running replica's connections


class Guard:
    """Told of every effect as it reaches the world. The promises are one; this one says nothing."""

    def send(self, driver: str) -> None: ...

    def refused(self, what: str) -> None: ...

    def wrote(self, rollout: int, event: bytes) -> None: ...

    def put(self, node: Node, mode: Mode, weight: int) -> None: ...

    def start(self, slot: Slot, release: ReleaseId, before: ReleaseId | None) -> None: ...

    def stop(self, slot: Slot) -> None: ...

    def prune(self, host: str, keep: frozenset[ReleaseId]) -> None: ...

    def saw_good(self, answers: int) -> None: ...

    def acts(self, driver: str) -> None: ...


class Ports:
    """Hosts, balancer, store, clock, verifier, commands and secrets of one driver."""

    def __init__(self, world: SimWorld, *, faults: Faults | None = None, skew: float = 0.0, name: str = "") -> None:
        self.world = world
        self.name = name
        self.faults = faults if faults is not None else Faults()
        self.skew = skew
        self.guard = Guard()
        self.process: asyncio.Task[Any] | None = None  # what a crash ends
        self.died = ""
        self.calls = 0
        self.frozen_until = 0.0
        self.command_ok: dict[str, bool] = {}  # by name; what is not here passes
        self.ran: list[str] = []
        self.blind = False  # no answer reaches the verifier
        self.closed = 0
        self.decided: dict[int, float] = {}  # by node: when this driver last decided to change it
        self._candidate: ReleaseId = ""
        self._taken = len(world.answers)
        self._passes = 0
        self._since: float | None = None

    def everything(self) -> World:
        return World(self, self, self, self, self, self, self)

    def freeze(self, seconds: Seconds) -> None:
        """The machine sleeps: nothing more leaves it or reaches it until then."""
        self.frozen_until = self.world.now + seconds

    # -- faults ----------------------------------------------------------------------------------

    async def _die(self, where: str) -> None:
        """SIGKILL: the process ends here, whatever else it was doing."""
        self.died = self.died or where
        if self.process is not None:
            self.process.cancel()
        await asyncio.Event().wait()

    def _chance(self, kind: str, likely: float) -> bool:
        if not likely or self.world.random.random() >= likely:
            return False
        self.world.fault(kind)
        return True

    def _limited(self, kind: str) -> None:
        """So many calls of a kind a minute; then 429. And none while the API is away."""
        if self.world.api_away:
            self.world.calls_away += 1
            raise Unavailable("503: try again later")
        calls, now = self.world.calls[kind], self.world.now
        while calls and calls[0] <= now - 60.0:
            calls.popleft()
        if len(calls) >= self.world.limits[kind]:
            self.world.fault("limited")
            raise Unavailable("429: too many requests")
        calls.append(now)

    async def _travel(self, longest: float) -> None:
        chance = self.world.random.random()
        if chance < 0.4:
            await turn()
        else:
            await self.world.loop.nap(longest * chance)
        if self.frozen_until > self.world.now:
            await self.world.loop.nap(self.frozen_until - self.world.now)

    async def _before(self, what: str, *, effect: bool) -> None:
        faults = self.faults
        self.calls += 1
        if self.died:
            raise asyncio.CancelledError  # what a dead process still wants to tidy stays as it is
        await self._travel(0.1)
        if self._chance("crash", faults.crash):
            await self._die(f"before {what}")
        if effect and self._chance("refuse", faults.refuse):
            raise Unavailable(f"{what}: try again")

    async def _after(self, what: str, *, effect: bool) -> None:
        faults = self.faults
        if effect:
            await self._travel(0.02)
        if self._chance("crash", faults.crash):
            await self._die(f"after {what}")
        if effect and self._chance("lost_answer", faults.lost_answer):
            raise NoAnswer(f"{what}: no answer")

    def _reach(self, name: str) -> Host:
        host = self.world.hosts[name]
        if not host.alive or self._chance("host_silent", self.faults.host_silent):
            raise Unavailable(f"{name}: no answer")
        return host

    def _writ(self, writ: Writ) -> Host:
        host = self._reach(writ.host)
        if writ.fence < host.fence:
            raise LeaseLost(f"{host.name}: fence {host.fence}")
        host.fence = writ.fence
        self.guard.acts(self.name)
        return host

    async def _home(self, what: str) -> None:
        await self._before(what, effect=False)
        if self.world.home_lost:
            raise Unavailable("home: no answer")

    # -- hosts -----------------------------------------------------------------------------------

    async def look(self, host: str, question: Question) -> HostFacts:
        await self._before("look", effect=False)
        here = self._reach(host)
        facts = HostFacts(
            name=host,
            boot_id=str(here.boots),
            utc=self.utc(),
            disk_free=10**10,
            fence=here.fence,
            settings=frozenset(here.settings),
            artifacts=frozenset(here.artifacts),
            slots=tuple(self._slot(asked.slot, asked.release, probe=asked.probe) for asked in question.slots),
        )
        await self._after("look", effect=False)
        return facts

    def _slot(self, slot: Slot, release: ReleaseId | None, *, probe: bool) -> SlotFacts:
        replica = self.world.replica(slot)
        if replica is None:
            return SlotFacts(key=slot.key, open=0, opened=0)
        ready = self.world.is_ready(slot)
        expected = release is None or replica.release == release
        known = not self._chance("uncounted", self.faults.uncounted)
        if probe and expected and ready:
            replica.probed += 1
        answer = ProbeFacts(ready, 200 if ready else None, "" if ready else "refused", 0.01)
        return SlotFacts(
            key=slot.key,
            replica=ReplicaFacts(replica.release, replica.id, running=True, restarts=replica.restarts, exit_code=None),
            listening=ready,
            open=replica.count(self.world.now) if known else None,
            opened=replica.opened if known else None,
            probe=answer if probe and expected else None,
        )

    async def raise_fence(self, writ: Writ) -> None:
        await self._before("fence", effect=False)
        self._writ(writ)
        await self._after("fence", effect=False)

    async def put_settings(self, writ: Writ, release: Release, secrets: Mapping[str, Secret]) -> None:
        await self._before(f"settings {writ.host}", effect=True)
        self._writ(writ).settings.add(release.id)
        await self._after(f"settings {writ.host}", effect=True)

    async def put_artifact(self, writ: Writ, release: Release) -> int:
        await self._before(f"artifact {writ.host}", effect=True)
        await asyncio.sleep(self.world.random.uniform(0, 20))
        if self.world.no_artifact:
            self.guard.refused(f"artifact {writ.host}")
            raise Refused(f"{release.artifact}: there is no such image")
        self._writ(writ).artifacts.add(release.artifact)
        await self._after(f"artifact {writ.host}", effect=True)
        return 1

    async def start(self, writ: Writ, placement: Placement) -> None:
        slot, release = placement.slot, placement.release
        await self._before(f"start {slot.key}", effect=True)
        host = self._writ(writ)
        if release.id not in host.settings or release.artifact not in host.artifacts:
            raise Unavailable(f"{slot.key}: nothing to start from")
        there = self.world.replica(slot)
        if there is None or there.release != release.id:
            self.guard.start(slot, release.id, there.release if there is not None else None)
            if there is not None:
                self.world.signal(slot)
            self.world.run(release, slot)
        await self._after(f"start {slot.key}", effect=True)

    async def stop(self, writ: Writ, release: ReleaseId, slot: Slot, grace: Seconds) -> int | None:
        await self._before(f"stop {slot.key}", effect=True)
        host = self._writ(writ)
        replica = self.world.replica(slot)
        open_ = 0
        if replica is not None and replica.release == release:
            self.guard.stop(slot)
            open_ = self.world.signal(slot)
            await asyncio.sleep(0.2)
            if host.replicas.get(slot.key) is replica:
                del host.replicas[slot.key]
        await self._after(f"stop {slot.key}", effect=True)
        return open_

    async def warm_up(self, host: str, warm_up: WarmUp) -> None:
        await self._before(f"warm {warm_up.slot.key}", effect=True)
        self._reach(host)
        if (replica := self.world.replica(warm_up.slot)) is not None:
            replica.warm = True
        await self._after(f"warm {warm_up.slot.key}", effect=True)

    async def prune(self, writ: Writ, keep: frozenset[ReleaseId]) -> None:
        await self._before(f"prune {writ.host}", effect=True)
        host = self._writ(writ)
        self.guard.prune(writ.host, keep)
        host.settings &= set(keep)
        await self._after(f"prune {writ.host}", effect=True)

    async def tail(self, host: str, app: str, release: ReleaseId, slot: Slot, lines: int) -> tuple[str, ...]:
        self._reach(host)
        return ("a log line",)

    # -- balancer --------------------------------------------------------------------------------

    async def read(self) -> BalancerFacts:
        await self._before("read balancer", effect=False)
        self._limited("list")
        self.world.lists += 1
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
            for port in self.world.every_port
        )
        return BalancerFacts(1, "balancer", "127.0.0.1", 0, configs)

    def _facts(self, node: Node) -> NodeFacts:
        mode, weight, up = node.mode, node.weight, node.up
        old = node.before
        if old is not None and self.world.now < old[3] and self._chance("stale_read", self.faults.stale_read):
            mode, weight, up = old[:3]
        return NodeFacts(node.port, node.port, node.id, node.address, node.address, mode, weight, up)

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        await self._before(f"read node {node.id}", effect=False)
        self._limited("node")
        there = self.world.nodes.get(node.id)
        if there is None:
            return None
        there.calls += 1
        facts = self._facts(there)
        await self._after(f"read node {node.id}", effect=False)
        return facts

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None:
        world = self.world
        decided_at = self.decided.get(node.id, world.now)
        if not self.died and self.frozen_until <= world.now:
            self.guard.send(self.name)
        await self._before(f"put node {node.id} {mode.value}", effect=True)
        self._limited("node")
        there = world.nodes.get(node.id)
        if there is None:
            raise Unavailable(f"node {node.id}: 404")
        there.calls += 1
        self.guard.put(there, mode, weight)
        if self._chance("late_put", self.faults.late_put):
            later = partial(world.apply, node.id, mode, weight, decided_at=decided_at)
            asyncio.get_running_loop().call_later(world.random.uniform(0, deadline), later)
            raise NoAnswer("no answer")
        world.apply(node.id, mode, weight, decided_at=decided_at)
        await self._after(f"put node {node.id} {mode.value}", effect=True)

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        await self._before(f"add node {address}", effect=True)
        self.world.add_node(config_id, address)
        await self._after(f"add node {address}", effect=True)

    # -- store -----------------------------------------------------------------------------------

    async def read_lease(self) -> bytes | None:
        await self._home("read lease")
        return self.world.lease

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        await self._home("swap lease")
        if self.world.lease != old:
            return False
        self.world.lease = new
        await self._after("swap lease", effect=True)
        return True

    async def read_intent(self) -> bytes | None:
        await self._home("read intent")
        return self.world.intent

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool:
        await self._home("swap intent")
        if self.world.intent != old:
            return False
        self.world.intent = new
        await self._after("swap intent", effect=True)
        return True

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        await self._home("read journal")
        return self.world.journals.get(rollout, [])[start:]

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        await self._home("append")
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
                self.guard.wrote(rollout, event)
        if doomed := world.doomed:
            world.doomed = ""
            world.fault("crash")
            await self._die(f"after {doomed} was written")
        await self._after("append", effect=True)

    async def rollouts(self) -> Sequence[int]:
        await self._home("rollouts")
        return sorted(self.world.journals)

    async def read_adopted(self) -> bytes | None:
        await self._home("read adopted")
        return None

    # -- clock, verifier, commands, secrets ------------------------------------------------------

    def now(self) -> float:
        return self.world.now

    def utc(self) -> float:
        return 1.7e9 + self.world.now + self.skew

    async def sleep(self, seconds: Seconds) -> None:
        await self.world.loop.nap(seconds)
        if self.frozen_until > self.world.now:
            await self.world.loop.nap(self.frozen_until - self.world.now)

    def begin(self, rollout: Rollout) -> None:
        self._candidate = rollout.candidate.id
        self._passes, self._since = 0, None

    def take(self) -> Tally:
        answers = self.world.answers
        new, self._taken = [] if self.blind else answers[self._taken :], len(answers)
        served: dict[ReleaseId, int] = {}
        last: dict[ReleaseId, float] = {}
        failed = failed_on_candidate = 0
        for at, release, ok in new:
            if ok:
                served[release] = served.get(release, 0) + 1
                last[release] = at
            else:
                failed += 1
                failed_on_candidate += release == self._candidate
            if ok and release == self._candidate:
                self._passes += 1
                self._since = at if self._since is None else self._since
            else:
                self._passes, self._since = 0, None
        self.guard.saw_good(served.get(self._candidate, 0))
        return Tally(
            sent=len(new),
            failed=failed,
            failed_on_candidate=failed_on_candidate,
            served=served,
            passes=self._passes,
            since=self._since,
            last=last,
        )

    async def close(self) -> None:
        self.closed += 1

    async def run(self, command: Hook, rollout: Rollout, *, test: bool) -> CommandResult:
        await self._before(f"run {command.name}", effect=False)  # it is our own machine's: it runs, or is not ok
        self.ran.append(command.name)
        await asyncio.sleep(self.world.slow if test else 1.0)
        await self._after(f"run {command.name}", effect=False)
        return CommandResult(ok=self.command_ok.get(command.name, True), lines=(f"{command.name} ran",))

    def values(self, release: Release) -> Mapping[str, Secret]:
        return {name: Secret(SECRET) for name, _ in release.secrets}
