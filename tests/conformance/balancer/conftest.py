"""The balancers that the suite runs against, each with what a test must be able to do behind its back.

To run it over another balancer (the lab's API), add a maker to `MAKERS`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from tests.adapters.linode.app import LinodeApp
from tests.adapters.servers import serving

from celadon.adapters.linode import LinodeApi
from celadon.adapters.memory_balancer import MemoryBalancer
from celadon.adapters.nodebalancer import LinodeBalancer
from celadon.core.observed import BalancerFacts, ConfigFacts, Mode, NodeFacts
from celadon.core.secret import Secret
from celadon.ports import Balancer

BLUE, GREEN = "192.168.130.11:5000", "192.168.130.21:5000"


class Bench(Protocol):
    """One NodeBalancer with http configs on ports 80 and 8081, each with two nodes: BLUE accept, GREEN reject."""

    balancer: Balancer
    address: str  # the users' door

    async def checked(self) -> None:
        """Returns when the balancer's own checks have caught up with every change."""

    async def turn(self, address: str, *, up: bool | None) -> None:
        """What the balancer's own check says of a node."""

    async def remove(self, address: str) -> None:
        """As when its instance is deleted."""

    async def lose_next_answer(self) -> None:
        """The next change is made, and its answer lost."""


class MemoryBench:
    address = "192.0.2.141"

    def __init__(self) -> None:
        configs = tuple(_config(port, number) for number, port in enumerate((80, 8081), start=7))
        self.memory = MemoryBalancer(BalancerFacts(5, "front", self.address, 0, configs))
        self.balancer: Balancer = self.memory

    async def checked(self) -> None:
        """There is no lag unless a test sets it."""

    async def turn(self, address: str, *, up: bool | None) -> None:
        self.memory.unwell.discard(address)
        self.memory.rise = float("inf") if up is None else 0.0
        if up is False:
            self.memory.unwell.add(address)

    async def remove(self, address: str) -> None:
        self.memory.remove([address])

    async def lose_next_answer(self) -> None:
        self.memory.lose_answers = 1


class LinodeBench:
    address = "192.0.2.141"

    def __init__(self, app: LinodeApp, balancer: Balancer) -> None:
        self.app = app
        self.balancer = balancer

    async def checked(self) -> None:
        """The app knows at once."""

    async def turn(self, address: str, *, up: bool | None) -> None:
        for node in self.app.nodes.values():
            if node["address"] == address:
                node["status"] = "Unknown" if up is None else "UP" if up else "DOWN"

    async def remove(self, address: str) -> None:
        self.app.nodes = {key: node for key, node in self.app.nodes.items() if node["address"] != address}

    async def lose_next_answer(self) -> None:
        self.app.lose_answers = 1


@asynccontextmanager
async def _memory() -> AsyncIterator[Bench]:
    yield MemoryBench()


@asynccontextmanager
async def _linode() -> AsyncIterator[Bench]:
    app = LinodeApp()
    balancer = app.add_balancer("front")
    for port in (8081, 80):
        config = app.add_config(balancer, port=port)
        app.add_node(config, BLUE, label="blue-1", mode="accept", weight=100, status="UP")
        app.add_node(config, GREEN, label="green-1", mode="reject", weight=100, status="DOWN")
    async with serving(app.app()) as url, LinodeApi(url, Secret(app.token)) as api:
        yield LinodeBench(app, await LinodeBalancer.find(api, "front"))


MAKERS: dict[str, Callable[[], AbstractAsyncContextManager[Bench]]] = {"memory": _memory, "linode": _linode}


@pytest.fixture(params=list(MAKERS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with MAKERS[request.param]() as made:
        yield made


def _config(port: int, number: int) -> ConfigFacts:
    nodes = (
        NodeFacts(port, number, number * 10 + 1, "blue-1", BLUE, Mode.ACCEPT, 100, up=True),
        NodeFacts(port, number, number * 10 + 2, "green-1", GREEN, Mode.REJECT, 100, up=False),
    )
    return ConfigFacts(port, number, "http", "http", 31.0, 3, False, "none", nodes)
