"""One simulated rollout from opening to end, through as many drivers as it takes, and what it did to users."""

import asyncio
import random
from dataclasses import dataclass, field

import msgspec

from celadon.core.errors import CeladonError
from celadon.core.intent import Health, Intent, Requests, Rollout, Timing, Verify
from celadon.core.observed import Mode, Probe
from celadon.core.release import Colour, Release
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green
from celadon.drive.driver import Driver, decode_intent
from celadon.drive.lease import Lease
from celadon.ports import World
from tests.simulation.virtual import run
from tests.simulation.world import Behaviour, Faults, Ports, SimWorld

TIMING = Timing(
    settle=10.0,
    bake=30.0,
    drain=25.0,
    quiet=2.0,
    interval=1.0,
    start_within=60.0,
    up_within=60.0,
    deadline=900.0,
    lease=30.0,
    verify_within=60.0,
    fresh=6.0,
)

OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker")


@dataclass
class Setting:
    """One world, drawn from a seed."""

    seed: int
    colours: int = 2
    ports: int = 1
    lag: float = 2.0
    shared: bool = False
    first: bool = False
    candidate: Behaviour = field(default_factory=Behaviour)
    faults: Faults = field(default_factory=Faults)
    go_back_at: float | None = None
    drivers: int = 1
    skew: float = 0.0


@dataclass
class Outcome:
    result: str
    world: SimWorld
    drivers: int
    seconds: float
    trace: list[str]


def draw(seed: int) -> Setting:
    chance = random.Random(seed)
    candidate = chance.choice(
        [Behaviour()] * 5
        + [
            Behaviour(ready_after=1e9),
            Behaviour(dies_after=5.0),
            Behaviour(dies_after=60.0),
            Behaviour(fails=0.3),
            Behaviour(ready_after=20.0),
        ]
    )
    faults = Faults(
        crash=chance.choice([0.0, 0.001, 0.005, 0.02]),
        refuse=chance.choice([0.0, 0.0, 0.1]),
        lost_answer=chance.choice([0.0, 0.1, 0.3]),
        host_silent=chance.choice([0.0, 0.0, 0.05]),
        stale_read=chance.choice([0.0, 0.3]),
        late_put=chance.choice([0.0, 0.1]),
    )
    return Setting(
        seed=seed,
        colours=chance.choice([1, 2, 3]),
        ports=chance.choice([1, 1, 2]),
        lag=chance.choice([0.0, 2.0, 9.0]),
        shared=chance.random() < 0.3,
        first=chance.random() < 0.15,
        candidate=candidate,
        faults=faults,
        go_back_at=chance.choice([None, None, chance.uniform(0, 150)]),
        drivers=chance.choice([1, 1, 2]),
        skew=chance.choice([0.0, 0.0, 3600.0, -3600.0]),
    )


def tell(setting: Setting, *, trace: bool = False) -> Outcome:
    return run(_tell(setting, trace=trace))  # type: ignore[no-any-return]


async def _tell(setting: Setting, *, trace: bool) -> Outcome:
    world = SimWorld(setting.seed, colours=setting.colours, ports=setting.ports, lag=setting.lag, shared=setting.shared)
    world.drain = TIMING.drain
    world.behaviours[NEW.id] = setting.candidate
    if not setting.first:
        world.serve_from(Colour.BLUE, OLD)
    world.intent = msgspec.json.encode(_open(world, setting))
    world.faults = setting.faults
    rate = 0.0 if setting.first else 10.0
    physics = asyncio.get_running_loop().create_task(world.physics(tick=0.5, rate=rate))
    watch = asyncio.get_running_loop().create_task(_watch(world, setting))
    lines: list[str] = []
    began = world.now
    try:
        result, drivers = await _drive_to_the_end(world, setting, lines if trace else None)
    finally:
        for task in (physics, watch):
            task.cancel()
    if physics.done() and not physics.cancelled() and physics.exception() is not None:
        raise physics.exception()  # type: ignore[misc]
    return Outcome(result, world, drivers, world.now - began, lines)


def _open(world: SimWorld, setting: Setting) -> Intent:
    stable = {slot.node_address for slot in world.slots[Colour.BLUE]}
    baseline = {n.id: n.weight for n in world.nodes.values() if n.address in stable and n.mode is Mode.ACCEPT}
    rollout = Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        candidate_colour=Colour.GREEN,
        stable=None if setting.first else OLD,
        stable_colour=None if setting.first else Colour.BLUE,
        slots=world.slots,
        ports=world.ports,
        balancer="balancer",
        steps=blue_green((), hold=False),
        timing=TIMING,
        health=Health(probe=Probe("/", "shop")),
        verify=Verify(url="http://127.0.0.1", passes=1 if not setting.first else 0),
        floor=dict.fromkeys(world.ports, setting.colours),
        baseline=baseline,
    )
    return Intent(rollout=rollout)


async def _watch(world: SimWorld, setting: Setting) -> None:
    """The operator; and the serving floor, at every moment."""
    began = world.now
    while True:
        await asyncio.sleep(0.5)
        if setting.go_back_at is not None and world.now - began >= setting.go_back_at:
            intent = decode_intent(world.intent)
            if intent is not None and not intent.requests.go_back and not intent.finished:
                world.intent = msgspec.json.encode(
                    msgspec.structs.replace(intent, requests=Requests(go_back="an operator"))
                )


async def _drive_to_the_end(world: SimWorld, setting: Setting, lines: list[str] | None) -> tuple[str, int]:
    give_up = world.now + 40_000.0
    drivers = 0
    while world.now < give_up:
        drivers += 1
        results = await asyncio.gather(
            *(
                asyncio.create_task(_one_driver(world, setting, f"driver-{drivers}-{n}", lines))
                for n in range(setting.drivers)
            )
        )
        stored = decode_intent(world.intent)
        if stored is not None and stored.finished:
            return stored.finished, drivers
        if all(result == "halted" for result in results):
            return "halted", drivers
        if drivers > 60:
            world.faults = Faults()  # once faults stop, every rollout ends
        await asyncio.sleep(1.0)
    return "never", drivers


async def _one_driver(world: SimWorld, setting: Setting, name: str, lines: list[str] | None) -> str:
    ports = Ports(world, skew=setting.skew if name.endswith("1") else 0.0)
    everything = World(ports, ports, ports, ports, ports, ports, ports)
    lease = Lease(ports, ports, name, TIMING.lease)
    ports.process = asyncio.current_task()

    def watch(observed: Observed, intent: Intent, decision: object, now: float) -> None:
        if lines is not None and (not lines or not lines[-1].endswith(str(decision))):
            lines.append(f"{now:8.1f} {name} {decision}")

    try:
        await lease.take()
        intent = decode_intent(world.intent)
        assert intent is not None
        if intent.finished:
            await lease.release()
            return "finished"
        end = await Driver(everything, lease, intent, watch).drive()
        await lease.release()
    except asyncio.CancelledError:
        if not ports.died:
            raise
        if lines is not None:
            lines.append(f"{world.now:8.1f} {name} CRASH {ports.died}")
        return "crashed"
    except CeladonError as error:
        if lines is not None:
            lines.append(f"{world.now:8.1f} {name} {type(error).__name__} {error}")
        return "lost"
    return "halted" if type(end).__name__ == "Halt" else "ended"
