"""Apps on a simulated world: the real loop and core, virtual time, and every command a person can give."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from tests.simulation.ports import Ports
from tests.simulation.virtual import run
from tests.simulation.world import SimWorld

from celadon.core.action import Finish
from celadon.core.intent import Health, Intent, Timing, Verify
from celadon.core.observed import Mode, Probe
from celadon.core.release import Colour, Release
from celadon.core.wanted import Options, Wanted
from celadon.drive.app import App, Ending
from celadon.drive.driver import decode_intent
from celadon.drive.lease import decode

TIMING = Timing(
    settle=10.0,
    bake=30.0,
    drain=25.0,
    quiet=2.0,
    interval=2.0,
    start_within=60.0,
    up_within=20.0,
    deadline=600.0,
    lease=20.0,
    verify_within=60.0,
    fresh=8.0,
)
PLAIN = Options()


def release(version: str) -> Release:
    return Release(app="shop", version=version, artifact=f"r/shop@sha256:{version}", runtime="docker")


class Shop:
    """One app: its world, and people with their own machines."""

    def __init__(self, *, colours: int = 2, ports: int = 1, shared: bool = False, nodes: bool = True) -> None:
        self.world = SimWorld(1, colours=colours, ports=ports, shared=shared)
        self.world.drain = TIMING.drain
        if not nodes:
            self.world.nodes.clear()
        self.events: list[str] = []

    def wanted(self, **changes: Any) -> Wanted:
        values: dict[str, Any] = {
            "app": "shop",
            "slots": self.world.slots,
            "ports": (),
            "balancer": "balancer",
            "timing": TIMING,
            "health": Health(probe=Probe("/", "shop")),
            "verify": Verify(url="http://127.0.0.1"),
            "settings_hash": "same",
        }
        return Wanted(**(values | changes))

    def person(self, who: str = "ada", **wanted: Any) -> App:
        ports = Ports(self.world)
        app = App(ports.everything(), self.wanted(**wanted), who=who)
        self.ports = ports
        return app

    async def deploy(self, version: str, options: Options = PLAIN, **wanted: Any) -> Ending:
        return await self.person(**wanted).deploy(release(version), options)

    @property
    def versions(self) -> set[str]:
        """Releases that run, by their artifact's end."""
        return {r.release for host in self.world.hosts.values() for r in host.replicas.values()}

    def serving(self) -> set[tuple[int, str]]:
        return {(n.port, n.address) for n in self.world.nodes.values() if n.mode is Mode.ACCEPT}

    def all_of(self, colour: Colour) -> set[tuple[int, str]]:
        return {(port, slot.node_address) for port in self.world.ports for slot in self.world.slots[colour]}

    def unharmed(self) -> bool:
        return not self.world.lost and not self.world.cut and not self.world.broken

    def kill(self, driving: "asyncio.Task[Any]") -> None:
        """SIGKILL to the newest person's process: nothing more leaves it, not even the lease."""
        self.ports.died = "killed"
        driving.cancel()

    async def until(self, what: Callable[[], bool], *, within: float = 2000.0) -> None:
        """Wait until the world is so; fails where it is not in time."""
        give_up = self.world.now + within
        while not what():
            assert self.world.now < give_up, "it did not come to that"
            await asyncio.sleep(0.25)

    def kinds(self, rollout: int = 1) -> list[str]:
        return [msgspec.json.decode(raw)["type"] for raw in self.world.journals.get(rollout, [])]


def story(tell: Callable[[Shop], Awaitable[None]], shop: Shop | None = None, *, users: bool = True) -> Shop:
    """Run a story to its end in virtual time, with users at the door from the first good answer on."""
    the_shop = shop if shop is not None else Shop()

    async def whole() -> None:
        physics = asyncio.get_running_loop().create_task(_users(the_shop, users=users))
        try:
            await tell(the_shop)
        finally:
            physics.cancel()
            await asyncio.gather(physics, return_exceptions=True)

    run(whole())
    return the_shop


async def _users(shop: Shop, *, users: bool) -> None:
    """Nobody comes before there is anything: a first deploy is counted from its first good answer."""
    world = shop.world
    before = asyncio.get_running_loop().create_task(world.physics(rate=0.0))
    try:
        if users:
            await shop.until(lambda: all(world.takers(port) for port in world.ports), within=1e9)
    finally:
        before.cancel()
    await world.physics(rate=10.0 if users else 0.0)


def spawn(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


def result(ending: Ending) -> str:
    assert isinstance(ending.end, Finish), ending.end
    return ending.end.result


def stored(shop: Shop) -> Intent:
    intent = decode_intent(shop.world.intent)
    assert intent is not None
    return intent


def lease_is_free(shop: Shop) -> bool:
    facts = decode(shop.world.lease)
    return facts is None or not facts.holder
