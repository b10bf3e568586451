"""One simulated rollout from opening to end: through as many drivers as it takes, and through what befalls them."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from celadon.core.errors import CeladonError
from celadon.core.intent import Health, Hook, Intent, Requests, Rollout, Timing, Verify
from celadon.core.observed import Mode, Probe
from celadon.core.release import Colour, Release
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green
from celadon.drive.driver import Driver, decode_intent
from celadon.drive.lease import Lease
from tests.simulation.ports import Faults, Ports
from tests.simulation.promises import Promises
from tests.simulation.virtual import run
from tests.simulation.world import RATE, Behaviour, SimWorld

TIMING = Timing(
    settle=10.0,
    bake=30.0,
    drain=25.0,
    quiet=2.0,
    interval=2.0,
    start_within=60.0,
    up_within=60.0,
    deadline=900.0,
    lease=30.0,
    verify_within=60.0,
    fresh=8.0,
)

OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker")
LEFT = Release(app="shop", version="v0", artifact="r/shop@sha256:left", runtime="docker")
FOREVER = 40_000.0  # seconds after which a story that has not ended never will
HALTS = 6  # times that the same command is run again after a driver said that it is stuck

Event = Literal["host", "edit", "home", "freeze", "go_back", "pause", "promote"]


@dataclass
class Happening:
    """Something that befalls the world at a moment of the story."""

    at: float
    kind: Event
    index: int = 0  # which host, or node
    colour: Colour = Colour.BLUE
    back_after: float | None = None  # None: never
    empty: bool = False


@dataclass
class Setting:
    """One world, drawn from a seed."""

    seed: int
    colours: int = 2
    ports: int = 1
    lag: float = 2.0
    shared: bool = False
    first: bool = False
    unmanaged: bool = False
    leftover: bool = False
    unchecked_backups: bool = False
    hold: bool = False
    tests: bool = False
    candidate: Behaviour = field(default_factory=Behaviour)
    faults: Faults = field(default_factory=Faults)
    happenings: tuple[Happening, ...] = ()
    drivers: int = 1
    skew: float = 0.0

    @property
    def calm(self) -> bool:
        """Nothing goes wrong here: a good release is deployed, with few calls."""
        return (
            self.faults == Faults()
            and self.candidate == Behaviour()
            and all(h.kind == "promote" for h in self.happenings)
        )


@dataclass
class Outcome:
    result: str
    world: SimWorld
    promises: Promises
    drivers: int
    seconds: float
    trace: list[str]

    @property
    def broken(self) -> list[str]:
        return self.world.broken


def draw(seed: int) -> Setting:
    chance = random.Random(seed)
    good = [Behaviour()] * 5
    bad = [Behaviour(ready_after=1e9), Behaviour(dies_after=5.0), Behaviour(dies_after=60.0), Behaviour(fails=0.3)]
    faults = Faults(
        crash=chance.choice([0.0, 0.001, 0.005, 0.02]),
        refuse=chance.choice([0.0, 0.0, 0.1]),
        lost_answer=chance.choice([0.0, 0.1, 0.3]),
        host_silent=chance.choice([0.0, 0.0, 0.05]),
        stale_read=chance.choice([0.0, 0.3]),
        late_put=chance.choice([0.0, 0.1]),
        uncounted=chance.choice([0.0, 0.0, 0.0, 0.2]),
    )
    colours = chance.choice([1, 2, 3])
    hold = chance.random() < 0.1
    setting = Setting(
        seed=seed,
        colours=colours,
        ports=chance.choice([1, 1, 2]),
        lag=chance.choice([0.0, 2.0, 9.0]),
        shared=chance.random() < 0.3,
        first=chance.random() < 0.15,
        unmanaged=chance.random() < 0.1,
        leftover=chance.random() < 0.1,
        unchecked_backups=chance.random() < 0.5,
        hold=hold,
        tests=chance.random() < 0.1,
        candidate=chance.choice([*good, *bad, Behaviour(ready_after=20.0)]),
        faults=faults,
        happenings=tuple(_befall(chance, colours, hold=hold)),
        drivers=chance.choice([1, 1, 2]),
        skew=chance.choice([0.0, 0.0, 3600.0, -3600.0]),
    )
    if chance.random() < 0.1:
        promote = tuple(h for h in setting.happenings if h.kind == "promote")
        return replace(setting, faults=Faults(), candidate=Behaviour(), happenings=promote)
    return setting


def _befall(chance: random.Random, colours: int, *, hold: bool) -> list[Happening]:
    happenings = []
    if chance.random() < 0.33:
        happenings.append(Happening(chance.uniform(0, 150), "go_back"))
    if chance.random() < 0.15:
        back = chance.choice([None, 20.0, 90.0])
        colour, empty = chance.choice(list(Colour)), chance.random() < 0.5
        index, at = chance.randrange(colours), chance.uniform(0, 150)
        happenings.append(Happening(at, "host", index=index, colour=colour, back_after=back, empty=empty))
    if chance.random() < 0.1:
        happenings.append(Happening(chance.uniform(0, 150), "edit", index=chance.randrange(colours)))
    if chance.random() < 0.1:
        happenings.append(Happening(chance.uniform(0, 150), "home", back_after=chance.choice([5.0, 25.0, 100.0])))
    if chance.random() < 0.1:
        happenings.append(Happening(chance.uniform(0, 150), "freeze", back_after=chance.uniform(5.0, 100.0)))
    if chance.random() < 0.1:
        happenings.append(Happening(chance.uniform(0, 100), "pause", back_after=chance.uniform(5.0, 200.0)))
    if hold:
        happenings.append(Happening(chance.uniform(0, 1200), "promote"))
    return happenings


def tell(setting: Setting, *, trace: bool = False, patience: float = FOREVER) -> Outcome:
    outcome: Outcome = run(_Story(setting, trace=trace, patience=patience).tell())
    return outcome


class _Story:
    def __init__(self, setting: Setting, *, trace: bool, patience: float) -> None:
        self.setting = setting
        self.patience = patience
        self.trace = trace
        self.lines: list[str] = []
        self.drivers = 0
        self.faults = setting.faults
        self.living: list[Ports] = []

    async def tell(self) -> Outcome:
        setting = self.setting
        self.world = world = SimWorld(
            setting.seed, colours=setting.colours, ports=setting.ports, lag=setting.lag, shared=setting.shared
        )
        world.drain = TIMING.drain
        world.first = world.closed = setting.first
        world.unchecked_backups = setting.unchecked_backups
        world.behaviours[NEW.id] = setting.candidate
        began = world.now
        if setting.leftover:
            world.serve_from(Colour.GREEN, LEFT, mode=Mode.REJECT)
            for node in world.nodes.values():
                if node.address in {slot.node_address for slot in world.slots[Colour.GREEN]}:
                    node.up, node.applied = True, Mode.ACCEPT  # a person took it out a moment ago
                    node.changes.append((world.now + world.random.uniform(0, world.lag), Mode.REJECT, 1))
        if not setting.first:
            world.serve_from(Colour.BLUE, OLD)
        intent = _open(world, setting)
        world.intent = msgspec.json.encode(intent)
        self.promises = Promises(world, intent)
        self.promises.held = setting.hold
        if setting.leftover:
            self.promises.allowed.add(LEFT.id)
        if not setting.first:
            self.promises.allowed.add(OLD.id)  # also where Celadon did not start it
        loop = asyncio.get_running_loop()
        physics = loop.create_task(world.physics(rate=RATE))
        for happening in setting.happenings:
            loop.call_later(happening.at, self._befall, happening)
        driving = loop.create_task(self._drive_to_the_end())
        await asyncio.wait([driving, physics], timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
        result = driving.result() if driving.done() else "never"
        physics.cancel()
        if physics.done() and not physics.cancelled() and (error := physics.exception()) is not None:
            raise error
        world.random.seed(setting.seed)
        self.promises.after(result, bad=setting.candidate.fails > 0 and not setting.first)
        if setting.calm:
            self.promises.after_calm(result)
        return Outcome(result, world, self.promises, self.drivers, world.now - began, self.lines)

    # -- what befalls it ---------------------------------------------------------------------------

    def _befall(self, happening: Happening) -> None:
        self._say(f"HAPPENS {happening}")
        match happening.kind:
            case "host":
                self._host(happening)
            case "edit":
                self._edit(happening)
            case "home":
                self._for_a_while(happening, lambda lost: setattr(self.world, "home_lost", lost))
            case "freeze":
                self.promises.frozen = True
                for ports in self.living:
                    ports.freeze(happening.back_after or 0.0)
            case "go_back":
                self.promises.asked_back_at = self.world.now
                self._ask(lambda requests: msgspec.structs.replace(requests, go_back="an operator", paused=False))
            case "pause":
                self._for_a_while(happening, self._pause)
            case "promote":
                self.promises.held = False
                self._ask(lambda requests: msgspec.structs.replace(requests, promotions=requests.promotions + 1))

    def _host(self, happening: Happening) -> None:
        slots = self.world.slots[happening.colour]
        name = slots[happening.index].host
        self.world.excused = self.world.excused or f"{name} died"
        self.world.kill_host(name)
        if happening.back_after is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(happening.back_after, lambda: self.world.boot_host(name, empty=happening.empty))

    def _edit(self, happening: Happening) -> None:
        """Somebody takes one of several nodes out by hand, on one port only: the ports diverge."""
        address = self.world.slots[Colour.BLUE][happening.index].node_address
        nodes = [node for node in self.world.nodes.values() if node.address == address]
        serving = [n for n in self.world.takers(nodes[0].port) if n.address != address]
        if serving:
            self.world.excused = self.world.excused or "a node was taken out by hand"
            self.promises.edited_at = self.world.now
            self.world.apply(nodes[0].id, Mode.REJECT, 1)

    def _pause(self, paused: bool) -> None:  # noqa: FBT001 - one of two callbacks of the same shape
        self.promises.paused_at = self.world.now if paused else None
        self._ask(lambda requests: msgspec.structs.replace(requests, paused=paused and not requests.go_back))

    def _for_a_while(self, happening: Happening, switch: Callable[[bool], None]) -> None:
        switch(True)
        asyncio.get_running_loop().call_later(happening.back_after or 0.0, switch, False)

    def _ask(self, change: Callable[[Requests], Requests]) -> None:
        intent = decode_intent(self.world.intent)
        if intent is not None and not intent.finished:
            changed = msgspec.structs.replace(intent, requests=change(intent.requests))
            self.world.intent = msgspec.json.encode(changed)

    # -- who drives it -----------------------------------------------------------------------------

    async def _drive_to_the_end(self) -> str:
        halts = 0
        while True:
            self.drivers += 1
            self.living = []
            side_by_side = [asyncio.create_task(self._one_driver(n)) for n in range(self.setting.drivers)]
            results = await asyncio.gather(*side_by_side)
            stored = decode_intent(self.world.intent)
            if stored is not None and stored.finished:
                return stored.finished
            halts += "halted" in results
            if halts > HALTS:
                return "halted"
            if self.drivers > 60:
                self.faults = Faults()  # once faults stop, every rollout ends
            await asyncio.sleep(1.0)

    async def _one_driver(self, number: int) -> str:
        name = f"driver-{self.drivers}-{number}"
        ports = Ports(self.world, faults=self.faults, skew=self.setting.skew if number else 0.0)
        ports.guard = self.promises
        ports.process = asyncio.current_task()
        self.living.append(ports)
        lease = Lease(ports, ports, name, TIMING.lease)

        def watch(observed: Observed, intent: Intent, decision: object, now: float) -> None:
            if self.trace:
                self._say(f"{name} {decision}")

        try:
            await lease.take()
            intent = decode_intent(self.world.intent)
            assert intent is not None
            end = None if intent.finished else await Driver(ports.everything(), lease, intent, watch).drive()
            await lease.release()
        except asyncio.CancelledError:
            if not ports.died:
                raise
            self._say(f"{name} CRASH {ports.died}")
            return "crashed"
        except CeladonError as error:
            self._say(f"{name} {type(error).__name__} {error}")
            return "lost"
        finally:
            await lease.let_go()  # its process is gone
        return "halted" if type(end).__name__ == "Halt" else "ended"

    def _say(self, text: str) -> None:
        if self.trace and (not self.lines or not self.lines[-1].endswith(text)):
            self.lines.append(f"{self.world.now:8.1f} {text}")


def _open(world: SimWorld, setting: Setting) -> Intent:
    stable = {slot.node_address for slot in world.slots[Colour.BLUE]}
    baseline = {n.id: n.weight for n in world.nodes.values() if n.address in stable and n.mode is Mode.ACCEPT}
    tests = (Hook(name="smoke", command=("smoke",)),) if setting.tests else ()
    rollout = Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        candidate_colour=Colour.GREEN,
        stable=None if setting.first or setting.unmanaged else OLD,
        stable_colour=None if setting.first else Colour.BLUE,
        slots=world.slots,
        ports=world.ports,
        balancer="balancer",
        steps=blue_green(tuple(test.name for test in tests), hold=setting.hold),
        timing=TIMING,
        health=Health(probe=Probe("/", "shop")),
        verify=Verify(url="http://127.0.0.1", passes=1),
        tests=tests,
        floor=dict.fromkeys(world.ports, setting.colours),
        baseline=baseline,
    )
    return Intent(rollout=rollout)
