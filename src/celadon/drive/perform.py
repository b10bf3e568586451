"""Carry out one action: what is written down before, the call, what is written down after."""

import asyncio
from typing import assert_never

import msgspec

from celadon.core.action import (
    Action,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    RunCommand,
    SetNode,
    Start,
    Stop,
    WarmUpSlot,
)
from celadon.core.attempts import failure_key
from celadon.core.errors import CeladonError, LeaseLost, NoAnswer, NotAllowed, NotHome, Refused, Unavailable
from celadon.core.intent import Rollout
from celadon.core.journal import (
    ActionFailed,
    ActionWorked,
    Asked,
    CommandFinished,
    CommandStarted,
    Event,
    Pruned,
    Returning,
    Started,
    Stopped,
    Warmed,
)
from celadon.core.release import Release, Slot
from celadon.drive.lease import Lease
from celadon.drive.log import Log
from celadon.drive.memory import Memory
from celadon.ports import Placement, WarmUp, World, Writ

PUT_DEADLINE = 0.4  # of the lease's time to live: a PUT must end, or be given up, well before it lapses
PUT_SETTLES = 0.4  # of settle: a write whose answer was lost has landed by then, or never will
PUT_MARGIN = 0.2
TAIL_LINES = 12  # of a replica's log, for the message of why its release was left
TAILS = 2  # replicas: more of the same says no more
TAIL_WITHIN = 5.0  # seconds


class Performer:
    """Knows the world, the rollout and the right to act; knows nothing about what comes next."""

    def __init__(self, world: World, rollout: Rollout, lease: Lease, log: Log, memory: Memory) -> None:
        self._world = world
        self._rollout = rollout
        self._lease = lease
        self._log = log
        self._memory = memory

    async def perform(self, action: Action, because: str = "") -> None:
        """Raises LeaseLost, NotHome or NotAllowed when this driver may act no more; else a failure is written down."""
        try:
            await self._do(action, because)
        except (LeaseLost, NotHome, NotAllowed):
            raise
        except (Refused, Unavailable) as error:
            final, hint = isinstance(error, Refused), (error.hint or "")[:300]
            await self._log.write(
                ActionFailed(action=failure_key(action), error=one_line(error), final=final, hint=hint)
            )
        else:
            if failure_key(action) in self._log.journal.failures:
                await self._log.write(ActionWorked(action=failure_key(action)))

    def _writ(self, host: str) -> Writ:
        return Writ(host, self._rollout.app, self._lease.fence)

    async def _do(self, action: Action, because: str) -> None:  # noqa: C901 - one case an action
        world, candidate = self._world, self._rollout.candidate
        match action:
            case Record(event=Returning() as returning):
                await self._log.write(await self._explained(returning), because=because)
            case Record(event=event):
                await self._log.write(event, because=because)
            case PutSettings(host=host):
                await world.hosts.put_settings(self._writ(host), candidate, world.secrets.values(candidate))
            case PutArtifact(host=host):
                await world.hosts.put_artifact(self._writ(host), candidate)
            case Start(slot=slot):
                where = Placement(candidate, slot, self._rollout.candidate_colour, self._rollout.number)
                await world.hosts.start(self._writ(slot.host), where)
                await self._log.write(Started(slot=slot.key), because=because)
            case WarmUpSlot(slot=slot, replica=replica):
                health = self._rollout.health
                asked = WarmUp(slot, health.warm_up_paths, health.warm_up_requests, health.probe)
                await world.hosts.warm_up(slot.host, asked)
                await self._log.write(Warmed(slot=slot.key, replica=replica), because=because)
            case SetNode():
                await self._set_node(action)
            case Stop(slot=slot, release=release):
                cut = await world.hosts.stop(self._writ(slot.host), release, slot, self._grace(release))
                await self._log.write(Stopped(slot=slot.key, release=release, cut=cut), because=because)
            case RunCommand():
                await self._run(action, because)
            case Prune(host=host):
                await world.hosts.prune(self._writ(host), self._kept())
                await self._log.write(Pruned(host=host), because=because)
            case _:
                assert_never(action)

    async def _set_node(self, action: SetNode) -> None:
        """The right to act must outlast the PUT: the balancer cannot check a fence. `Asked` was written before."""
        node = self._memory.nodes.get(action.node)
        if node is None:
            raise Unavailable(f"node {action.node} is gone")
        deadline = min(self._lease.ttl * PUT_DEADLINE, self._rollout.timing.settle * PUT_SETTLES)
        if self._lease.remaining < deadline + self._lease.ttl * PUT_MARGIN:
            raise Unavailable("the lease ends too soon to change the balancer")
        clock = self._world.clock
        lands_by = sent_at = clock.now()
        try:
            await self._world.balancer.set_node(node.facts, action.mode, action.weight, deadline)
        except NoAnswer:
            lands_by = sent_at + deadline  # or never: the read that follows says so, and it is asked again if not
        finally:
            self._memory.changed_node(action.node, max(lands_by, clock.now()))

    async def _run(self, action: RunCommand, because: str) -> None:
        commands = self._rollout.tests if action.kind == "test" else self._rollout.hooks
        command = next(command for command in commands if command.name == action.name)
        await self._log.write(CommandStarted(kind=action.kind, name=action.name), because=because)
        result = await self._world.commands.run(command, self._rollout, test=action.kind == "test")
        await self._log.write(
            CommandFinished(kind=action.kind, name=action.name, ok=result.ok, detail=result.lines[-20:])
        )

    async def _explained(self, returning: Returning) -> Returning:
        """With the last log lines of what did not work. Going back does not wait for a host that is slow to tell."""
        if returning.asked_by:
            return returning
        sick = [slot for slot in self._rollout.candidate_slots if self._is_sick(slot)]
        try:
            async with asyncio.timeout(TAIL_WITHIN):
                told = await asyncio.gather(*(self._tail(slot) for slot in sick[:TAILS]))
        except TimeoutError:
            return returning
        return msgspec.structs.replace(returning, detail=tuple(line for lines in told for line in lines))

    def _is_sick(self, slot: Slot) -> bool:
        sight = self._memory.hosts[slot.host].slots.get(slot.key)
        return sight is not None and sight.facts.replica is not None and (sight.passes == 0 or sight.fails > 0)

    async def _tail(self, slot: Slot) -> tuple[str, ...]:
        release = self._rollout.candidate.id
        try:
            lines = await self._world.hosts.tail(slot.host, self._rollout.app, release, slot, TAIL_LINES)
        except CeladonError as error:
            return (f"{slot.key}: its log cannot be read: {error.message}",)
        return (f"{slot.key}, last lines:", *(f"  | {line[:300]}" for line in lines)) if lines else ()

    def _grace(self, release: str) -> float:
        candidate, stable = self._rollout.candidate, self._rollout.stable
        leaving: Release = candidate if stable is None or release == candidate.id else stable
        return leaving.stop_timeout

    def _kept(self) -> frozenset[str]:
        stable = self._rollout.stable
        ids = {self._rollout.candidate.id, *self._rollout.kept_releases}
        return frozenset(ids | ({stable.id} if stable is not None else set()))


def one_line(error: CeladonError) -> str:
    return " ".join([error.message, *error.details])[:500]


def asked_before(action: Action) -> Event | None:
    """What must be durable before the action is tried."""
    if isinstance(action, SetNode):
        return Asked(node=action.node, mode=action.mode, weight=action.weight, port=action.port, address=action.address)
    return None


def host_of(action: Action) -> str | None:
    """The host that an action changes."""
    match action:
        case PutSettings(host=host) | PutArtifact(host=host) | Prune(host=host):
            return host
        case Start(slot=slot) | Stop(slot=slot) | WarmUpSlot(slot=slot):
            return slot.host
        case SetNode() | RunCommand() | Record():
            return None
        case _:
            assert_never(action)
