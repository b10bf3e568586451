"""The runtime on the session's own Engine, and one test's world: an app, images, slots."""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.rig.app_images import AppImages, Variant
from tests.rig.docker import OwnEngine

from celadon.agent.docker import Docker

_next = itertools.count(1)


class World:
    """One app on the shared Engine. `place` makes a placement; nothing of another test has its name."""

    def __init__(self, engine: OwnEngine, images: AppImages, registry_address: str) -> None:
        self.engine = engine
        self.app = f"app-{next(_next)}"
        self.env: dict[str, str] = {"SECRET_KEY": "sentinel-of-this-test"}
        self.docker = Docker(engine.engine, resolve=lambda address: address, environment=self._environment)
        self._images = images
        self._registry = registry_address
        self._releases = itertools.count(1)

    def _environment(self, app: str, placement: Mapping[str, Any]) -> dict[str, str]:
        return {**self.env, "APP_VERSION": placement["release"]["version"], "PORT": "8000"}

    def artifact(self, variant: Variant = "good", tag: str = "v1", **more: Any) -> str:
        """Its reference by digest, in the registry only."""
        repository = f"{self.app}/{variant.replace('_', '-')}"
        digest = self._images.publish(repository, tag, variant=variant, **more)
        return f"{self._registry}/{repository}@{digest}"

    def release(self, variant: Variant = "good", **more: Any) -> dict[str, Any]:
        """A release whose image is on the host."""
        number = next(self._releases)
        release = {
            "app": self.app,
            "id": f"{os.getpid() % 10_000:04d}{number:06d}",
            "version": f"v{number}",
            "artifact": self.artifact(variant, f"v{number}"),
            "runtime": "docker",
            "command": [],
            "container_port": 8000,
            "env": [],
            "secrets": [],
            "stop_timeout": 7.5,
            **more,
        }
        self.docker.put_artifact(self.app, release)
        return release

    def place(self, release: Mapping[str, Any], slot: Mapping[str, Any], colour: str = "blue") -> dict[str, Any]:
        return {"release": release, "slot": slot, "colour": colour, "rollout": 3}

    def facts(self, slot: Mapping[str, Any], release: str | None = None) -> dict[str, Any]:
        return self.docker.facts(self.app, {"slot": slot, "release": release})

    def container(self, release: Mapping[str, Any], slot: Mapping[str, Any]) -> Any:
        name = f"celadon-{self.app}-{release['id']}-{slot['host']}-{slot['port']}"
        return self.engine.engine.get(f"/containers/{name}/json")

    def unmanaged(self, name: str, slot: Mapping[str, Any], **more: Any) -> str:
        """A container as a user started it by hand, publishing the slot's port."""
        ports = {"8000/tcp": [{"HostIp": slot["address"], "HostPort": str(slot["port"])}]}
        recipe = {
            "Image": self.release()["artifact"],
            "Env": ["PORT=8000"],
            "ExposedPorts": {"8000/tcp": {}},
            "HostConfig": {"PortBindings": ports},
            **more,
        }
        made: str = self.engine.engine.post("/containers/create", {"name": name}, recipe)["Id"]
        self.engine.engine.post(f"/containers/{made}/start")
        return made

    def close(self) -> None:
        for container in self.engine.containers():
            self.engine.engine.delete(f"/containers/{container}", {"force": "1", "v": "1"})


@pytest.fixture(scope="session")
def base_on_host(docker_engine: OwnEngine, app_images: AppImages, registry_address: str) -> None:
    """One image that stays, so that prune in one test does not cost the next one a pull of the base."""
    digest = app_images.publish("rig/anchor")
    anchor = f"{registry_address}/rig/anchor@{digest}"
    Docker(docker_engine.engine).put_artifact("rig", {"artifact": anchor})


@pytest.fixture
def world(
    docker_engine: OwnEngine, app_images: AppImages, registry_address: str, base_on_host: None
) -> Iterator[World]:
    world = World(docker_engine, app_images, registry_address)
    yield world
    world.close()
