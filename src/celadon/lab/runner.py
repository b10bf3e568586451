"""Makes the account true: tells the data plane and the machines what the account now holds.

Level, not edge: `settle` compares the whole account with what was last told, so it also is how a restarted lab comes
back. Instances change step by step, in jobs that the account keeps; a job cut short by a restart begins again.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from celadon.lab.parts import DataPlane, Machine, Machines, PlaneBalancer
from celadon.lab.world.account import Account
from celadon.lab.world.balancing import as_plane
from celadon.lab.world.objects import Balancer, EventStatus, Instance, Job, Json

LOG = logging.getLogger(__name__)

Keep = Callable[[], Awaitable[None]]


class Timing(msgspec.Struct, frozen=True):
    """How long an instance stays in each passing status. Recorded on the real service: 65, 24 and 28 seconds."""

    provision_seconds: float = 0.5
    boot_seconds: float = 0.5
    shutdown_seconds: float = 0.3
    delete_seconds: float = 0.1


class Runner:
    """One a lab. `keep` writes the account down; it is called after every change that a job makes."""

    def __init__(self, account: Account, plane: DataPlane, machines: Machines, timing: Timing, keep: Keep) -> None:
        self._account = account
        self._plane = plane
        self._machines = machines
        self._timing = timing
        self._keep = keep
        self._told: dict[int, PlaneBalancer] = {}
        self._settling = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by job
        self._turns: dict[int, asyncio.Lock] = {}  # by instance: one job at a time

    async def start(self) -> None:
        """Bring machines and plane to what the account holds; go on with unfinished jobs."""
        creating = {job.linode_id for job in self._account.all(Job) if job.kind == "create"}
        present = [each for each in self._account.all(Instance) if each.id not in creating]
        await asyncio.gather(*(self._revive(instance) for instance in present))
        await self.settle()

    async def settle(self) -> None:
        """Tell the plane first: a node must be gone before its instance is."""
        async with self._settling:
            errors = await self._settle_plane()
            self._settle_jobs()
        if errors:
            raise errors[0]

    async def close(self) -> None:
        """Stop working; unfinished jobs stay in the account."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _revive(self, instance: Instance) -> None:
        await self._machines.create(as_machine(instance))
        if instance.status == "running":
            await self._machines.boot(instance.id)

    async def _settle_plane(self) -> list[Exception]:
        state = self._account.state
        wanted = {balancer.id: as_plane(state, balancer) for balancer in state.all(Balancer)}
        errors: list[Exception] = []
        for gone in self._told.keys() - wanted.keys():
            await self._plane.remove(gone)
            del self._told[gone]
        for balancer_id, balancer in wanted.items():
            if self._told.get(balancer_id) == balancer:
                continue
            try:
                await self._plane.apply(balancer)
            except Exception as error:  # noqa: BLE001 - one balancer must not hold up the others; raised by settle
                LOG.error("NodeBalancer %s: the data plane failed: %s", balancer_id, error)  # noqa: TRY400 - settle raises it
                errors.append(error)
            else:
                self._told[balancer_id] = balancer
        return errors

    def _settle_jobs(self) -> None:
        jobs = {job.id: job for job in self._account.all(Job)}
        for gone in self._tasks.keys() - jobs.keys():
            self._tasks[gone].cancel()  # its instance was deleted
        for job in jobs.values():
            if job.id not in self._tasks:
                task = asyncio.create_task(self._run(job), name=f"{job.kind} {job.linode_id}")
                self._tasks[job.id] = task
                task.add_done_callback(partial(self._forget, job.id))

    def _forget(self, job_id: int, _: asyncio.Task[None]) -> None:
        self._tasks.pop(job_id, None)

    async def _run(self, job: Job) -> None:
        async with self._turns.setdefault(job.linode_id, asyncio.Lock()):
            await self._event(job, "started")
            try:
                await self._do(job)
            except Exception as error:
                LOG.exception("instance %s: %s failed", job.linode_id, job.kind)
                await self._finish(job, "failed", str(error))
            else:
                await self._finish(job, "finished")
        if job.kind == "delete":
            self._turns.pop(job.linode_id, None)

    async def _do(self, job: Job) -> None:
        linode_id = job.linode_id
        match job.kind:
            case "create":
                await asyncio.sleep(self._timing.provision_seconds)
                await self._machines.create(as_machine(self._account.find(Instance, linode_id)))
                await self._boot(job)
            case "boot":
                await self._boot(job)
            case "shutdown":
                await self._shutdown(linode_id)
                await self._status(linode_id, "offline")
            case "reboot":
                await self._shutdown(linode_id)
                await self._boot(job, meanwhile="rebooting")
            case "rebuild":
                await self._shutdown(linode_id)
                await self._machines.delete(linode_id)
                await self._machines.create(as_machine(self._account.find(Instance, linode_id)))
                await self._boot(job)
            case "delete":
                await asyncio.sleep(self._timing.delete_seconds)
                await self._machines.delete(linode_id)

    async def _boot(self, job: Job, meanwhile: str = "booting") -> None:
        if not job.boot:
            await self._status(job.linode_id, "offline")
            return
        await self._status(job.linode_id, meanwhile)
        await asyncio.sleep(self._timing.boot_seconds)
        await self._machines.boot(job.linode_id)
        await self._status(job.linode_id, "running")

    async def _shutdown(self, linode_id: int) -> None:
        await asyncio.sleep(self._timing.shutdown_seconds)
        await self._machines.shutdown(linode_id)

    async def _status(self, linode_id: int, status: str) -> None:
        instance = self._account.find(Instance, linode_id)
        self._account.amend(instance, {"status": status, "updated": self._account.stamp()})
        await self._keep()

    async def _event(self, job: Job, status: EventStatus, message: str = "") -> None:
        event = self._account.state.events.get(job.event_id)
        if event is None:
            return  # so old that the account dropped it
        done = status in ("finished", "failed")
        changes: Json = {"status": status, "percent_complete": 100 if done else 50, "message": message}
        if done:
            changes["duration"] = {
                "delete": self._timing.delete_seconds,
                "shutdown": self._timing.shutdown_seconds,
            }.get(job.kind, self._timing.boot_seconds)
        self._account.amend(event, changes)
        await self._keep()

    async def _finish(self, job: Job, status: EventStatus, message: str = "") -> None:
        """The job goes before its event says so: who waits for the event must not meet `Linode busy.`"""
        self._account.drop(job)
        instance = self._account.state.instances.get(job.linode_id)
        if status == "failed" and instance:
            self._account.amend(instance, {"status": "offline"})
        await self._event(job, status, message)


def as_machine(instance: Instance) -> Machine:
    return Machine(
        id=instance.id,
        label=instance.label,
        address=instance.ipv4[0],
        private_address=instance.private_address,
        authorized_keys=instance.authorized_keys,
        user_data=base64.b64decode(instance.user_data).decode(errors="replace"),
    )
