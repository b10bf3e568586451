"""Virtual environments by what is in them: releases with equal requirements share one.

Made by uv where the host has it, else by `venv` and pip. An environment counts only once its mark is written: a
failed build leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from celadon.agent import paths, processes
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

BUILD_WITHIN = 900.0  # seconds
DONE = ".celadon-done"
_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:-e|--editable|\.|/|file:|[^#]*@\s*file:)", re.MULTILINE)
# Constant, run by the environment's own interpreter: pip brings a parser for Pythons that have none (3.9, 3.10).
_DEPENDENCIES = """
import json, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    print(json.dumps(tomllib.load(file).get("project", {}).get("dependencies", [])))
"""


class Recipe(NamedTuple):
    """What an environment is made from. `key` names it."""

    kind: str  # lock, requirements, project, empty
    key: str
    uv: str | None


def recipe(source: Path, archive: str) -> Recipe:
    """A lock file where it can be honoured, else requirements.txt, else the project's own list."""
    uv = find_uv()
    if (source / "uv.lock").is_file():
        if uv:
            return _recipe("lock", uv, [source / "uv.lock", source / "pyproject.toml"])
        if not (source / "requirements.txt").is_file():
            hint = "install uv on the host, or add `uv export -o requirements.txt` to the source"
            raise AgentError(REFUSED, "the source has a uv.lock, and the host has no uv to honour it", hint)
    if (source / "requirements.txt").is_file():
        files = _requirements(source / "requirements.txt", source)
        local = any(_LOCAL.search(_text(file)) for file in files)
        return _recipe("requirements", uv, files, archive if local else "")
    if (source / "pyproject.toml").is_file():
        return _recipe("project", uv, [source / "pyproject.toml"])
    return _recipe("empty", uv, [])


def find_uv() -> str | None:
    """The program on PATH, or where its installers put it: a session without a login shell has a short PATH."""
    places = [str(Path.home() / ".local/bin"), str(Path.home() / ".cargo/bin")]
    return shutil.which("uv") or shutil.which("uv", path=os.pathsep.join(places))


def ensure(app: str, source: Path, wanted: Recipe) -> Path:
    """The environment's directory, made if need be."""
    directory = paths.make_dir(paths.app_dir(app) / "environments") / wanted.key
    with paths.locked(directory.parent / (f".{wanted.key}.lock")):
        if is_done(directory):
            return directory
        shutil.rmtree(str(directory), ignore_errors=True)  # what a crash left
        try:
            build(directory, source, wanted)
            paths.write_atomically(directory / DONE, b"")
        except BaseException:
            shutil.rmtree(str(directory), ignore_errors=True)
            raise
    return directory


def find(app: str, wanted: Recipe) -> Path | None:
    """The environment that is there already."""
    directory = paths.app_dir(app) / "environments" / wanted.key
    return directory if is_done(directory) else None


def is_done(directory: Path) -> bool:
    return (directory / DONE).is_file()


def prune(app: str, keep: list[str]) -> None:
    root = paths.app_dir(app) / "environments"
    for entry in list(root.iterdir()) if root.is_dir() else []:
        if entry.is_dir() and entry.name not in keep:
            shutil.rmtree(str(entry))


def _recipe(kind: str, uv: str | None, files: list[Path], extra: str = "") -> Recipe:
    hashed = hashlib.sha256()
    for part in [kind, sys.version, sys.executable, extra] + [_text(file) for file in files]:
        data = part.encode("utf-8")
        hashed.update(b"%d:" % len(data) + data)
    return Recipe(kind, hashed.hexdigest()[:20], uv)


def _requirements(file: Path, source: Path) -> list[Path]:
    """The file and all that it includes: a change in any of them is another environment."""
    found: list[Path] = []
    todo = [file]
    while todo:
        one = todo.pop()
        if one in found or not one.is_file() or source.resolve() not in one.resolve().parents:
            continue
        found.append(one)
        todo.extend(one.parent / name for name in _INCLUDED.findall(_text(one)))
    return sorted(found)


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace")


def build(directory: Path, source: Path, wanted: Recipe) -> None:
    """In this directory, and nobody is told of it."""
    if wanted.uv:
        _build_with_uv(wanted.uv, directory, source, wanted.kind)
    else:
        _build_with_pip(directory, source, wanted.kind)


def _build_with_uv(uv: str, directory: Path, source: Path, kind: str) -> None:
    # The host's own interpreter: nothing but the release is downloaded.
    env = {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PROJECT_ENVIRONMENT": str(directory),
        "UV_NO_PROGRESS": "1",
    }
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], source, env)
    python = str(directory / "bin/python")
    if kind == "lock":
        sync = [uv, "sync", "--frozen", "--no-dev", "--no-install-project", "--python", sys.executable]
        _run(sync, source, env)
    elif kind == "requirements":
        _run([uv, "pip", "install", "--python", python, "-r", "requirements.txt"], source, env)
    elif kind == "project":
        _run([uv, "pip", "install", "--python", python, "-r", "pyproject.toml"], source, env)


def _build_with_pip(directory: Path, source: Path, kind: str) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        _run([sys.executable, "-m", "venv", str(directory)], source, env)
    except processes.ProgramFailed as problem:
        problem.hint = "install python3-venv (Debian, Ubuntu) or uv on the host"
        raise
    python = str(directory / "bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "-r"]
    if kind == "requirements":
        _run([*install, "requirements.txt"], source, env)
    elif kind == "project":
        listed = _run([python, "-c", _DEPENDENCIES, str(source / "pyproject.toml")], source, env)
        paths.write_atomically(directory / "requirements.txt", "\n".join(json.loads(listed)).encode("utf-8"))
        _run([*install, str(directory / "requirements.txt")], source, env)


def _run(argv: list[str], source: Path, env: dict[str, str]) -> str:
    return processes.run(argv, cwd=str(source), seconds=BUILD_WITHIN, env=env)
