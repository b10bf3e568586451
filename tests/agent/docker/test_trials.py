"""A trial of an image on a real Engine, by the agent as it is sent: measured from outside, and nothing stays."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.agent.conftest import LocalAgent
from tests.agent.trials import call, try_out
from tests.rig.app_images import Variant
from tests.rig.docker_world import World

from celadon.agent import images

pytestmark = pytest.mark.slow

RELEASE = "0123456789"


@pytest.fixture
def agent(tmp_path: Path, world: World) -> LocalAgent:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    agent = LocalAgent(tmp_path, tools)
    agent.environment["DOCKER_HOST"] = world.engine.url
    return agent


def release(world: World, variant: Variant = "good", **more: Any) -> dict[str, Any]:
    """One whose image is in the registry only."""
    return {
        "app": world.app, "id": RELEASE, "version": "v2", "artifact": world.artifact(variant, **more),
        "runtime": "docker", "command": [], "container_port": 8000, "env": [], "secrets": [], "stop_timeout": 6.0,
    }  # fmt: skip


def containers(world: World) -> list[Any]:
    filters = json.dumps({"label": [f"celadon.trial={world.app}"]})
    found: list[Any] = world.engine.engine.get("/containers/json", {"all": "1", "filters": filters})
    return found


def left(world: World, agent: LocalAgent, artifact: str) -> list[object]:
    """Of a trial: containers, its image, files."""
    image = [artifact] if images.present(world.engine.engine, artifact) else []
    return [*containers(world), *image, *agent.root.glob("home/.local/share/celadon/**/*")]


async def test_a_good_image_is_measured_and_leaves_nothing(world: World, agent: LocalAgent) -> None:
    wanted = release(world)
    async with agent.link() as link:
        facts = await try_out(link, wanted, slow="/slow?seconds=2")
    assert facts.probe is not None
    assert (facts.port, facts.probe.status, facts.elsewhere, facts.exit_code) == (8000, 200, (), 0)
    assert (facts.program, facts.hears) == ("python3", True)
    assert facts.listening is not None
    assert facts.stopped is not None
    assert facts.slow is not None
    assert (facts.slow.in_flight, facts.slow.status) == (True, 200)
    assert "listening on 8000" in facts.lines
    assert left(world, agent, wanted["artifact"]) == []


async def test_a_shell_as_pid_1_is_seen_for_what_it_is(world: World, agent: LocalAgent) -> None:
    wanted = release(world, shell_form=True) | {"stop_timeout": 600.0}
    async with agent.link() as link:
        facts = await try_out(link, wanted)
    assert (facts.program, facts.hears, facts.stopped, facts.exit_code) == ("sh", False, None, 137)
    assert left(world, agent, wanted["artifact"]) == []


@pytest.mark.parametrize(
    ("variant", "elsewhere"), [("wrong_port", ("0.0.0.0:8001",)), ("loopback_only", ("127.0.0.1:8000",))]
)
async def test_an_image_that_listens_elsewhere(
    world: World, agent: LocalAgent, variant: Variant, elsewhere: tuple[str, ...]
) -> None:
    async with agent.link() as link:
        facts = await try_out(link, release(world, variant))
    assert (facts.listening, facts.elsewhere) == (None, elsewhere)
    assert facts.stopped is not None


async def test_an_image_that_ends_and_one_that_does_not(world: World, agent: LocalAgent) -> None:
    async with agent.link() as link:
        crash = await try_out(link, release(world, "crash"))
        stubborn = await try_out(link, release(world, "stubborn") | {"stop_timeout": 1.0})
    assert (crash.exit_code, crash.patience, crash.listening) == (3, 0, None)
    assert "RuntimeError: no database" in crash.lines
    assert (stubborn.hears, stubborn.stopped, stubborn.exit_code) == (True, None, 137)
    assert "SIGTERM ignored" in stubborn.lines
    assert containers(world) == []


async def test_an_image_that_was_there_stays(world: World, agent: LocalAgent) -> None:
    known = world.release()
    async with agent.link() as link:
        await try_out(link, release(world) | {"artifact": known["artifact"]})
    assert images.present(world.engine.engine, known["artifact"])
    assert containers(world) == []


async def test_an_agent_whose_deployer_is_gone_takes_its_container_along(world: World, agent: LocalAgent) -> None:
    wanted = release(world, "wrong_port")
    async with agent.link() as link:
        asking = asyncio.create_task(link.ask(call(wanted, start_within=600.0)))
        async with asyncio.timeout(60):
            while not containers(world):  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.05)
        await link.close()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert left(world, agent, wanted["artifact"]) == []
