"""A lab that was killed with -9: what its parts leave, and what the next lab cleans."""

import asyncio
import sys
from pathlib import Path

import msgspec
from tests.lab.addresses import free_port, own_address
from tests.lab.waiting import until

from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import LabPaths
from celadon.lab.plane import HaproxyPlane
from celadon.lab.processes import Process, gone, look

LAB = """
import asyncio, sys, asyncssh, msgspec
from pathlib import Path
from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import LabPaths, Machine, PlaneBalancer, PlaneConfig
from celadon.lab.plane import HaproxyPlane

class Switches(msgspec.Struct, frozen=True):
    mode_delay_seconds: float = 0
    backup_checked: bool = True
    reject_to_accept_unknown: bool = True
    redispatch: bool = False

async def main(root, machine, balancer, port):
    paths = LabPaths(Path(root))
    key = asyncssh.generate_private_key("ssh-ed25519")
    machines = LoopbackMachines(paths, environ={"DOCKER_HOST": "tcp://gone"})
    await machines.create(Machine(1, "web-1", machine, "", (key.export_public_key().decode().strip(),)))
    await machines.boot(1)
    plane = HaproxyPlane(paths, machines.translate, Switches())
    config = PlaneConfig(1, int(port), "http", "roundrobin", "none", "none", 5, 3, 2, "/", "", False, None, None)
    await plane.apply(PlaneBalancer(1, balancer, 0, (config,)))
    options = {"client_keys": [key], "known_hosts": None, "config": None}
    async with asyncssh.connect(machine, machines.ssh_port(1), **options) as ssh:
        await ssh.run("setsid sh -c 'echo $$ > daemon; exec sleep 1000' >/dev/null 2>&1 </dev/null & "
                      "while [ ! -s daemon ]; do sleep 0.05; done")
    print("ready", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main(*sys.argv[1:]))
"""


def named(pid: int) -> Process:
    seen = look(pid)
    assert seen is not None
    return seen.process


async def test_what_a_killed_lab_leaves_is_cleaned_and_nothing_else(tmp_path: Path) -> None:
    paths = LabPaths(tmp_path / "lab")
    balancer = own_address()
    port = free_port(balancer)
    lab = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAB, str(paths.root), own_address(), balancer, str(port), stdout=-1
    )
    assert lab.stdout is not None
    async with asyncio.timeout(60):
        assert await lab.stdout.readline() == b"ready\n"
    daemon = named(int((paths.machines / "1" / "home" / "daemon").read_text()))
    (pidfile,) = paths.plane.glob("*.pid")
    haproxy = msgspec.json.decode(pidfile.read_bytes(), type=Process)
    assert not gone(haproxy)
    stranger = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    stranger_process = named(stranger.pid)

    lab.kill()
    await lab.wait()
    await until(lambda: gone(haproxy), "the balancer dies with its lab")
    assert not gone(daemon), "an instance's processes do not depend on the lab"
    HaproxyPlane.clean(paths)
    LoopbackMachines.clean(paths, {"DOCKER_HOST": "tcp://gone"})
    assert gone(daemon)
    assert not gone(stranger_process)
    assert list(paths.plane.iterdir()) == []
    stranger.kill()
    await stranger.wait()


def test_cleaning_where_there_was_no_lab_does_nothing(tmp_path: Path) -> None:
    HaproxyPlane.clean(LabPaths(tmp_path / "none"))
    LoopbackMachines.clean(LabPaths(tmp_path / "none"), {"DOCKER_HOST": "tcp://gone"})
    assert not (tmp_path / "none").exists()
