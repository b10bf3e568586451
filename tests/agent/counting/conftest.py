"""The runtime's world (`tests/rig/docker_world.py`), for this folder's tests."""

from tests.rig.docker_world import base_on_host, world

__all__ = ["base_on_host", "world"]
