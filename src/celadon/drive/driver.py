"""The loop: look, decide, perform, again. The only place where choosing and doing meet.

Three things go on beside it, each a task: every host is looked at once an interval, the home is told that this
driver lives and asked what people want, and actions run side by side. Each of them wakes the loop; the loop alone
decides. Resuming is starting this loop again, on any machine.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from celadon.core.action import Act, Action, Decision, Finish, Halt, Look, SetNode, Wait
from celadon.core.decide import decide
from celadon.core.errors import CeladonError, LeaseLost, NotHome, Unavailable
from celadon.core.intent import Intent, Rollout
from celadon.core.journal import Driving, Finished, Opened
from celadon.core.observed import BalancerFacts, HostFacts, Mode, Question, SlotQuestion
from celadon.core.opens import checks_between
from celadon.core.release import ReleaseId, Slot, SlotKey
from celadon.core.scene import Goal, Observed, choose_goal
from celadon.drive.account import Account
from celadon.drive.lease import Lease
from celadon.drive.log import Log, kept
from celadon.drive.memory import Memory
from celadon.drive.perform import Performer, asked_before, host_of
from celadon.ports import World, Writ

LONGEST = 1.5  # of an interval: in each of them every host answers, or is silent, and that wakes the loop, too
OVERSLEPT = 10.0  # seconds beyond an interval after which this machine was not busy, but asleep
GATHER = 0.1  # of an interval: answers of hosts that come so close together are decided on together


class Watcher(Protocol):
    """Told of every decision: the live view, the event lines, a test."""

    def __call__(self, observed: Observed, intent: Intent, decision: Decision, now: float) -> None: ...


def silent(observed: Observed, intent: Intent, decision: Decision, now: float) -> None:
    """Watch nothing."""


class Driver:
    """Drives one open rollout until it finishes, halts, or this driver may act no more."""

    def __init__(self, world: World, lease: Lease, intent: Intent, watch: Watcher = silent) -> None:
        self._world = world
        self._lease = lease
        self._intent = intent
        self._watch = watch
        rollout = intent.rollout
        slots = [slot for colour in rollout.slots.values() for slot in colour]
        self._hosts = sorted({slot.host for slot in slots})
        self._memory = Memory((slot.node_address for slot in slots), self._hosts)
        self._log = Log(world.store, world.clock, rollout.number, lease.fence)
        self._performer = Performer(world, rollout, lease, self._log, self._memory)
        self._running: dict[Action, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._soon: asyncio.Task[None] | None = None
        self._fenced: set[str] = set()
        self._account = Account(world.verifier, rollout, world.clock.now())
        self._goal = Goal.FORWARD
        self._lost: Exception | None = None  # why this driver must end
        self._stopping = False
        self._check_intervals: dict[int, float] = {}  # by config, of those that check

    @property
    def log(self) -> Log:
        return self._log

    @property
    def intent(self) -> Intent:
        return self._intent

    @property
    def memory(self) -> Memory:
        return self._memory

    @property
    def rollout(self) -> Rollout:
        return self._intent.rollout

    def stop(self) -> None:
        """Start nothing new: the loop ends after what is in flight, at most `timing.stop` later."""
        self._stopping = True
        self._wake.set()

    async def drive(self) -> Finish | Halt | None:
        """Returns the end, or None when it was told to stop. Raises LeaseLost, or Unavailable for a lost home."""
        await self._log.load()
        if self._log.journal.opened_at is None:
            await self._log.write(Opened(rollout=msgspec.Raw(msgspec.json.encode(self.rollout))))
        self._world.verifier.begin(self.rollout)
        await self._log.write(Driving(who=self._lease.holder, fence=self._lease.fence))
        await self._first_look()
        beside = [self._spawn(self._keep_looking(host)) for host in self._hosts]
        beside.append(self._spawn(self._keep_home()))
        try:
            return await self._loop()
        finally:
            left = [*beside, *self._running.values(), *([self._soon] if self._soon is not None else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # -- the loop ------------------------------------------------------------------------------

    async def _loop(self) -> Finish | Halt | None:
        clock = self._world.clock
        while True:
            self._wake.clear()
            if self._lost is not None:
                raise self._lost
            if self._stopping:
                await self._settle_down()
                return None
            self._account.take()
            if self._account.due(clock.now()):
                await self._report()
            observed, now = self.observed(), clock.now()
            self._goal = choose_goal(observed.journal, self._intent, now)
            decision = decide(observed, self._intent, now)
            self._watch(observed, self._intent, decision, now)
            match decision:
                case Act(actions=actions):
                    await self._start(actions, decision.because)
                case Look(nodes=nodes):
                    await self._look(nodes)
                case Wait(until=until):
                    await self._sleep(until)
                case Finish():
                    await self._finish(decision)
                    return decision
                case Halt():
                    await self._report()
                    return decision

    def observed(self) -> Observed:
        return Observed(
            nodes=self._memory.nodes,
            listed_at=self._memory.listed_at,
            hosts=self._memory.hosts,
            public=self._account.public(self._log.journal),
            journal=self._log.journal,
            in_flight=frozenset(self._running),
        )

    async def _start(self, actions: tuple[Action, ...], because: str) -> None:
        """What must be remembered is durable before the first of them is tried."""
        counted = self._account.before(actions, self._memory.hosts, self._world.clock.now())
        asked = [
            msgspec.structs.replace(event, because=because)
            for action in actions
            if (event := asked_before(action)) is not None
        ]
        if counted or asked:
            await self._log.write(*counted, *asked)
        if asked:
            self._account.traffic_was_asked()
        for action in actions:
            self._running[action] = self._spawn(self._perform(action, because))
        if not any(isinstance(action, SetNode) for action in actions):
            await asyncio.sleep(0)

    async def _perform(self, action: Action, because: str) -> None:
        """The action stays in flight until its host was looked at again: the next choice rests on what it did."""
        try:
            await self._performer.perform(action, because)
            lowers = isinstance(action, SetNode) and action.lowers and action.port != self.rollout.test_port
            if lowers and self._goal is Goal.FORWARD:
                self._account.stable_was_lowered(self._world.clock.now())
            if (host := host_of(action)) is not None:
                await self._look_at(host)
        except Exception as error:  # noqa: BLE001 - raised by the loop
            self._lost = error
        finally:
            self._running.pop(action, None)
            self._wake.set()

    async def _sleep(self, until: float | None) -> None:
        now = self._world.clock.now()
        longest = LONGEST * max(self.rollout.timing.interval, 0.01)
        seconds = longest if until is None else min(longest, max(0.0, until - now))
        waiter = self._spawn(self._wake_after(seconds))
        await self._wake.wait()
        waiter.cancel()

    def _wake_soon(self) -> None:
        """Hosts answer one by one: what they say is decided on together, so an interval costs a few decisions."""
        if self._soon is None or self._soon.done():
            self._soon = self._spawn(self._wake_after(self.rollout.timing.interval * GATHER))

    async def _wake_after(self, seconds: float) -> None:
        await self._world.clock.sleep(seconds)
        self._wake.set()

    async def _settle_down(self) -> None:
        """Give what is in flight a few seconds to end, then leave it: done twice is done once."""
        running = list(self._running.values())
        if running:
            patience = self._spawn(self._world.clock.sleep(5.0))
            await asyncio.wait([*running, patience], return_when=asyncio.FIRST_COMPLETED)
            patience.cancel()
        await self._report()

    async def _finish(self, finish: Finish) -> None:
        await self._report()
        if finish.result == "committed":
            return
        if self._log.journal.finished is None:
            await self._log.write(Finished(result=finish.result, reason=finish.because))
        while not self._intent.finished:
            raw = await self._world.store.read_intent()
            stored = decode_intent(raw)
            if stored is None or stored.rollout.number != self.rollout.number or stored.finished:
                return
            self._intent = stored
            done = msgspec.structs.replace(stored, finished=finish.result)
            if await self._world.store.swap_intent(raw, msgspec.json.encode(done)):
                self._intent = done

    # -- looking -------------------------------------------------------------------------------

    async def _first_look(self) -> None:
        """All hosts once, fenced; the balancer by its list, three times alike after a driver that vanished."""
        await asyncio.gather(*(self._look_at(host) for host in self._hosts))
        wanted = 3 if self._lease.taken_over else 1
        same, last = 0, None
        while same < wanted:
            facts = await self._read_balancer()
            seen = {(n.id, n.mode, n.weight) for config in facts.configs for n in config.nodes}
            same = same + 1 if seen == last or last is None else 1
            last = seen
            if same < wanted:
                await self._world.clock.sleep(self.rollout.timing.interval)

    async def _read_balancer(self) -> BalancerFacts:
        """Patient: a balancer that cannot be read for a while is no reason to stop driving."""
        give_up = self._world.clock.now() + self.rollout.timing.deadline
        while True:
            try:
                facts = await self._world.balancer.read()
            except Unavailable:
                if self._world.clock.now() >= give_up:
                    raise
                await self._world.clock.sleep(self.rollout.timing.retry)
                if self._lost is not None:
                    raise self._lost from None
            else:
                self._memory.saw_balancer(facts, self._world.clock.now())
                checking = [config for config in facts.configs if config.check != "none"]
                self._check_intervals = {config.id: config.check_interval for config in checking}
                return facts

    async def _look(self, nodes: tuple[int, ...]) -> None:
        """Read these nodes, or all by the list. What cannot be read now stays as old as it is."""
        try:
            if not nodes:
                self._memory.saw_balancer(await self._world.balancer.read(), self._world.clock.now())
                return
            known = self._memory.nodes
            await asyncio.gather(*(self._read_node(id_) for id_ in nodes if id_ in known))
        except Unavailable:
            await self._world.clock.sleep(self.rollout.timing.retry)

    async def _read_node(self, id_: int) -> None:
        asked_at = self._world.clock.now()  # an answer is as old as its question
        facts = await self._world.balancer.read_node(self._memory.nodes[id_].facts)
        self._memory.saw_node(id_, facts, asked_at)

    async def _keep_looking(self, host: str) -> None:
        try:
            while True:
                woke_by = self._world.clock.now() + self.rollout.timing.interval + OVERSLEPT
                await self._world.clock.sleep(self.rollout.timing.interval)
                if self._world.clock.now() > woke_by:
                    self._memory.did_not_ask(host, self._world.clock.now())
                await self._look_at(host)
                self._wake_soon()
        except Exception as error:  # noqa: BLE001 - raised by the loop
            self._lost = error
            self._wake.set()

    async def _look_at(self, host: str) -> None:
        question = self._question(host)
        asked_at = self._world.clock.now()
        try:
            if host not in self._fenced:
                await self._world.hosts.raise_fence(Writ(host, self.rollout.app, self._lease.fence))
                self._fenced.add(host)
            facts = await self._world.hosts.look(host, question)
            self._check_fence(facts)
        except (LeaseLost, NotHome) as error:
            self._lost = error
        except CeladonError as error:
            self._memory.lost_host(host, error.message, asked_at)
        else:
            expected: dict[SlotKey, ReleaseId | None] = {q.slot.key: q.release for q in question.slots}
            self._count(host, question, facts, asked_at)
            self._memory.saw_host(host, facts, asked_at, expected)

    def _count(self, host: str, question: Question, facts: HostFacts, at: float) -> None:
        """What each slot's counter says since the look before: evidence where answers do not say who gave them."""
        before = self._memory.hosts[host]
        if before.seen_at is None or at < before.seen_at:
            return
        addresses = {asked.slot.key: asked.slot.node_address for asked in question.slots}
        nodes = [sight.facts for sight in self._memory.nodes.values()]
        for slot in facts.slots:
            sight = before.slots.get(slot.key)
            checks = checks_between(addresses[slot.key], nodes, self._check_intervals, at - before.seen_at)
            self._account.opens = self._account.opens.after(sight.facts if sight is not None else None, slot, checks)

    def _check_fence(self, facts: HostFacts) -> None:
        """A look is not refused by a larger fence; it shows it."""
        if facts.fence > self._lease.fence:
            raise LeaseLost(f"{facts.name}: another driver has taken over", hint="celadon status", where=facts.name)

    def _question(self, host: str) -> Question:
        """What leaves is counted, and not probed: a probe is a connection. Everything else is probed."""
        rollout, leaving = self.rollout, self._leaving()
        slots = [
            SlotQuestion(
                slot=slot,
                release=release.id if release is not None else None,
                probe=slot not in leaving and release is not None,
                count=True,
            )
            for colour, release in self._releases()
            for slot in rollout.slots[colour]
            if slot.host == host
        ]
        return Question(rollout.app, tuple(slots), rollout.health.probe)

    def _leaving(self) -> frozenset[Slot]:
        """What is out of the balancer already, as far as is seen: until then it may have to carry users."""
        if self._goal not in {Goal.BACK, Goal.RETIRE}:
            return frozenset()
        slots = self.rollout.candidate_slots if self._goal is Goal.BACK else self.rollout.stable_slots
        on = {node.facts.address for node in self._memory.nodes.values() if node.facts.mode is not Mode.REJECT}
        return frozenset(slot for slot in slots if slot.node_address not in on)

    def _releases(self) -> list[tuple[Any, Any]]:
        rollout = self.rollout
        pairs: list[tuple[Any, Any]] = [(rollout.candidate_colour, rollout.candidate)]
        if rollout.stable_colour is not None:
            pairs.append((rollout.stable_colour, rollout.stable))
        return pairs

    # -- the home and the journal ----------------------------------------------------------------

    async def _keep_home(self) -> None:
        """Hear what people want, and whether this driver may still act: the lease renews itself."""
        clock, pause = self._world.clock, min(2.0, self._lease.ttl / 6)
        heard: bytes | None = None
        while self._lost is None:
            await clock.sleep(pause)
            try:
                raw = await self._world.store.read_intent()
                if raw != heard:
                    self._hear(decode_intent(raw))
                    heard = raw
            except Unavailable:
                pass  # the lease knows how long the home may be silent
            except Exception as error:  # noqa: BLE001 - raised by the loop
                self._lost = error
            self._lost = self._lost or self._lease.problem
        self._wake.set()

    def _hear(self, stored: Intent | None) -> None:
        """Nothing new is nothing to decide on."""
        if stored is not None and stored.rollout.number == self.rollout.number and stored != self._intent:
            self._intent = stored
            self._wake.set()

    async def _report(self) -> None:
        if entry := self._account.entry(self._world.clock.now()):
            await self._log.write(*entry)

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(work)


def decode_intent(raw: bytes | None) -> Intent | None:
    found: Intent | None = kept(raw, Intent, "intent")
    return found
