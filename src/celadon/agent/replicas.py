"""Supervised replicas of the `venv` runtime: started, found again, stopped. Each has a directory of its name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from celadon.agent import bind, counting, initsystem, paths, sockdiag, supervisor
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED, UNAVAILABLE

BORN_WITHIN = 10.0  # seconds for a supervisor to say what it did
POLL = 0.02
STOP_MARGIN = 10.0  # on top of the grace, for the supervisor itself
TAIL_BYTES = 1 << 20
FOLLOW_POLL = 0.1


class Replica(NamedTuple):
    directory: Path
    spec: dict[str, Any]
    state: dict[str, Any]

    @property
    def pid(self) -> int | None:
        """The command's process; None when it does not run, be it after a boot or with its number given away."""
        pid, born = self.state.get("pid"), str(self.state.get("id")).partition("-")[2]
        if pid is None or self.state.get("boot_id") != supervisor.boot_id():
            return None
        return int(pid) if supervisor.process_start(pid) == born else None

    @property
    def facts(self) -> dict[str, Any]:
        running = self.pid is not None
        return {
            "release": self.spec["release"],
            "id": str(self.state.get("id") or "none"),
            "running": running,
            "restarts": int(self.state.get("restarts", 0)),
            "exit_code": None if running else self.state.get("exit_code"),
            "colour": self.spec["colour"],
            "rollout": int(self.spec.get("rollout", 0)),
        }


def facts(app: str, question: dict[str, Any]) -> dict[str, Any]:
    """Who is in the slot: a running replica first, else the release asked for, else the one written down last."""
    slot = question["slot"]
    address, port = bind.resolve(slot["address"]), paths.port_number(slot["port"])
    replica = _in_slot(app, slot, question.get("release"))
    pid = replica.pid if replica else None
    row = sockdiag.listener(address, port)
    ours = row is not None and pid is not None and _holds(pid, row.inode)
    foreign, remedy = (None, "") if row is None or ours else _named(row.inode, port)
    return {
        "replica": replica.facts if replica else None,
        "foreign": foreign,
        "remedy": remedy,
        "listening": row is not None,
        "pid": pid,
    }


def start(app: str, placement: dict[str, Any], run: dict[str, Any]) -> None:
    """Idempotent: a replica that is there is left alone, one that waits to be restarted too."""
    release, slot = placement["release"], placement["slot"]
    name = paths.replica_name(app, release["id"], slot["host"], slot["port"])
    directory = paths.make_dir(_root(app)) / name
    with paths.locked(_root(app) / (f".{slot['port']}.lock")):
        if _going_on(directory):
            return
        _refuse_occupied(app, slot, release["id"])
        paths.make_dir(directory)
        for left in ("stop.json", "state.json"):
            with contextlib.suppress(FileNotFoundError):
                (directory / left).unlink()
        spec = {**run, "release": release["id"], "slot": slot, "colour": placement["colour"]}
        spec["rollout"] = placement["rollout"]
        paths.write_json(directory / "spec.json", spec)
        initsystem.launch(name, directory, float(run["grace"]))
        _await_birth(directory, name)


def stop(app: str, release_id: str, slot: dict[str, Any], grace: float) -> int:
    """SIGTERM, and SIGKILL after `grace`. Returns the connections open at SIGTERM."""
    name = paths.replica_name(app, release_id, slot["host"], slot["port"])
    directory = _root(app) / name
    replica = _load(directory)
    if replica is None:
        return 0
    paths.write_json(directory / "stop.json", {"grace": grace})
    initsystem.forget(name)
    pid = replica.pid
    open_then = _open(slot) if pid is not None else 0
    if supervisor.supervised(directory):
        _stop_supervisor(directory, name, grace)
    elif pid is not None:
        _stop_orphan(pid, grace)
    return open_then


def tail(app: str, release_id: str, slot: dict[str, Any], lines: int) -> list[str]:
    """The last lines, oldest first."""
    directory = _directory(app, release_id, slot)
    data = _end_of(directory / "log.1").data + _end_of(directory / "log").data
    return [line for _, line in _entries(data)][-lines:] if lines > 0 else []


def log(
    app: str, release_id: str, slot: dict[str, Any], lines: int, cancelled: threading.Event | None = None
) -> Iterator[tuple[float | None, str]]:
    """The last lines with their times (seconds since 1970); with `cancelled`, also what comes, until it is set."""
    directory = _directory(app, release_id, slot)
    if not (directory / "log").exists():
        raise AgentError(REFUSED, f"{app}: release {release_id} never ran in slot {slot['host']}:{slot['port']}")
    newest = _end_of(directory / "log")
    data = _end_of(directory / "log.1").data + newest.data
    yield from list(_entries(data))[-lines:] if lines > 0 else []
    node, position = newest.node, newest.position
    while cancelled is not None and not cancelled.is_set():
        if (directory / "log").stat().st_ino != node:
            yield from _entries(_whole_lines(directory / "log.1", position))
            node, position = (directory / "log").stat().st_ino, 0
        data = _whole_lines(directory / "log", position)
        position += len(data)
        yield from _entries(data)
        if not data:
            cancelled.wait(FOLLOW_POLL)


def prune(app: str, keep: list[str]) -> set[str]:
    """Removes the stopped replicas of other releases; returns the releases that still run, whatever was asked."""
    running = set()
    for directory in _directories(app):
        replica = _load(directory)
        if replica is not None and (replica.pid is not None or supervisor.supervised(directory)):
            running.add(str(replica.spec["release"]))
        elif replica is None or replica.spec["release"] not in keep:
            shutil.rmtree(str(directory))
    return running


def _in_slot(app: str, slot: dict[str, Any], release: str | None) -> Replica | None:
    found = [replica for replica in map(_load, _directories(app)) if replica is not None]
    found = [
        one for one in found if (one.spec["slot"]["host"], one.spec["slot"]["port"]) == (slot["host"], slot["port"])
    ]

    def rank(replica: Replica) -> Any:
        newest = (replica.directory / "spec.json").stat().st_mtime
        return replica.pid is not None, replica.spec["release"] == release, newest

    return max(found, key=rank, default=None)


def _going_on(directory: Path) -> bool:
    """Whether somebody keeps this replica running. Waits for one that is on its way out."""
    replica = _load(directory)
    if replica is None:
        return False
    if not supervisor.supervised(directory):
        return replica.pid is not None
    if not (directory / "stop.json").exists():
        return True
    message = f"{directory.name} is still stopping"
    raise AgentError(UNAVAILABLE, message, "run it again when it has ended")


def _refuse_occupied(app: str, slot: dict[str, Any], release: str) -> None:
    seen = facts(app, {"slot": slot, "release": release})
    where = f"{slot['address']}:{slot['port']}"
    replica = seen["replica"]
    if replica and replica["running"] and replica["release"] != release:
        raise AgentError(REFUSED, "{} is held by release {} of {}".format(where, replica["release"], app))
    if seen["foreign"]:
        message = "{} is held by {}, not ours".format(where, seen["foreign"])
        raise AgentError(REFUSED, message, "on the host: {}   then run this again".format(seen["remedy"]))


def _await_birth(directory: Path, name: str) -> None:
    end = time.monotonic() + BORN_WITHIN
    while not (directory / "state.json").exists():
        if time.monotonic() > end:
            raise AgentError(UNAVAILABLE, f"{name}: its supervisor did not start within {BORN_WITHIN:g} s")
        time.sleep(POLL)


def _stop_supervisor(directory: Path, name: str, grace: float) -> None:
    """The lock says that a supervisor lives, the file who it is. It writes the file a moment after it took the lock."""
    end = time.monotonic() + grace + STOP_MARGIN
    told = None
    while supervisor.supervised(directory):
        state = paths.read_json(directory / "state.json") or {}
        who = state.get("supervisor") if state.get("boot_id") == supervisor.boot_id() else None
        if who is not None and who != told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(who), signal.SIGTERM)
            told = who
        if time.monotonic() > end:
            hint = f"on the host: kill -9 {who}   then run this again" if who is not None else None
            raise AgentError(UNAVAILABLE, f"{name}: its supervisor did not end within {grace + STOP_MARGIN:g} s", hint)
        time.sleep(POLL)


def _stop_orphan(pid: int, grace: float) -> None:
    """Its supervisor was killed: nobody restarts it, and we end it."""
    born = supervisor.process_start(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while time.monotonic() < end and supervisor.process_start(pid) == born:
        time.sleep(POLL)
    if supervisor.process_start(pid) in (born, None):  # else its number is another's by now
        supervisor.kill_group(pid)


def _open(slot: dict[str, Any]) -> int:
    address, port = bind.resolve(slot["address"]), paths.port_number(slot["port"])
    return counting.tally_of(counting.Subject(address, port, "venv", None, None, port)).open


def _holds(session: int, inode: int) -> bool:
    """Whether the replica's processes have this socket: any of them, as workers inherit it."""
    wanted = f"socket:[{inode}]"
    for pid in supervisor.session_members(session):
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):  # ended while we looked
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    if os.readlink(f"{folder}/{name}") == wanted:
                        return True
    return False


def _named(inode: int, port: int) -> tuple[str, str]:
    """Who holds a port, and the command that ends it, or shows it to who may."""
    owner = sockdiag.owner(inode)
    if owner is None:
        return "a process of another user", f"sudo ss -ltnp 'sport = :{port}'"
    return f"process {owner.pid} ({owner.name})", f"kill {owner.pid}"


def _entries(data: bytes) -> Iterator[tuple[float | None, str]]:
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        when, _, text = line.partition(" ")
        yield float(when), text


def _whole_lines(path: Path, position: int) -> bytes:
    with open(str(path), "rb") as file:
        file.seek(position)
        data = file.read(TAIL_BYTES)
    return data[: data.rfind(b"\n") + 1]


class _End(NamedTuple):
    """The last whole lines of a file, which file that was, and where they end in it."""

    data: bytes
    node: int
    position: int


def _end_of(path: Path) -> _End:
    try:
        with open(str(path), "rb") as file:
            status = os.fstat(file.fileno())
            start = max(0, status.st_size - TAIL_BYTES)
            file.seek(start)
            data = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return _End(b"", 0, 0)
    data = data[: data.rfind(b"\n") + 1]
    return _End(data if not start else data.partition(b"\n")[2], status.st_ino, start + len(data))


def _load(directory: Path) -> Replica | None:
    spec = paths.read_json(directory / "spec.json")
    return Replica(directory, spec, paths.read_json(directory / "state.json") or {}) if spec else None


def _directories(app: str) -> list[Path]:
    root = _root(app)
    return sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []


def _directory(app: str, release_id: str, slot: dict[str, Any]) -> Path:
    return _root(app) / paths.replica_name(app, release_id, slot["host"], slot["port"])


def _root(app: str) -> Path:
    return paths.app_dir(app) / "replicas"
