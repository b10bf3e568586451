"""A release's settings on this host: what it is (`release.json`) and its environment with secrets (`env`, 0600).

Beside them `started.json` says that it once had a replica here.

`env` is JSON, so that a value may hold anything an environment can, newlines too; nothing reads it with a shell.
"""

from __future__ import annotations

import re
import shutil
from typing import Any

from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST = 131_071  # bytes of `NAME=value`: Linux refuses to start a program with a longer one (MAX_ARG_STRLEN)


def put(app: str, release: dict[str, Any], values: dict[str, str]) -> None:
    """Either both files are there, or the release is not listed."""
    for name, value in values.items():
        _check(name, value)
    directory = paths.make_dir(paths.release_dir(app, release["id"]))
    paths.write_json(directory / "release.json", release)
    paths.write_json(directory / "env", values)


def environment(app: str, release: str) -> dict[str, str]:
    """The values of the env file."""
    values = paths.read_json(paths.release_dir(app, release) / "env")
    if values is None:
        message = f"{app}: the settings of release {release} are not on this host"
        raise AgentError(REFUSED, message, "run it again from where the secrets are")
    return {str(name): str(value) for name, value in values.items()}


def replica_environment(app: str, placement: dict[str, Any]) -> dict[str, str]:
    """What a replica gets: the env file, and what Celadon always sets."""
    release = placement["release"]
    return {**environment(app, release["id"]), **always(placement)}


def always(placement: dict[str, Any]) -> dict[str, str]:
    """Set for every replica, whatever the env file says."""
    release = placement["release"]
    port = release.get("container_port") or placement["slot"]["port"]
    return {
        "APP_VERSION": str(release["version"]),
        "PORT": str(port),
        "CELADON_RELEASE": str(release["id"]),
        "CELADON_COLOUR": str(placement["colour"]),
    }


def release(app: str, release_id: str) -> dict[str, Any]:
    """The release as it was put here; empty where it is not."""
    found = paths.read_json(paths.release_dir(app, release_id) / "release.json")
    return dict(found) if found else {}


def mark_started(app: str, release_id: str) -> None:
    """Before its first replica here: from now on one may run, whatever can be seen of it."""
    paths.write_json(paths.make_dir(paths.release_dir(app, release_id)) / "started.json", True)


def was_started(app: str, release_id: str) -> bool:
    return bool(paths.read_json(paths.release_dir(app, release_id) / "started.json"))


def present(app: str) -> list[str]:
    """Ids of the releases whose settings are here."""
    root = paths.app_dir(app) / "releases"
    return sorted(entry.name for entry in root.iterdir() if (entry / "env").is_file()) if root.is_dir() else []


def prune(app: str, keep: list[str]) -> None:
    root = paths.app_dir(app) / "releases"
    for entry in list(root.iterdir()) if root.is_dir() else []:
        if entry.name not in keep:
            shutil.rmtree(str(entry))


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise AgentError(REFUSED, f"{name!r:.60} is not the name of an environment variable")
    if "\0" in value:
        raise AgentError(REFUSED, f"{name}: a value with a NUL byte cannot be in an environment")
    if len(name) + 1 + len(value.encode("utf-8", "surrogatepass")) > LONGEST:
        message = f"{name}: a value of {len(value)} characters is too long for an environment"
        raise AgentError(REFUSED, message, "put it in a file that the application reads")
