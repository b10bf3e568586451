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
from typing import Any

from celadon.agent import paths, settings
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED, UNAVAILABLE

NAMES = ("venv", "docker")


def for_name(name: str) -> Any:
    if name not in NAMES:
        raise AgentError(REFUSED, f"no runtime {name!r:.40}")
    if name == "docker" and not _has("celadon.agent.docker"):
        raise AgentError(REFUSED, "this version has no docker runtime")
    return importlib.import_module("celadon.agent." + name)


def present(app: str) -> dict[str, Any]:
    """Those that this host could have replicas of the app in.

    An Engine that is not there or does not answer is nobody's trouble but of an app that started containers in it:
    while it restarts, their slots would seem empty, and empty is quiet.
    """
    found = {"venv": for_name("venv")}
    if not _has("celadon.agent.docker"):
        return found
    docker = for_name("docker")
    try:
        docker.artifacts(app)
    except AgentError as error:
        begun = [one for one in settings.present(app) if _may_have_containers(app, one)]
        if not begun:
            return found
        if error.kind != UNAVAILABLE:
            raise
        folders = " ".join(str(paths.release_dir(app, one)) for one in begun)
        hint = f"on the host: systemctl start docker   or, where Docker is gone for good: rm -r {folders}"
        raise AgentError(UNAVAILABLE, f"{error.message}, and {app} has containers in it", hint) from error
    return {**found, "docker": docker}


def _may_have_containers(app: str, release_id: str) -> bool:
    return settings.release(app, release_id).get("runtime") == "docker" and settings.was_started(app, release_id)


def of_release(app: str, release_id: str) -> list[Any]:
    """The runtime of a release, as written down when it was put here; without that, every one that may know it."""
    known = settings.release(app, release_id)
    return [for_name(str(known["runtime"]))] if known else list(present(app).values())


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
