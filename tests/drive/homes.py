"""Homes for tests: the fakes, and the agent's own operations on one folder a host, with a fuse for crashes."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import pytest
from tests.cli.worlds import SLOTS, TIMING, Commands, GoodDoor, NoSecrets
from tests.simulation.virtual import run

from celadon.adapters.agent_link import Call
from celadon.adapters.host_store import HostHomes
from celadon.adapters.memory import MemoryHosts
from celadon.adapters.memory_balancer import MemoryBalancer
from celadon.adapters.memory_homes import MemoryHomes
from celadon.agent import operations, wire
from celadon.agent.errors import AgentError
from celadon.agent.main import Channel
from celadon.core.errors import Bug, LeaseLost, NotHome, Refused, Unavailable
from celadon.core.intent import Health, Verify
from celadon.core.observed import BalancerFacts, Probe
from celadon.core.release import Colour, Slot
from celadon.core.wanted import Wanted
from celadon.drive.home import HomeStore
from celadon.drive.lease import Lease
from celadon.drive.moving import Moved, adopt, move
from celadon.ports import Homes, World, Writ

APP = "shop"
HOSTS = ("blue-1", "green-1", "green-2")
ERRORS = {"refused": Refused, "unavailable": Unavailable, "lease_lost": LeaseLost, "not_home": NotHome}


class Killed(Exception):
    """SIGKILL to the mover: nothing more leaves it."""


class Fuse:
    """Counts what one process asks of hosts; blows before or after the one with the number `at`."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.at = at
        self.after = after
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda name: None  # told of each call before it is made

    async def burn(self, name: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if self.at is not None and len(self.calls) > self.at:
            raise Killed(name)
        mine = len(self.calls)
        self.calls.append(name)
        self.before(name)
        if mine == self.at and not self.after:
            raise Killed(name)
        value = await call()
        if mine == self.at:
            raise Killed(name)
        return value


class Burning:
    """Anything whose coroutines burn a fuse; stores that it gives burn the same one."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name == "store":
            return lambda host: Burning(method(host), self._fuse)

        async def call(*args: Any) -> Any:
            return await self._fuse.burn(name, lambda: method(*args))

        return call


class Farm(Protocol):
    """A few hosts of one app, as they outlive any process."""

    homes: Homes

    def silence(self, host: str, *, silent: bool = True) -> None: ...

    def wipe(self, host: str) -> None: ...

    async def raise_fence(self, host: str, fence: int) -> None:
        """As a driver's first look does."""


class MemoryFarm:
    def __init__(self) -> None:
        self.hosts = MemoryHosts(HOSTS)
        self.memory = MemoryHomes(APP, self.hosts)
        self.homes: Homes = self.memory

    def silence(self, host: str, *, silent: bool = True) -> None:
        self.hosts.machines[host].reachable = not silent

    def wipe(self, host: str) -> None:
        self.memory.wipe(host)
        self.hosts.machines[host].fences.clear()

    async def raise_fence(self, host: str, fence: int) -> None:
        await self.hosts.raise_fence(Writ(host, APP, fence))


class AgentFarm:
    """The agent's operations in this process, each host's state in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._silent: set[str] = set()
        self._lives = dict.fromkeys(HOSTS, 0)
        self.homes: Homes = HostHomes(APP, self._ask)

    def silence(self, host: str, *, silent: bool = True) -> None:
        (self._silent.add if silent else self._silent.discard)(host)

    def wipe(self, host: str) -> None:
        self._lives[host] += 1

    async def raise_fence(self, host: str, fence: int) -> None:
        await self._ask(host, Call("raise_fence", {"app": APP, "fence": fence}))

    async def _ask(self, host: str, call: Call) -> Any:
        await asyncio.sleep(0.001)
        if host in self._silent:
            raise Unavailable(f"{host}: ssh timed out", where=host)
        assert call.op in wire.OPERATIONS
        self._monkeypatch.setenv("HOME", str(self._folder / f"{host}-{self._lives[host]}"))
        channel = Channel(1, lambda kind, request, data: None)
        try:
            answer = operations.HANDLERS[call.op](json.loads(json.dumps(call.args)), channel)
        except AgentError as error:
            raise ERRORS.get(error.kind, Bug)(f"{host}: {error.message}", hint=error.hint, where=host) from error
        return msgspec.json.decode(json.dumps(answer), type=call.answer)


class LoopClock:
    """The loop's own time, which is a number on a virtual loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> float:
        return 1.7e9 + self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Person:
    """One process of one person: `home` is what their config says."""

    def __init__(self, farm: Farm, *, home: str = "blue-1", who: str = "ada", fuse: Fuse | None = None) -> None:
        self.fuse = fuse or Fuse()
        self.store = HomeStore(cast("Homes", Burning(farm.homes, self.fuse)), APP, home, HOSTS)
        self.who = who
        self.wanted = Wanted(
            app=APP,
            slots={Colour.BLUE: SLOTS[Colour.BLUE], Colour.GREEN: (Slot("green-1", "192.168.130.21", 5000),)},
            ports=(),
            balancer="balancer",
            timing=msgspec.structs.replace(TIMING, lease=30.0),
            health=Health(probe=Probe("/", "shop")),
            verify=Verify(url="http://shop.example/"),
            home=home,
        )
        self.world = World(
            hosts=MemoryHosts(HOSTS),
            balancer=MemoryBalancer(BalancerFacts(1, "balancer", "198.51.100.7", 0, ()), lambda: 0.0),
            store=self.store,
            clock=LoopClock(),
            verifier=GoodDoor(),
            commands=Commands(),
            secrets=NoSecrets(),
        )

    async def move(self, to: str) -> Moved:
        return await move(self.store, self.world, self.wanted, who=self.who, to=to)

    async def adopt(self, to: str | None = None, dead: frozenset[str] = frozenset()) -> Moved:
        return await adopt(self.store, self.world, self.wanted, who=self.who, to=to, dead=dead)

    async def take(self) -> Lease:
        lease = Lease(self.store, self.world.clock, self.who, self.wanted.timing.lease)
        await lease.take()
        return lease


async def live_a_little(farm: Farm) -> int:
    """An app with a past on blue-1: two rollouts, an intent, a key; returns the last driver's fence."""
    ada = Person(farm)
    for number in (1, 2):
        lease = await ada.take()
        for host in HOSTS:
            await farm.raise_fence(host, lease.fence)
        await ada.store.append(number, 0, [b'{"e":0}', '{"e":"zw\u00f6lf"}'.encode()], lease.fence)
        await lease.release()
    assert await ada.store.swap_intent(None, b'{"an": "intent"}')
    assert await ada.store.swap_key(None, b"a-key")
    return lease.fence


async def past_of(store: Any) -> Any:
    """Everything that a move must take along."""
    journals = {number: list(await store.read_journal(number)) for number in await store.rollouts()}
    return await store.read_intent(), await store.read_key(), await store.read_adopted(), journals


async def homes_of(farm: Farm) -> list[str]:
    """Hosts that answer as the home."""
    found = []
    for host in HOSTS:
        try:
            if await farm.homes.store(host).read_lease() is not None:
                found.append(host)
        except (NotHome, Unavailable):
            continue
    return found


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In virtual time: a lease that lapses costs nothing."""
    run(story())
