"""The runtime and the counts under the Pythons that hosts have, and without root."""

import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.docker.remote import PROGRAM, Remote
from tests.agent.slots import own_slot, until
from tests.rig import pythons
from tests.rig.docker_world import World
from tests.rig.require import require, require_programs

import celadon

pytestmark = pytest.mark.slow  # a real Docker Engine


@pytest.fixture(params=[pythons.OLDEST, pythons.NEWEST])
def newest_and_oldest(request: pytest.FixtureRequest) -> str:
    return pythons.required(request.param)


@pytest.fixture
def readable() -> Iterator[Path]:
    """The agent's files where every user may read them."""
    with tempfile.TemporaryDirectory(prefix="celadon-nobody-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        source = Path(celadon.__file__).parent
        shutil.copytree(source / "agent", Path(folder) / "celadon" / "agent")
        yield Path(folder)


def whole_life(world: World, remote: Remote) -> None:
    """Pull, start, serve, count, log, stop."""
    release, slot = world.release(), own_slot()
    release["artifact"] = world.artifact(tag=f"layer-of-{world.app}")
    placement = world.place(release, slot)
    assert remote.ask("put_artifact", world.app, release) >= 0
    remote.ask("start", world.app, placement)
    until(lambda: remote.ask("facts", world.app, {"slot": slot})["listening"], bool, "the replica listens")
    opened = remote.ask("count", world.app, slot)[1]
    for _ in range(5):
        with urllib.request.urlopen(f"http://{slot['address']}:{slot['port']}/", timeout=20) as answer:
            assert answer.status == 200
    until(
        lambda: remote.ask("count", world.app, slot),
        lambda count: count[0] == 0 and count[1] >= opened + 5,
        "five requests",
    )  # exact counts: counting/
    assert "listening on 8000" in remote.ask("tail", world.app, release["id"], slot, 10)
    assert remote.ask("stop", world.app, release["id"], slot, 10) == 0
    assert remote.ask("count", world.app, slot) == [0, 0]


def test_under_another_python(world: World, newest_and_oldest: str) -> None:
    environment = {"DOCKER_HOST": world.engine.url, "PYTHONPATH": str(Path(celadon.__file__).parent.parent)}
    remote = Remote([newest_and_oldest, "-W", "error::DeprecationWarning", "-c", PROGRAM], environment)
    try:
        whole_life(world, remote)
    finally:
        remote.close()


def test_as_a_user_who_may_use_docker_and_no_more(world: World, readable: Path) -> None:
    """No other network namespace can be entered: `PassiveOpens` of the container's own says who came."""
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    require(python, "a python3 of the system's")
    require_programs("setpriv", package="util-linux")
    world.engine.folder.chmod(0o711)
    mode = world.engine.socket.stat().st_mode
    world.engine.socket.chmod(0o666)
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(python), "-c", PROGRAM]
    remote = Remote(command, {"DOCKER_HOST": world.engine.url, "PYTHONPATH": str(readable)})
    try:
        whole_life(world, remote)
    finally:
        remote.close()
        world.engine.socket.chmod(mode)
