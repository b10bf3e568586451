"""The venv runtime where systemd is the init: a real one, from the first start to a stop that outlasts a reboot."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.rig.systemd_host import SystemdHost, systemd_host

from celadon.adapters.host import Command, SshHosts
from celadon.core.errors import CeladonError
from celadon.core.observed import SlotFacts
from celadon.core.release import Release, Slot
from celadon.core.release import replica_name as name_of

from .conftest import Archives, Bench

__all__ = ["systemd_host"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the first run on a machine makes its Debian


class SystemdBench(Bench):
    """A bench whose machine can be looked into from outside."""

    hosts: SshHosts
    machine: SystemdHost

    async def shell(self, *argv: str) -> str:
        """What a command says on the host, whatever its exit code."""
        said: list[bytes] = []

        async def take(_stream: int, data: bytes) -> None:
            said.append(data)

        await self.hosts.run(self.name, Command(argv), take=take)
        return b"".join(said).decode().strip()

    def written(self, release: Release, slot: Slot) -> dict[str, int]:
        """What the supervisor wrote down."""
        folder = self.machine.root / "var/lib/celadon" / self.app / "replicas"
        path = folder / name_of(self.app, release.id, slot) / "state.json"
        found: dict[str, int] = json.loads(path.read_text())
        return found


@pytest.fixture
async def bench(systemd_host: SystemdHost, app: str, archives: Archives) -> AsyncIterator[SystemdBench]:
    async with SshHosts(
        [systemd_host.address],
        known_hosts=systemd_host.known_hosts,
        home="web-1",
        ssh_config=systemd_host.ssh_config,
        archive_of=archives.of,
    ) as hosts:
        bench = SystemdBench(hosts, app, archives, lambda: hosts.store(app))
        bench.machine = systemd_host
        yield bench


def well(facts: SlotFacts) -> bool:
    return facts.probe is not None and facts.probe.ok


async def test_a_life_under_systemd(bench: SystemdBench) -> None:
    release, slot = bench.release(), bench.slot()
    unit = name_of(bench.app, release.id, slot) + ".service"
    await bench.deploy(release, slot)
    assert await bench.shell("systemctl", "is-enabled", unit) == "enabled"
    assert await bench.shell("systemctl", "is-active", unit) == "active"
    first = await bench.look(slot, release)
    assert first.replica is not None

    # The application is killed: its supervisor starts it again.
    await bench.shell("kill", "-9", str(bench.written(release, slot)["pid"]))
    again = await bench.until(slot, release, lambda facts: well(facts) and facts.replica != first.replica)
    assert again.replica is not None
    assert again.replica.restarts == 1

    # The supervisor is killed: systemd starts it again, and nothing of the first one holds the port.
    await bench.shell("kill", "-9", str(bench.written(release, slot)["supervisor"]))
    healed = await bench.until(slot, release, lambda facts: well(facts) and facts.replica != again.replica)
    assert healed.replica is not None
    assert "hello from v1" in await bench.hosts.tail(bench.name, bench.app, release.id, slot, 10)
    assert f"Started {unit}" in await bench.shell("journalctl", "--unit", unit, "--no-pager")

    # The power fails: the replica comes back with the machine.
    before = (await bench.look_at_host(slot)).boot_id
    bench.machine.restart()
    back = await after_boot(bench, slot, release)
    assert back.replica is not None
    assert (back.replica.release, back.replica.running) == (release.id, True)
    assert (await bench.look_at_host(slot)).boot_id != before
    assert "hello from v1" in await bench.hosts.tail(bench.name, bench.app, release.id, slot, 10)

    # Stopped is stopped: no unit is left, and the next boot does not bring it back.
    assert await bench.hosts.stop(bench.writ(), release.id, slot, 10.0) == 0
    assert not (bench.machine.root / "etc/systemd/system" / unit).exists()
    async with asyncio.timeout(60):  # systemd hears of the supervisor's end when it gets round to it
        while await bench.shell("systemctl", "is-active", unit) != "inactive":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
    bench.machine.restart()
    gone = await after_boot(bench, slot, release, up=False)
    assert gone.replica is not None
    assert (gone.replica.running, gone.listening) == (False, False)


async def after_boot(bench: SystemdBench, slot: Slot, release: Release, *, up: bool = True) -> SlotFacts:
    """The first call finds the old link dead; the next one connects anew."""
    for _ in range(3):
        try:
            return await bench.until(slot, release, well if up else lambda _: True)
        except CeladonError:
            continue
    return await bench.look(slot, release)
