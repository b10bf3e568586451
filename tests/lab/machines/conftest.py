"""Instances, and a client that trusts their host keys."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
from tests.lab.addresses import own_address

from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import LabPaths, Machine
from celadon.lab.processes import belonging


class Site:
    """A lab's machines, and the key that opens them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = LabPaths(root / "lab")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.key_file = root / "key"
        self.key.write_private_key(self.key_file)
        self.key_file.chmod(0o600)
        # DOCKER_HOST: the tests must not meet a real Engine of this machine.
        self.environ = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "API_TOKEN": "sesame", "DOCKER_HOST": "tcp://gone"}
        self.machines = self.make()
        self.described: dict[int, Machine] = {}

    def make(self) -> LoopbackMachines:
        return LoopbackMachines(self.paths, environ=self.environ, grace_seconds=1)

    async def add(self, number: int) -> Machine:
        public = self.key.export_public_key().decode().strip()
        machine = Machine(number, f"web-{number}", own_address(), f"192.168.128.{number}", (public,))
        await self.machines.create(machine)
        await self.machines.boot(number)
        self.described[number] = machine
        return machine

    def known_hosts(self) -> Path:
        path = self.root / "known_hosts"
        lines = [
            f"[{machine.address}]:{self.machines.ssh_port(number)} {self.machines.host_key(number)}\n"
            for number, machine in self.described.items()
        ]
        path.write_text("".join(lines))
        return path

    async def connect(self, number: int, **options: object) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            self.described[number].address,
            self.machines.ssh_port(number),
            **{
                "username": "root",
                "client_keys": [self.key],
                "known_hosts": str(self.known_hosts()),
                "config": None,
                "agent_path": None,
                **options,
            },
        )

    async def run(self, number: int, command: str, **options: object) -> asyncssh.SSHCompletedProcess:
        connection = await self.connect(number)
        try:
            async with asyncio.timeout(60):
                return await connection.run(command, **options)  # type: ignore[arg-type]
        finally:
            connection.close()
            await connection.wait_closed()

    def home(self, number: int) -> Path:
        return self.paths.machines / str(number) / "home"

    def pids(self, number: int) -> set[int]:
        marker = f"CELADON_LAB_INSTANCE={(self.paths.machines / str(number) / 'uuid').read_text()}"
        return {process.pid for process in belonging(marker)}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return state(pid) != "Z"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.machines.close()
