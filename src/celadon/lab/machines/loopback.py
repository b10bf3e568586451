"""All instances of one lab, on addresses of 127.0.0.0/8."""

import asyncio
import os
import shutil
from collections.abc import Mapping

from celadon.core.errors import Refused
from celadon.lab.machines import ssh_files
from celadon.lab.machines.engine import Engine, find_engine
from celadon.lab.machines.home import Disk, uv_cache
from celadon.lab.machines.machine import LoopbackMachine, Site
from celadon.lab.parts import Fault, LabPaths, Machine
from celadon.lab.processes import end_all


class LoopbackMachines:
    """The `Machines` of a lab without root: SSH servers in this process, commands as processes of this user.

    `environ` is the operator's environment, of which instances get what package installers need.
    """

    def __init__(self, paths: LabPaths, *, environ: Mapping[str, str] | None = None, grace_seconds: float = 5) -> None:
        operator = dict(os.environ if environ is None else environ)
        engine = find_engine(operator)
        paths.machines.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._paths = paths
        self._site = Site(
            operator=operator,
            uv_cache=uv_cache(operator, paths.root),
            engine=Engine(engine) if engine else None,
            grace_seconds=grace_seconds,
            resolve=self._resolve,
        )
        self._machines: dict[int, LoopbackMachine] = {}

    @staticmethod
    def clean(paths: LabPaths, environ: Mapping[str, str] | None = None) -> None:
        """End what a killed lab's instances left running, and only that. Their disks stay."""
        engine = find_engine(os.environ if environ is None else environ)
        for folder in sorted(paths.machines.glob("*")):
            if not (folder / "uuid").exists():
                continue  # its lab died before anything could run on it
            disk = Disk(folder)
            end_all(disk.marker)
            if engine:
                Engine(engine).remove(disk.label)

    async def create(self, machine: Machine) -> None:
        """Make it, switched off. A disk that is there already (a restarted lab) is taken over as it is."""
        if machine.id in self._machines:
            self._machines[machine.id].described = machine
            ssh_files.write(self._paths.root, self._machines.values())
            return
        disk = Disk(self._paths.machines / str(machine.id))
        self._machines[machine.id] = LoopbackMachine(machine, disk, self._site)
        ssh_files.write(self._paths.root, self._machines.values())

    async def boot(self, machine_id: int) -> None:
        await self._get(machine_id).boot()

    async def shutdown(self, machine_id: int) -> None:
        await self._get(machine_id).shutdown()

    async def delete(self, machine_id: int) -> None:
        machine = self._machines.get(machine_id)
        if machine is not None:
            await machine.delete()
            del self._machines[machine_id]
            ssh_files.write(self._paths.root, self._machines.values())
            await asyncio.to_thread(shutil.rmtree, self._paths.machines / str(machine_id))

    async def fault(self, machine_id: int, kind: Fault) -> None:
        await self._get(machine_id).fault(kind)

    def ssh_port(self, machine_id: int) -> int:
        return self._get(machine_id).ssh_port

    def host_key(self, machine_id: int) -> str:
        return self._get(machine_id).host_key

    def translate(self, private_address: str) -> str | None:
        """As the data plane sees it: None too while the instance has lost its network."""
        for machine in self._machines.values():
            if private_address and machine.described.private_address == private_address:
                return machine.described.address if machine.has_network else None
        return None

    def reachable(self, address: str) -> bool:
        """Whether the network leads to this loopback address. Switched off is reachable: it refuses."""
        return any(each.has_network for each in self._machines.values() if each.described.address == address)

    async def close(self) -> None:
        """End every process of every instance; the disks stay for a later lab."""
        machines, self._machines = tuple(self._machines.values()), {}
        ends = await asyncio.gather(*(machine.close() for machine in machines), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                raise error  # the others are closed all the same

    def _resolve(self, host: str) -> str | None:
        """Where a forward may lead: to instances of this lab, by public or private address."""
        return host if self.reachable(host) else self.translate(host)

    def _get(self, machine_id: int) -> LoopbackMachine:
        try:
            return self._machines[machine_id]
        except KeyError:
            raise Refused(f"the lab has no machine {machine_id}") from None
