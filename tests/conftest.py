"""Fixtures that many suites share. They are named here once, so that each exists once in a session."""

from tests.rig.docker import app_images, docker_engine, registry, registry_address
from tests.rig.netns_hosts import docker_hosts

__all__ = ["app_images", "docker_engine", "docker_hosts", "registry", "registry_address"]
