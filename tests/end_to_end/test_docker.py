"""The docker runtime on real Docker Engines behind real OpenSSH servers, under load, from the first deploy on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.acts import done, play, unharmed
from tests.end_to_end.docker_stage import DockerStage, command_lines
from tests.rig.app_images import AppImages
from tests.rig.netns_hosts import DockerHost, Lab, require_hosts
from tests.rig.registry import Registry

pytestmark = pytest.mark.slow

RATE = 60  # requests a second


@pytest.fixture(scope="module")
def lab(registry: Registry) -> Iterator[Lab]:
    """Hosts of this module's own: others look at theirs before anything was on them."""
    require_hosts()
    with Lab() as lab:
        lab.open(2, registry)
        yield lab


@pytest.fixture(scope="module")
def registry_on_loopback(lab: Lab, registry: Registry) -> str:
    return lab.serve_on_loopback(registry)


def test_deploys_a_crash_and_both_rollbacks(
    lab: Lab, app_images: AppImages, registry_on_loopback: str, tmp_path: Path
) -> None:
    stage = DockerStage(lab, app_images, registry_on_loopback, tmp_path, "shop", (6100, 6101))

    async def scene() -> None:
        async with stage.running():
            stage.release("v1")
            with command_lines(stage.secret) as shown:
                done(await stage.celadon("deploy", "v1", "--yes"))
            assert shown == []
            assert stage.page()["version"] == "v1"
            assert modes(stage) == ("accept", "reject")
            for host in lab.hosts:
                well_made(stage, host)
            async with stage.load(RATE) as load:
                await load.mark("check")
                stage.release("v2")
                before = [everything(stage, host) for host in lab.hosts]
                checked = done(await stage.celadon("check", "v2", "--slow", "/slow?seconds=2"))
                assert "listens on 8000" in checked.out, checked.out
                assert "a request in flight at SIGTERM was answered: 200" in checked.out, checked.out
                assert stage.secret not in checked.out + checked.err
                stage.release("v2-lost", "wrong_port")
                assert "on 0.0.0.0:8001 and not on 8000" in done(await stage.celadon("check", "v2-lost")).out
                assert [everything(stage, host) for host in lab.hosts] == before
                await load.mark("deploy")
                await deploy(stage, "v2")
                assert modes(stage) == ("reject", "accept")
                await load.mark("rollback after retirement")
                done(await stage.celadon("rollback", "--yes"))
                assert stage.page()["version"] == "v1"
                assert modes(stage) == ("accept", "reject")
                await load.mark("crash")
                stage.release("v3", "crash")
                failed = done(await stage.celadon("deploy", "v3", "--yes"), 3)
                assert "RuntimeError: no database" in failed.err, failed.err[-3000:]
                assert stage.page()["version"] == "v1"
                await load.mark("commit")
                stage.release("v4")
                done(await stage.celadon("deploy", "v4", "--yes", "--until", "commit"))
                assert stage.page()["version"] == "v4"
                assert modes(stage) == ("backup", "accept")
                await load.mark("rollback in the bake")
                done(await stage.celadon("rollback"))
                assert stage.page()["version"] == "v1"
                assert modes(stage) == ("accept", "reject")
                unharmed(await load.stop())
            logs = done(await stage.celadon("logs", "-n", "50"))
            assert "listening on 8000" in logs.out
            for host in lab.hosts:
                running = [each for each in stage.containers(host).values() if each["State"]["Running"]]
                assert [each["Config"]["Labels"]["celadon.port"] for each in running] == [str(live_port(stage))]

    play(scene)


def test_an_unmanaged_stable_is_gone_back_to_and_never_stopped(
    lab: Lab, app_images: AppImages, registry_on_loopback: str, tmp_path: Path
) -> None:
    stage = DockerStage(lab, app_images, registry_on_loopback, tmp_path, "blog", (6200, 6201))

    async def scene() -> None:
        async with stage.running():
            old = [by_hand(stage, host) for host in lab.hosts]
            for host in lab.hosts:
                stage.add_node(host, stage.blue, "accept")
            await until_up(stage)
            async with stage.load(RATE) as load:
                stage.release("v1")
                done(await stage.celadon("deploy", "v1", "--yes", "--until", "commit"))
                assert stage.page()["version"] == "v1"
                assert modes(stage) == ("backup", "accept")
                await load.mark("rollback in the bake")
                done(await stage.celadon("rollback"))
                assert stage.page()["version"] == "by hand"
                assert modes(stage) == ("accept", "reject")
                await load.mark("deploy")
                await deploy(stage, "v1")
                assert modes(stage) == ("reject", "accept")
                before = [everything(stage, host) for host in lab.hosts]
                await load.mark("refused")
                stage.release("v2")
                refused = done(await stage.celadon("deploy", "v2", "--yes"), 2)
                assert "held by container blog-by-hand" in refused.err
                assert "docker rm -f blog-by-hand" in refused.err
                assert "Nothing was changed." in refused.err
                assert [everything(stage, host) for host in lab.hosts] == before
                assert modes(stage) == ("reject", "accept")
                for host, container in zip(lab.hosts, old, strict=True):
                    state = host.engine.get(f"/containers/{container}/json")
                    assert (state["State"]["Running"], state["RestartCount"]) == (True, 0)
                    host.engine.delete(f"/containers/{container}", {"force": "1"})
                await load.mark("deploy again")
                await deploy(stage, "v2")
                unharmed(await load.stop())

    play(scene)


async def deploy(stage: DockerStage, version: str) -> None:
    stage.release(version)
    done(await stage.celadon("deploy", version, "--yes"))
    assert stage.page()["version"] == version


def modes(stage: DockerStage) -> tuple[str, str]:
    """Of the blue and of the green nodes: each colour has one."""
    found = stage.modes()
    assert found.keys() == stage.slots(stage.blue) | stage.slots(stage.green)
    (blue,), (green,) = ({found[slot] for slot in stage.slots(port)} for port in (stage.blue, stage.green))
    return blue, green


def live_port(stage: DockerStage) -> int:
    return stage.blue if modes(stage)[0] == "accept" else stage.green


def well_made(stage: DockerStage, host: DockerHost) -> None:
    """One replica: on the private address only, labelled, restarted with its Engine, its secret where it must be."""
    ((name, found),) = stage.containers(host).items()
    labels = {key: value for key, value in found["Config"]["Labels"].items() if key.startswith("celadon.")}
    release = labels.pop("celadon.release")
    assert name == f"celadon-{stage.app}-{release}-{host.name}-{stage.blue}"
    assert labels == {
        "celadon.app": stage.app,
        "celadon.rollout": "1",
        "celadon.colour": "blue",
        "celadon.host": host.name,
        "celadon.port": str(stage.blue),
        "celadon.container_port": "8000",
    }
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    published = [{"HostIp": host.address, "HostPort": str(stage.blue)}]
    assert found["NetworkSettings"]["Ports"] == {"8000/tcp": published}
    assert f"SECRET_KEY={stage.secret}" in found["Config"].pop("Env")
    assert stage.secret not in str(found)
    assert stage.secret_files(host) == [("env", 0o600)]


def by_hand(stage: DockerStage, host: DockerHost) -> str:
    """As somebody started it before Celadon came: no label, every address."""
    image = stage.release("before")
    name, _, digest = image.partition("@")
    for _ in host.engine.pull(name, digest, None, seconds=60):
        pass
    recipe: dict[str, Any] = {
        "Image": image,
        "Env": ["PORT=8000", "APP_VERSION=by hand"],
        "ExposedPorts": {"8000/tcp": {}},
        "HostConfig": {"PortBindings": {"8000/tcp": [{"HostPort": str(stage.blue)}]}},
    }
    made: str = host.engine.post("/containers/create", {"name": f"{stage.app}-by-hand"}, recipe)["Id"]
    host.engine.post(f"/containers/{made}/start")
    return made


def everything(stage: DockerStage, host: DockerHost) -> list[tuple[str, str]]:
    """All containers of a host and when each was started."""
    listed = host.engine.get("/containers/json", {"all": "1"})
    found = [host.engine.get(f"/containers/{one['Id']}/json") for one in listed]
    return sorted((each["Name"], each["State"]["StartedAt"]) for each in found)


async def until_up(stage: DockerStage) -> None:
    async with asyncio.timeout(60):
        while not stage.all_up():  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.1)
