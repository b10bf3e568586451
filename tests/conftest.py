"""Fixtures that many suites share. They are named here once, so that each exists once in a session."""

from tests.rig.docker import app_images, docker_engine, registry, registry_address

__all__ = ["app_images", "docker_engine", "registry", "registry_address"]
