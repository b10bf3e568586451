"""The rig itself: it leaves nothing behind, not even when its session is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.slots import own_slot, until
from tests.rig import docker, netns_hosts
from tests.rig.app_images import AppImages
from tests.rig.docker import OwnEngine, require_docker
from tests.rig.netns_hosts import Lab
from tests.rig.registry import Registry
from tests.rig.require import EVERYTHING, require, require_programs

from celadon.agent.docker import Docker

pytestmark = pytest.mark.slow  # a real Docker Engine, killed and started

ROOT = Path(__file__).parents[2]
LAB_OF_A_SESSION = """
import time
from tests.rig.netns_hosts import Lab
from tests.rig.registry import Registry
lab = Lab()
lab.open(1, Registry())
print(lab.folder, lab.hosts[0].inside[2], flush=True)
time.sleep(600)
"""
ENGINE_OF_A_SESSION = """
import time
from tests.rig.docker import OwnEngine
engine = OwnEngine().__enter__()
print(engine.folder, (engine.folder / "docker.pid").read_text(), flush=True)
time.sleep(600)
"""


def traces(folder: Path) -> list[str]:
    """Everything that could be left of a rig: its folder, mounts, cgroups, bridges, processes that name it."""
    found = [str(folder)] if folder.exists() else []
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if folder.name in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{folder.name}")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(folder.name)]
    owner = folder.name.split("-")[2]
    found += [path.name for path in Path("/sys/class/net").iterdir() if path.name == f"cel{owner}{folder.name[-3:]}"]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in process.read_bytes():
                found.append(str(process))
        except OSError:  # it ended while we looked
            continue
    return found


def test_an_engine_leaves_nothing(registry: Registry, registry_address: str, app_images: AppImages) -> None:
    require_docker()
    with OwnEngine() as engine:
        artifact = f"{registry_address}/rig/leaves@{app_images.publish('rig/leaves')}"
        runtime = Docker(engine.engine, resolve=lambda address: address, environment=lambda *_: {"PORT": "8000"})
        release = {
            "id": "0123456789",
            "version": "v1",
            "artifact": artifact,
            "container_port": 8000,
            "stop_timeout": 5,
        }
        runtime.put_artifact("rig", release)
        runtime.start("rig", {"release": release, "slot": own_slot(), "colour": "blue", "rollout": 1})
        assert traces(engine.folder)
    assert traces(engine.folder) == []


def test_a_lab_leaves_nothing(registry: Registry) -> None:
    require_docker()
    require_programs("sshd", package="openssh-server")
    with Lab() as lab:
        lab.open(1, registry)
        assert traces(lab.folder)
    assert traces(lab.folder) == []


@pytest.mark.parametrize("kind", ["engine", "lab"])
def test_a_killed_session_leaves_only_files_which_the_next_one_sweeps(kind: str) -> None:
    require_docker()
    require_programs("sshd", package="openssh-server")
    code = ENGINE_OF_A_SESSION if kind == "engine" else LAB_OF_A_SESSION
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        folder, pid = session.stdout.readline().split()
        session.send_signal(signal.SIGKILL)
    until(lambda: Path(f"/proc/{pid}").exists(), lambda there: not there, "the rig's processes ended with it")
    (docker if kind == "engine" else netns_hosts).sweep()
    until(lambda: traces(Path(folder)), lambda left: left == [], "nothing is left")


def test_a_missing_part_is_a_skip_and_where_all_must_run_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVERYTHING, raising=False)
    require(os.sep == "/", "slashes")
    with pytest.raises(pytest.skip.Exception, match="this machine has not: a moon"):
        require(None, "a moon")
    monkeypatch.setenv(EVERYTHING, "1")
    with pytest.raises(pytest.fail.Exception, match="a moon"):
        require(None, "a moon")
