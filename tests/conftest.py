"""Fixtures that many suites share. They are named here once, so that each exists once in a session."""

import pytest

from tests.rig.docker import app_images, docker_engine, registry, registry_address
from tests.rig.netns_hosts import docker_hosts

__all__ = ["app_images", "docker_engine", "docker_hosts", "registry", "registry_address"]

LONGEST = (
    900  # seconds of a slow test that says nothing else: it waits for many commands, on a machine that may be busy
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: then no worker is left alone with a long one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))
