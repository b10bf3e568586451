"""A data plane and machines that only remember: for tests of the API, and for whoever needs no traffic."""

import asyncio

from celadon.core.errors import Refused
from celadon.lab.parts import Fault, Listener, Machine, NodeStatus, PlaneBalancer


class MemoryPlane:
    """A `DataPlane` without traffic. Nodes are `Unknown` until a test says what their checks found."""

    def __init__(self) -> None:
        self.balancers: dict[int, PlaneBalancer] = {}
        self.applied: list[PlaneBalancer] = []  # every change, in order
        self.statuses: dict[int, NodeStatus] = {}
        self.carried: dict[int, tuple[int, int, int]] = {}
        self.failing: Exception | None = None  # raised by the next applies

    async def apply(self, balancer: PlaneBalancer) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing
        self.balancers[balancer.id] = balancer
        self.applied.append(balancer)

    async def remove(self, balancer_id: int) -> None:
        self.balancers.pop(balancer_id, None)

    def status(self, node_id: int) -> NodeStatus:
        return self.statuses.get(node_id, "Unknown")

    def listeners(self, balancer_id: int) -> tuple[Listener, ...]:
        """As a plane without root would: ports below 1024 are opened 8000 higher."""
        balancer = self.balancers.get(balancer_id)
        configs = balancer.configs if balancer else ()
        return tuple(
            Listener(
                port=config.port,
                host=balancer.address if balancer else "",
                bound_port=config.port if config.port >= 1024 else config.port + 8000,
            )
            for config in configs
        )

    def totals(self, balancer_id: int) -> tuple[int, int, int]:
        return self.carried.get(balancer_id, (0, 0, 0))

    async def close(self) -> None:
        self.balancers.clear()


class MemoryMachines:
    """`Machines` that run nothing. What was asked of them is in `log`, as (verb, machine id)."""

    def __init__(self) -> None:
        self.machines: dict[int, Machine] = {}
        self.running: set[int] = set()
        self.log: list[tuple[str, int]] = []

    async def create(self, machine: Machine) -> None:
        self._note("create", machine.id)
        self.machines[machine.id] = machine

    async def boot(self, machine_id: int) -> None:
        self._get(machine_id)
        self._note("boot", machine_id)
        self.running.add(machine_id)

    async def shutdown(self, machine_id: int) -> None:
        self._get(machine_id)
        self._note("shutdown", machine_id)
        self.running.discard(machine_id)

    async def delete(self, machine_id: int) -> None:
        self._note("delete", machine_id)
        self.machines.pop(machine_id, None)
        self.running.discard(machine_id)

    async def fault(self, machine_id: int, kind: Fault) -> None:
        self._get(machine_id)
        self._note(kind, machine_id)
        if kind == "die":
            self.running.discard(machine_id)

    def ssh_port(self, machine_id: int) -> int:
        self._get(machine_id)
        return 22

    def host_key(self, machine_id: int) -> str:
        """Looks like a key, and opens nothing."""
        return f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{self._get(machine_id).id:032d}"

    def translate(self, private_address: str) -> str | None:
        for machine in self.machines.values():
            if private_address and machine.private_address == private_address:
                return machine.address
        return None

    async def close(self) -> None:
        self.running.clear()

    def _get(self, machine_id: int) -> Machine:
        try:
            return self.machines[machine_id]
        except KeyError:
            raise Refused(f"the lab has no machine {machine_id}") from None

    def _note(self, verb: str, machine_id: int) -> None:
        self.log.append((verb, machine_id))
