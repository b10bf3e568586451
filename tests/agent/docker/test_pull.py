"""Images by digest: what comes, what is refused and in which words."""

import socket

import pytest
from tests.rig.app_images import AppImages
from tests.rig.docker_world import World
from tests.rig.registry import Registry

from celadon.agent import docker
from celadon.agent.docker import Docker
from celadon.agent.errors import AgentError

pytestmark = pytest.mark.slow  # a real Docker Engine and registry


def pull(world: World, artifact: str, credentials: dict[str, str] | None = None) -> int:
    return world.docker.put_artifact(world.app, {"artifact": artifact}, None, credentials)


def test_an_image_comes_once_by_its_digest(world: World) -> None:
    artifact = world.artifact(tag=f"layer-of-{world.app}")
    assert artifact not in world.docker.artifacts(world.app)
    pull(world, artifact)
    assert artifact in world.docker.artifacts(world.app)
    assert pull(world, artifact) == 0


def test_what_is_not_in_the_registry_is_refused_in_one_clean_line(world: World) -> None:
    artifact = world.artifact().partition("@")[0] + "@sha256:" + "0" * 64
    with pytest.raises(AgentError) as error:
        pull(world, artifact)
    assert error.value.kind == "refused"
    assert error.value.message == f"{artifact}: not in the registry (manifest unknown)"
    assert "docker push" in str(error.value.hint)


def test_an_artifact_without_a_digest_is_refused(world: World) -> None:
    with pytest.raises(AgentError, match="not pinned by a digest"):
        pull(world, "127.0.0.1:5/app:latest")


def test_a_registry_that_is_not_there_may_come_back(world: World) -> None:
    with socket.socket() as door:  # bound and never listening: refused for certain, and taken by nobody else
        door.bind(("127.0.0.1", 0))
        artifact = f"127.0.0.1:{door.getsockname()[1]}/app@sha256:" + "1" * 64
        with pytest.raises(AgentError) as error:
            pull(world, artifact)
    assert error.value.kind == "unavailable"


def test_credentials_open_one_pull_and_are_kept_nowhere(
    world: World, registry: Registry, app_images: AppImages
) -> None:
    locked = Registry(key=("deploy", "sentinel-password"), store=registry.store)
    address = locked.listen_on_loopback()
    try:
        first = app_images.publish("private/one", env={"N": "1"})
        second = app_images.publish("private/two", env={"N": "2"})
        for wrong, hint in ((None, "private? set"), ({"username": "deploy", "password": "sentinel-wrong"}, "check")):
            with pytest.raises(AgentError) as error:
                pull(world, f"{address}/private/one@{first}", wrong)
            assert error.value.kind == "refused"
            assert "sentinel" not in repr((error.value.message, error.value.hint, error.value.details))
            assert hint in str(error.value.hint)
        pull(world, f"{address}/private/one@{first}", {"username": "deploy", "password": "sentinel-password"})
        with pytest.raises(AgentError, match="registry refuses"):
            pull(world, f"{address}/private/two@{second}")
    finally:
        locked.close()


def test_a_pushed_image_is_pulled_by_the_digest_it_got(world: World, registry_address: str) -> None:
    """The registry takes pushes as well: `docker push` is how users' images get their digests."""
    name = f"{registry_address}/pushed/{world.app}"
    world.engine.docker("tag", world.release()["artifact"], f"{name}:v1")
    said = world.engine.docker("push", f"{name}:v1")
    digest = next(word for word in said.split() if word.startswith("sha256:"))
    world.engine.docker("rmi", f"{name}:v1")
    pull(world, f"{name}@{digest}")
    assert f"{name}@{digest}" in world.docker.artifacts(world.app)


def test_the_module_itself_is_a_runtime() -> None:
    for name in ("facts", "artifacts", "put_artifact", "start", "stop", "prune", "tail"):
        assert getattr(docker, name) == getattr(docker.here, name)
    assert isinstance(docker.here, Docker)
