"""What an instance does with a Docker Engine of the machine."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.lab.machines.conftest import Site
from tests.lab.machines.engine_double import EngineDouble

from celadon.core.errors import Unavailable
from celadon.lab.machines import LoopbackMachines
from celadon.lab.machines.engine import Engine, find_engine


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # short: a unix socket's path has 107 characters
        yield Path(folder) / "docker.sock"


@pytest.fixture
async def engine(socket_path: Path) -> AsyncIterator[EngineDouble]:
    double = EngineDouble()
    async with double.served(socket_path):
        yield double


@pytest.fixture
async def with_engine(site: Site, engine: EngineDouble, socket_path: Path) -> AsyncIterator[Site]:
    await site.machines.close()
    site.environ["DOCKER_HOST"] = f"unix://{socket_path}"
    site.machines = site.make()
    yield site
    await site.machines.close()  # while the engine is still there


async def test_an_instance_offers_the_engine(with_engine: Site, socket_path: Path) -> None:
    await with_engine.add(1)
    assert str((await with_engine.run(1, "echo $DOCKER_HOST")).stdout) == f"unix://{socket_path}\n"


async def test_deleting_it_removes_its_containers_and_no_others(with_engine: Site, engine: EngineDouble) -> None:
    await with_engine.add(1)
    engine.add("mine", "web-1")
    engine.add("mine-too", "web-1", "exited")
    engine.add("other", "web-11")
    await with_engine.machines.delete(1)
    assert set(engine.containers) == {"other"}
    assert engine.state("other") == "running"


async def test_power_and_faults_reach_its_containers(with_engine: Site, engine: EngineDouble) -> None:
    machines = with_engine.machines
    await with_engine.add(1)
    engine.add("ran", "web-1")
    engine.add("did-not", "web-1", "exited")
    await machines.shutdown(1)
    assert engine.state("ran") == "exited"
    await machines.boot(1)
    assert (engine.state("ran"), engine.state("did-not")) == ("running", "exited")
    await machines.fault(1, "freeze")
    assert engine.state("ran") == "paused"
    await machines.fault(1, "thaw")
    assert engine.state("ran") == "running"
    await machines.fault(1, "die")
    assert engine.state("ran") == "exited"


async def test_an_engine_that_is_silent_does_not_keep_processes_alive(with_engine: Site, engine: EngineDouble) -> None:
    await with_engine.add(1)
    await with_engine.run(1, "sleep 1000 >/dev/null 2>&1 </dev/null &")
    assert len(with_engine.pids(1)) == 1
    engine.refuse = True
    with pytest.raises(Unavailable):
        await with_engine.machines.delete(1)
    assert with_engine.pids(1) == set()
    engine.refuse = False
    engine.add("frozen", "web-1", "paused")
    await with_engine.machines.delete(1)  # again, and now it goes
    assert engine.containers == {}
    assert not with_engine.home(1).exists()


async def test_cleaning_removes_them_too(with_engine: Site, engine: EngineDouble) -> None:
    await with_engine.add(1)
    await with_engine.machines.close()
    engine.add("left", "web-1")
    await asyncio.to_thread(LoopbackMachines.clean, with_engine.paths, with_engine.environ)
    assert engine.containers == {}


async def test_an_engine_that_refuses_is_reported(engine: EngineDouble, socket_path: Path) -> None:
    engine.refuse = True
    with pytest.raises(Unavailable, match=r"refused GET /containers/json: .*no"):
        await asyncio.to_thread(Engine(socket_path).containers, "web-1")
    with pytest.raises(Unavailable, match="does not answer"):
        await asyncio.to_thread(Engine(socket_path.with_name("gone")).containers, "web-1")


async def test_only_an_engine_that_answers_counts(engine: EngineDouble, socket_path: Path) -> None:
    assert find_engine({"DOCKER_HOST": f"unix://{socket_path}"}) == socket_path
    assert find_engine({"DOCKER_HOST": f"unix://{socket_path}.gone"}) is None
    assert find_engine({"DOCKER_HOST": "tcp://127.0.0.1:2375"}) is None
    assert find_engine(dict(os.environ, DOCKER_HOST="ssh://elsewhere")) is None
