"""Throwaway places for a trial: a container that only this host's loopback reaches, or a process in a folder.

Before something is made that outlives this process, its name is written in the trial's folder: `remove_left` takes all
of it back from there, for the trial itself as for whoever sweeps after a killed agent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from celadon.agent import (
    archive,
    bind,
    container_log,
    docker,
    environments,
    images,
    paths,
    processes,
    settings,
    sockdiag,
    supervisor,
    venv,
)
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG, REFUSED, UNAVAILABLE

Json = dict[str, Any]
LABEL = "celadon.trial"  # never `celadon.app`: a trial's container is nobody's replica
TRIAL = {"CELADON_TRIAL": "1"}  # for an application that wants to know
LOG_BYTES = 256 << 10
NAMESERVER = "127.0.0.11"  # Docker's own, in the container's namespace


class State(NamedTuple):
    running: bool
    exit_code: int | None


class Place(Protocol):
    """`port`: where the release is told to listen."""

    port: int

    def prepare(self, read: Callable[[], bytes]) -> int:
        """The artifact, here; returns bytes moved."""

    def start(self) -> None: ...

    def state(self) -> State: ...

    def listeners(self) -> list[sockdiag.Row] | None:
        """The release's own listening sockets; None: this host does not show them."""

    def reaches(self, address: str) -> bool:
        """Whether a listener on this address could be reached by the NodeBalancer."""

    def door(self) -> tuple[str, int]:
        """Where a request to it goes."""

    def program(self) -> str:
        """The first process's program; empty where it cannot be seen. No arguments: they may hold anything."""

    def hears(self) -> bool | None:
        """Whether its first process does anything about the stop signal; None: not to be seen."""

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def lines(self, most: int) -> list[str]: ...

    def remove(self) -> None: ...


def of(app: str, folder: Path, args: Json) -> Place:
    runtime = args["release"]["runtime"]
    if runtime == "docker":
        return Container(app, folder, args)
    if runtime == "venv":
        return Process(app, folder, args)
    raise AgentError(REFUSED, f"no runtime {runtime!r:.40}")


def remove_left(folder: Path) -> None:
    """Everything that a trial's folder names, but the folder. May be repeated."""
    process = paths.read_json(folder / "process")
    if process is not None and supervisor.process_start(process["pid"]) == process["born"]:
        supervisor.kill_group(process["pid"])
    container = paths.read_json(folder / "container")
    if container is not None:
        docker.here.remove(container["name"], force=True)
    image = paths.read_json(folder / "image")
    if image is not None and not _wanted(image["app"], image["artifact"]):
        images.remove_unused(docker.here.engine, [image["artifact"]])


def _wanted(app: str, artifact: str) -> bool:
    """Whether a release that was put here since then needs this image."""
    return any(settings.release(app, one).get("artifact") == artifact for one in settings.present(app))


def _environment(args: Json) -> dict[str, str]:
    """What a replica gets, by the values that came with the question: nothing is written down."""
    values = {str(name): str(value) for name, value in args["values"].items()}
    return {**values, **settings.always(args), **TRIAL}


class Container:
    """Published on 127.0.0.1 alone, on a port that the kernel chooses; ended for good when it ends."""

    def __init__(self, app: str, folder: Path, args: Json) -> None:
        self._app, self._folder, self._args = app, folder, args
        self._docker = docker.Docker(docker.here.engine, environment=lambda _app, _placement: _environment(args))
        self._name = f"celadon-trial-{app}-{folder.name}"
        self._id = ""
        self._door: tuple[str, int] | None = None
        self._pid = 0
        self.port = int(args["release"]["container_port"])

    def prepare(self, read: Callable[[], bytes]) -> int:
        del read  # an image comes from its registry
        artifact = self._args["release"]["artifact"]
        if not images.present(self._docker.engine, artifact):
            paths.write_json(self._folder / "image", {"app": self._app, "artifact": artifact})
        return self._docker.put_artifact(self._app, self._args["release"], None, self._args.get("credentials"))

    def start(self) -> None:
        recipe = self._docker.recipe(self._app, self._args, "127.0.0.1")
        inner = f"{self.port}/tcp"
        recipe["Labels"] = {LABEL: self._app}
        recipe["HostConfig"]["PortBindings"] = {inner: [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        recipe["HostConfig"]["RestartPolicy"] = {"Name": "no"}
        paths.write_json(self._folder / "container", {"name": self._name})
        self._id = self._docker.create(self._name, recipe)
        found = self._inspect()
        self._pid = int(found["State"].get("Pid") or 0)
        published = (found["NetworkSettings"].get("Ports") or {}).get(inner)
        if published:
            self._door = ("127.0.0.1", int(published[0]["HostPort"]))

    def state(self) -> State:
        state = self._inspect()["State"]
        return State(bool(state["Running"]), None if state["Running"] else int(state["ExitCode"]))

    def listeners(self) -> list[sockdiag.Row] | None:
        try:
            return [row for row in sockdiag.listeners(self._pid) if row.address != NAMESERVER]
        except OSError:
            return [] if not self.state().running else None

    def reaches(self, address: str) -> bool:
        return not sockdiag.is_loopback(address)

    def door(self) -> tuple[str, int]:
        if self._door is None:  # it ended before its port could be read
            raise AgentError(REFUSED, f"{self._name}: ended as soon as it started")
        return self._door

    def program(self) -> str:
        return _program(self._pid)

    def hears(self) -> bool | None:
        number = _signal_number(self._stop_signal())
        disposition = _disposition(self._pid, number) if number else None
        # The kernel spares the first process of a namespace whatever it has no handler for.
        return {"caught": True, "default": False, "ignored": False}.get(disposition or "")

    def terminate(self) -> None:
        self._signal(self._stop_signal())

    def kill(self) -> None:
        self._signal("SIGKILL")

    def lines(self, most: int) -> list[str]:
        with docker.translated(self._name):
            return list(container_log.lines(self._docker.engine.logs(self._id, most)))[-most:]

    def remove(self) -> None:
        remove_left(self._folder)

    def _stop_signal(self) -> str:
        return str(self._inspect()["Config"].get("StopSignal") or "SIGTERM")

    def _signal(self, name: str) -> None:
        self._docker.signal(self._id, name)

    def _inspect(self) -> Json:
        found = self._docker.inspect(self._id)
        if found is None:
            raise AgentError(UNAVAILABLE, f"{self._name}: somebody else removed it", "run it again")
        return found


class Process:
    """As a replica would run, without a supervisor, in a folder that goes away, on a port that the kernel chooses."""

    def __init__(self, app: str, folder: Path, args: Json) -> None:
        self._app, self._folder, self._args = app, folder, args
        self._source = folder / "app"
        self._address = bind.resolve(args["slot"]["address"])
        self.port = _free_port(self._address)
        self._given = {**args, "slot": {**args["slot"], "port": self.port}}
        self._child: subprocess.Popen[bytes] | None = None
        self._drain: threading.Thread | None = None
        self._environment_at: Path | None = None
        self._asked_to_end = False

    def prepare(self, read: Callable[[], bytes]) -> int:
        artifact = self._args["release"]["artifact"]
        here = archive.file_of(self._app, artifact)
        moved = 0
        if not here.exists():
            here = self._folder / "archive.tar"
            moved = archive.receive_as(here, artifact, read)
        archive.unpack(here, self._source)
        wanted = environments.recipe(self._source, artifact)
        self._environment_at = environments.find(self._app, wanted)
        if self._environment_at is None:
            self._environment_at = self._folder / "environment"
            environments.build(self._environment_at, self._source, wanted)
        return moved

    def start(self) -> None:
        at = self._environment_at
        if at is None:
            raise AgentError(BUG, "a trial that was not prepared")
        argv = venv.argv(self._args["release"], self._address, self.port, at, self._source)
        environment = {**supervisor.kept_environment(), **venv.defaults(at, self._source), **_environment(self._given)}
        try:
            child = processes.start(argv, cwd=str(self._source), env=environment)
        except OSError as problem:
            raise AgentError(REFUSED, f"cannot start {os.path.basename(argv[0])}: {problem.strerror}") from None
        self._child = child
        paths.write_json(self._folder / "process", {"pid": child.pid, "born": supervisor.process_start(child.pid)})
        log = supervisor.Log(self._folder, LOG_BYTES)
        self._drain = threading.Thread(target=log.drain, args=(child.stdout,), daemon=True)
        self._drain.start()

    def state(self) -> State:
        code = self._running.poll()
        if code is None or (self._asked_to_end and any(supervisor.session_members(self._running.pid))):
            return State(running=True, exit_code=None)
        return State(running=False, exit_code=code if code >= 0 else 128 - code)

    def listeners(self) -> list[sockdiag.Row] | None:
        try:
            held = _sockets(self._running.pid)
            return [row for row in sockdiag.listeners() if row.inode in held]
        except OSError:
            return None

    def reaches(self, address: str) -> bool:
        return address == self._address or sockdiag.is_wildcard(address)

    def door(self) -> tuple[str, int]:
        return self._address, self.port

    def program(self) -> str:
        return _program(self._running.pid)

    def hears(self) -> bool | None:
        disposition = _disposition(self._running.pid, signal.SIGTERM)
        return {"caught": True, "default": True, "ignored": False}.get(disposition or "")

    def terminate(self) -> None:
        self._asked_to_end = True
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        supervisor.kill_group(self._running.pid)

    def lines(self, most: int) -> list[str]:
        if self._drain is not None and not self.state().running:
            self._drain.join(1.0)  # its last words
        try:
            text = (self._folder / "log").read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        return [line.partition(" ")[2] for line in text.splitlines()][-most:]

    def remove(self) -> None:
        if self._child is not None:
            supervisor.kill_group(self._child.pid)
            processes.end(self._child)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise AgentError(BUG, "a trial that was not started")
        return self._child


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as door:
        door.bind((address, 0))
        port: int = door.getsockname()[1]
        return port


def _sockets(session: int) -> set[int]:
    """Inodes of the sockets that a session's processes hold."""
    found = set()
    for pid in supervisor.session_members(session):
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):  # ended while we looked
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    kind, _, rest = os.readlink(f"{folder}/{name}").partition(":[")
                    if kind == "socket":
                        found.add(int(rest[:-1]))
    return found


def _program(pid: int) -> str:
    """Read twice where it is still on its way from one program to the next (`exec`)."""
    for _ in range(2):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0]:
                name = os.path.basename(words[0].decode("utf-8", "replace"))
                return "".join(letter for letter in name if letter.isprintable())[:40]
        time.sleep(0.05)
    return ""


def _disposition(pid: int, number: int) -> str | None:
    """caught, ignored, default, or blocked (someone may wait for it: `tini` does). None: not to be seen."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    masks = {name: int(value, 16) for name, _, value in (line.partition(":\t") for line in lines) if name in _MASKS}
    bit = 1 << (number - 1)
    for mask, meaning in _MASKS.items():
        if masks.get(mask, 0) & bit:
            return meaning
    return "default" if masks else None


_MASKS = {"SigCgt": "caught", "SigIgn": "ignored", "SigBlk": "blocked"}


def _signal_number(name: str) -> int | None:
    """`SIGTERM`, `TERM` or `15`, as an image may say it."""
    if name.isdigit():
        return int(name)
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    return int(found) if isinstance(found, signal.Signals) else None
