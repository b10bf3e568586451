"""The `venv` runtime: a source archive in a virtual environment, its command run under supervision."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celadon.agent import archive, bind, environments, paths, replicas, settings
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

facts = replicas.facts
stop = replicas.stop
tail = replicas.tail
log = replicas.log


def artifacts(app: str) -> list[str]:
    """The archives of which some release is here with its environment."""
    found = set()
    for release_id in settings.present(app):
        release = settings.release(app, release_id)
        if release.get("runtime") == "venv" and _environment(app, release_id) is not None:
            found.add(str(release["artifact"]))
    return sorted(found)


def put_artifact(app: str, release: dict[str, Any], read: Callable[[], bytes], credentials: Any) -> int:
    """Archive received unless it is here, unpacked, and its environment made."""
    del credentials  # of an image registry
    moved = archive.receive(app, release["artifact"], read)
    _prepare(app, release)
    return moved


def start(app: str, placement: dict[str, Any]) -> None:
    release, slot = placement["release"], placement["slot"]
    settings.environment(app, release["id"])  # refuses where they are not
    if not archive.file_of(app, release["artifact"]).exists():
        raise AgentError(REFUSED, "{}: the archive of release {} is not on this host".format(app, release["id"]))
    environment = _prepare(app, release)
    source = _source(app, release["id"])
    replicas.start(
        app,
        placement,
        {
            "argv": argv(release, bind.resolve(slot["address"]), slot["port"], environment, source),
            "cwd": str(source),
            "env_file": str(paths.release_dir(app, release["id"]) / "env"),
            "defaults": defaults(environment, source),
            "env": settings.always(placement),
            "grace": float(release["stop_timeout"]),
        },
    )


def prune(app: str, keep: list[str], host: str, artifacts: list[str]) -> None:
    """Other releases' stopped replicas, files and archives; an environment once no release uses it."""
    del host, artifacts  # of engines that hosts and apps share
    keep = sorted(set(keep) | replicas.prune(app, keep))
    root = paths.app_dir(app) / "releases"
    for entry in list(root.iterdir()) if root.is_dir() else []:
        if entry.name not in keep:
            shutil.rmtree(str(entry / "app"), ignore_errors=True)
    kept = [settings.release(app, release_id) for release_id in keep]
    used = {archive.digest(one["artifact"]) for one in kept if one.get("runtime") == "venv"}
    archives = paths.app_dir(app) / "archives"
    for entry in list(archives.iterdir()) if archives.is_dir() else []:
        if entry.stem not in used:
            entry.unlink()
    names = [_environment(app, release_id) for release_id in keep]
    environments.prune(app, [name for name in names if name is not None])


def execution(app: str, release_id: str) -> dict[str, Any]:
    """How to run another command beside a replica: its directory and environment."""
    name = _environment(app, release_id)
    if name is None:
        raise AgentError(REFUSED, f"{app}: release {release_id} is not on this host")
    source = _source(app, release_id)
    environment = paths.app_dir(app) / "environments" / name
    env = {**os.environ, **defaults(environment, source), **settings.environment(app, release_id)}
    return {"cwd": str(source), "env": env}


def _prepare(app: str, release: dict[str, Any]) -> Path:
    source = _source(app, release["id"])
    archive.unpack(archive.file_of(app, release["artifact"]), source)
    wanted = environments.recipe(source, release["artifact"])
    environment = environments.ensure(app, source, wanted)
    paths.write_json(source.parent / "environment.json", wanted.key)
    return environment


def _environment(app: str, release_id: str) -> str | None:
    """The name of a release's environment, where that is complete."""
    name = paths.read_json(paths.release_dir(app, release_id) / "environment.json")
    if name is None or not _source(app, release_id).is_dir():
        return None
    return str(name) if environments.is_done(paths.app_dir(app) / "environments" / name) else None


def _source(app: str, release_id: str) -> Path:
    return paths.release_dir(app, release_id) / "app"


def argv(release: dict[str, Any], host: str, port: int, environment: Path, source: Path) -> list[str]:
    """The release's command, with its program found and its placeholders filled."""
    command = [_expanded(word, host, port, release["version"]) for word in release["command"]]
    return [_program(command, environment, source), *command[1:]]


def defaults(environment: Path, source: Path) -> dict[str, str]:
    """What the release's own settings may overrule."""
    path = os.pathsep.join([str(environment / "bin"), os.environ.get("PATH", os.defpath)])
    # Output at once, or the last lines before a crash are lost.
    found = {"PATH": path, "VIRTUAL_ENV": str(environment), "PYTHONUNBUFFERED": "1"}
    # `src` layouts import from there: the environment is shared between releases and cannot hold the project itself.
    if (source / "src").is_dir() and (source / "pyproject.toml").is_file():
        found["PYTHONPATH"] = str(source / "src")
    return found


def _expanded(word: str, host: str, port: int, version: str) -> str:
    return word.replace("{host}", host).replace("{port}", str(port)).replace("{version}", version)


def _program(command: list[str], environment: Path, source: Path) -> str:
    """The environment's own program first, then one of the source's, then the host's."""
    if not command:
        raise AgentError(REFUSED, "a venv release needs a command", "set `command` in celadon.toml")
    name = command[0]
    places = [source] if "/" in name else [environment / "bin"]
    for place in places:
        found = shutil.which(str(place / name))
        if found:
            return found
    elsewhere = shutil.which(name)
    if elsewhere:
        return elsewhere
    hint = "add what provides it to the requirements, or correct `command`"
    raise AgentError(REFUSED, f"the release has no program {name!r:.80}", hint)
