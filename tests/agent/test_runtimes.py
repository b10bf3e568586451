"""Which runtimes a host has: what DOCKER_HOST says counts, and a mistake in it is nobody's trouble but Docker's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.docker.test_engine import StandIn, plain

from celadon.agent import fence, operations, runtimes, settings
from celadon.agent.docker import Docker
from celadon.agent.errors import AgentError
from celadon.agent.main import Channel

PRESENT = """\
import json
from celadon.agent import runtimes
from celadon.agent.errors import AgentError
try:
    print(json.dumps(sorted(runtimes.present("shop"))))
except AgentError as error:
    print(json.dumps([error.kind, error.message]))
"""


def present(home: Path, docker_host: str) -> list[str]:
    """Asked in a process of its own: the runtime finds its Engine once."""
    environment = os.environ | {"DOCKER_HOST": docker_host, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PRESENT], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def with_containers(home: Path) -> None:
    folder = home / ".local/share/celadon/shop" / "releases" / "0123456789"
    folder.mkdir(parents=True)
    (folder / "env").write_text("{}")
    (folder / "release.json").write_text(json.dumps({"id": "0123456789", "runtime": "docker"}))
    (folder / "started.json").write_text("true")


def test_an_engine_where_docker_host_says(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "engine.sock"
    engine = StandIn(path, {"ApiVersion": "1.41"}, lambda _, line: line.sendall(plain(200, [])))
    try:
        assert present(home, f"unix://{path}") == ["docker", "venv"]
    finally:
        engine.close()
    path.unlink()
    assert present(home, f"unix://{path}") == ["venv"]


def test_a_docker_host_that_is_no_socket_is_no_trouble_without_containers(home: Path) -> None:
    assert present(home, "tcp://192.0.2.1:2375") == ["venv"]


@pytest.mark.usefixtures("with_containers")
def test_a_docker_host_that_is_no_socket_hides_no_container(home: Path) -> None:
    """Else their slots would seem empty, and empty is quiet."""
    assert present(home, "tcp://192.0.2.1:2375") == ["refused", "DOCKER_HOST on the host is not a unix socket"]


@pytest.mark.usefixtures("with_containers")
def test_an_engine_that_is_away_hides_no_container(tmp_path: Path, home: Path) -> None:
    """Its socket is gone while it restarts."""
    kind, message = present(home, f"unix://{tmp_path}/engine.sock")
    assert kind == "unavailable"
    assert message.endswith("engine.sock does not exist, and shop has containers in it")


@pytest.mark.usefixtures("with_containers")
def test_an_engine_that_is_not_there_is_no_trouble_before_the_first_container(tmp_path: Path, home: Path) -> None:
    home.joinpath(".local/share/celadon/shop/releases/0123456789/started.json").unlink()
    assert present(home, f"unix://{tmp_path}/engine.sock") == ["venv"]


def test_what_may_have_started_is_known_before_it_is_tried(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Engine may have made the container, and only its answer be lost."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nobody/engine.sock")  # short: a socket's path has 107 bytes
    docker = Docker()  # one that has not asked yet where its Engine is
    monkeypatch.setattr("celadon.agent.docker.start", docker.start)
    monkeypatch.setattr("celadon.agent.docker.artifacts", docker.artifacts)
    release = {"id": "0123456789", "runtime": "docker", "artifact": "shop@sha256:0"}
    slot = {"host": "web-1", "address": "127.0.0.1", "port": 6100}
    settings.put("shop", release, {})
    fence.raise_to("shop", 1)
    assert sorted(runtimes.present("shop")) == ["venv"]
    with pytest.raises(AgentError, match="no Docker Engine"):
        operations.start(
            {"app": "shop", "fence": 1, "placement": {"release": release, "slot": slot}}, Channel(1, lambda *_: None)
        )
    with pytest.raises(AgentError, match="shop has containers in it"):
        runtimes.present("shop")
