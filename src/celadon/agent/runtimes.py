"""Which runtimes this host has, by name. Each is a module or an object with the same functions.

facts(app, slot_question) -> {"replica", "foreign", "listening", "pid"}; docker adds "container_port"
artifacts(app) -> list of release.artifact that could be started
put_artifact(app, release, read, credentials) -> bytes moved
start(app, placement); stop(app, release_id, slot, grace) -> connections open at SIGTERM, None: unknown
prune(app, keep_ids, host, artifacts); tail(app, release_id, slot, lines) -> list of lines
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
from typing import Any

from celadon.agent import settings
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

NAMES = ("venv", "docker")


def for_name(name: str) -> Any:
    if name not in NAMES:
        raise AgentError(REFUSED, f"no runtime {name!r:.40}")
    if name == "docker" and not _has("celadon.agent.docker"):
        raise AgentError(REFUSED, "this version has no docker runtime")
    module = importlib.import_module("celadon.agent." + name)
    return module.Docker() if name == "docker" else module


def present() -> dict[str, Any]:
    """Those that this host could have replicas of. Loading one costs nothing when its engine is not there."""
    names = [name for name in NAMES if name != "docker" or (_has("celadon.agent.docker") and _engine())]
    return {name: for_name(name) for name in names}


def of_release(app: str, release_id: str) -> list[Any]:
    """The runtime of a release, as written down when it was put here; without that, every one that may know it."""
    known = settings.release(app, release_id)
    return [for_name(str(known["runtime"]))] if known else list(present().values())


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _engine() -> bool:
    try:
        return stat.S_ISSOCK(os.stat("/var/run/docker.sock").st_mode)
    except OSError:
        return False
