"""Traffic to applications on instances: what a fault of an instance looks like from the balancer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncssh
import msgspec
import pytest
from tests.lab.addresses import free_port, own_address
from tests.lab.waiting import until

from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import Fault, LabPaths, Machine, PlaneBalancer, PlaneConfig, PlaneNode
from celadon.lab.plane import HaproxyPlane

pytestmark = pytest.mark.slow  # a real HAProxy and SSH servers

APPLICATION = "setsid python -m http.server --bind %s %s --directory . >/dev/null 2>&1 </dev/null &"


class Switches(msgspec.Struct, frozen=True):
    mode_delay_seconds: float = 0
    backup_checked: bool = True
    reject_to_accept_unknown: bool = True
    redispatch: bool = False


class Lab:
    """Two instances, each with an application that serves its own home, and a balancer over both."""

    def __init__(self, root: Path) -> None:
        self.paths = LabPaths(root / "lab")
        self.machines = LoopbackMachines(self.paths, environ={"DOCKER_HOST": "tcp://gone"}, grace_seconds=1)
        self.plane = HaproxyPlane(self.paths, self.machines.translate, Switches(), pace=0.05)
        self.address = own_address()
        self.port = free_port(self.address)

    async def start(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        nodes = []
        for number in (1, 2):
            address, private = own_address(), f"192.168.200.{number}"
            public = key.export_public_key().decode().strip()
            await self.machines.create(Machine(number, f"web-{number}", address, private, (public,)))
            await self.machines.boot(number)
            port = free_port(address)
            (self.paths.machines / str(number) / "home" / "name").write_text(f"web-{number}")
            async with asyncssh.connect(
                address, self.machines.ssh_port(number), client_keys=[key], known_hosts=None, config=None
            ) as connection:
                await connection.run(APPLICATION % (address, port), check=True)
            nodes.append(PlaneNode(number, f"{private}:{port}", 100, "accept"))
        config = PlaneConfig(
            id=1, port=self.port, protocol="http", algorithm="roundrobin", stickiness="none", check="http",
            check_interval=4, check_timeout=3, check_attempts=2, check_path="/name", check_body="",
            check_passive=False, ssl_cert=None, ssl_key=None, nodes=tuple(nodes),
        )  # fmt: skip
        await self.plane.apply(PlaneBalancer(1, self.address, 0, (config,)))
        await self.sees("UP", "UP")

    async def sees(self, *statuses: str) -> None:
        await until(lambda: tuple(map(self.plane.status, (1, 2))) == statuses, f"{statuses}")

    async def served_by(self) -> set[str]:
        names = set()
        for _ in range(4):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
                session.get(f"http://{self.address}:{self.port}/name") as answer,
            ):
                assert answer.status == 200
                names.add(await answer.text())
        return names

    async def close(self) -> None:
        await asyncio.gather(self.plane.close(), self.machines.close())


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    await lab.start()
    yield lab
    await lab.close()


@pytest.mark.parametrize(("fault", "remedy"), [("freeze", "thaw"), ("lose_network", "restore_network")])
async def test_a_fault_takes_the_node_out_and_its_end_brings_it_back(lab: Lab, fault: Fault, remedy: Fault) -> None:
    assert await lab.served_by() == {"web-1", "web-2"}
    await lab.machines.fault(1, fault)
    await lab.sees("DOWN", "UP")
    assert await lab.served_by() == {"web-2"}
    await lab.machines.fault(1, remedy)
    await lab.sees("UP", "UP")
    assert await lab.served_by() == {"web-1", "web-2"}


async def test_a_dead_instance_is_down(lab: Lab) -> None:
    await lab.machines.fault(2, "die")
    await lab.sees("UP", "DOWN")
    assert await lab.served_by() == {"web-1"}
    await lab.machines.delete(2)
    assert await lab.served_by() == {"web-1"}
