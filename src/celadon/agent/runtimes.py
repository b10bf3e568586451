"""Which runtimes this host has, by name. Each is a module with the same functions.

facts(app, slot_question) -> {"replica", "foreign", "remedy", "listening", "pid"}; docker adds "container_port"
artifacts(app) -> list of release.artifact that could be started
put_artifact(app, release, read, credentials) -> bytes moved
start(app, placement); stop(app, release_id, slot, grace) -> connections open at SIGTERM, None: unknown
prune(app, keep_ids, host, artifacts)
tail(app, release_id, slot, lines) -> list of lines
log(app, release_id, slot, lines, cancelled) -> iterator of (seconds since 1970 | None, line)
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
from typing import Any

from celadon.agent import engine, settings
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

NAMES = ("venv", "docker")


def for_name(name: str) -> Any:
    if name not in NAMES:
        raise AgentError(REFUSED, f"no runtime {name!r:.40}")
    if name == "docker" and not _has("celadon.agent.docker"):
        raise AgentError(REFUSED, "this version has no docker runtime")
    return importlib.import_module("celadon.agent." + name)


def present(app: str) -> dict[str, Any]:
    """Those that this host could have replicas of the app in.

    An engine that does not answer is nobody's trouble but of an app that has releases in it.
    """
    found = {"venv": for_name("venv")}
    if not _has("celadon.agent.docker"):
        return found
    try:
        if _has_engine():
            docker = for_name("docker")
            docker.artifacts(app)
            found["docker"] = docker
    except AgentError:
        if any(settings.release(app, one).get("runtime") == "docker" for one in settings.present(app)):
            raise
    return found


def of_release(app: str, release_id: str) -> list[Any]:
    """The runtime of a release, as written down when it was put here; without that, every one that may know it."""
    known = settings.release(app, release_id)
    return [for_name(str(known["runtime"]))] if known else list(present(app).values())


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_engine() -> bool:
    """A socket where the runtime will look for it. AgentError: DOCKER_HOST names a place that is none."""
    path = engine.socket_path(os.environ)
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
