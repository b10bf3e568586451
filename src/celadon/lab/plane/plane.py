"""All NodeBalancers of one lab."""

import asyncio
import contextlib
import os
from collections.abc import Callable

from celadon.lab.loopback import BlackHole, Link, require_loopback
from celadon.lab.parts import LabPaths, Listener, NodeStatus, PlaneBalancer
from celadon.lab.plane.binary import bundled_haproxy, find_haproxy
from celadon.lab.plane.haproxy import Totals
from celadon.lab.plane.modes import PlaneSwitches
from celadon.lab.plane.port import ConfigPort, Terms
from celadon.lab.processes import end_from_pidfile

REFRESH_SECONDS = 0.2  # how soon the plane notices that an instance came, went or lost its network


def exactly(seconds: float) -> float:
    """No jitter: every change takes the switch's seconds."""
    return seconds


class Balancer:
    """One NodeBalancer's ports, and what its closed ones have carried."""

    def __init__(self) -> None:
        self.ports: dict[int, ConfigPort] = {}
        self.carried: Totals = (0, 0, 0)
        self.lock = asyncio.Lock()

    async def drop(self, config_id: int) -> None:
        port = self.ports.pop(config_id)
        await port.close()
        self.carried = _sum(self.carried, port.totals())


class HaproxyPlane:
    """A `DataPlane` carried by HAProxy.

    `translate` gives the address on `link` (loopback) of a private one, or None when nobody answers there: connections
    to it then hang until they time out. `delay` turns the switch's seconds into the delay of one change (a random one,
    say); `pace` scales the checks' intervals and timeouts (0.1: ten times as fast).
    """

    def __init__(
        self,
        paths: LabPaths,
        translate: Callable[[str], str | None],
        switches: PlaneSwitches,
        *,
        delay: Callable[[float], float] = exactly,
        pace: float = 1.0,
        link: Link = Link(),  # noqa: B008 - frozen
    ) -> None:
        paths.plane.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._nowhere = BlackHole()
        self._terms = Terms(
            binary=find_haproxy(dict(os.environ), bundled_haproxy()),
            folder=paths.plane,
            translate=translate,
            nowhere=self._nowhere.address,
            switches=switches,
            delay=delay,
            pace=pace,
            link=link,
        )
        self._balancers: dict[int, Balancer] = {}
        self._refreshing: asyncio.Task[None] | None = None

    @staticmethod
    def clean(paths: LabPaths) -> None:
        """End the processes that a killed lab left, and only these. Nothing of a living lab may be cleaned."""
        for pidfile in sorted(paths.plane.glob("*.pid")):
            end_from_pidfile(pidfile)
        for pattern in ("*.cfg", "*.err", "*.sock", "*.pem"):
            for file in paths.plane.glob(pattern):
                file.unlink(missing_ok=True)

    def set_switches(self, switches: PlaneSwitches) -> None:
        """In force for everything that happens from now on (`redispatch`: at a port's next change)."""
        self._terms.switches = switches

    async def apply(self, balancer: PlaneBalancer) -> None:
        require_loopback(balancer.address)
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_for_ever())
        held = self._balancers.setdefault(balancer.id, Balancer())
        async with held.lock:
            wanted = {config.id: config for config in balancer.configs}
            for config_id in held.ports.keys() - wanted.keys():
                await held.drop(config_id)
            for config_id, config in wanted.items():
                port = held.ports.get(config_id) or ConfigPort(balancer, config, self._terms)
                held.ports[config_id] = port
                try:
                    await port.apply(config, balancer.client_conn_throttle)
                except BaseException:
                    if not port.is_open:
                        await held.drop(config_id)
                    raise

    async def remove(self, balancer_id: int) -> None:
        held = self._balancers.pop(balancer_id, None)
        if held is not None:
            async with held.lock:
                for config_id in tuple(held.ports):
                    await held.drop(config_id)

    def status(self, node_id: int) -> NodeStatus:
        for held in self._balancers.values():
            for port in held.ports.values():
                if status := port.status(node_id):
                    return status
        return "Unknown"

    def listeners(self, balancer_id: int) -> tuple[Listener, ...]:
        held = self._balancers.get(balancer_id)
        return tuple(port.listener() for port in held.ports.values()) if held else ()

    def totals(self, balancer_id: int) -> Totals:
        held = self._balancers.get(balancer_id)
        if held is None:
            return (0, 0, 0)  # never applied: it has carried nothing
        return _sum(held.carried, *(port.totals() for port in held.ports.values()))

    def refresh(self) -> None:
        """Notice changed addresses now, not within the next 0.2 s."""
        for held in self._balancers.values():
            for port in held.ports.values():
                port.refresh()

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self.refresh()

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
            self._refreshing = None
        for balancer_id in tuple(self._balancers):
            await self.remove(balancer_id)
        self._nowhere.close()


def _sum(*all_totals: Totals) -> Totals:
    connections, bytes_in, bytes_out = zip(*all_totals, strict=True)
    return sum(connections), sum(bytes_in), sum(bytes_out)
