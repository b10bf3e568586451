"""The runtime `docker`: replicas as containers of this host's Docker Engine.

Everything it makes carries labels (app, release, rollout, colour, host, port), and it touches nothing without them.
Hosts of a lab share one Engine, so the host's name is part of every search. Nothing here retries or decides.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from celadon.agent import bind, container_log, counting, images, paths, settings, sockdiag
from celadon.agent.engine import Engine, EngineError
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG, REFUSED, UNAVAILABLE

Json = dict[str, Any]

CONTAINER_PORT = "celadon.container_port"  # kept on the container: what to count, with no release file needed
LOG_LIMITS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
KILLED = 128 + 9  # the exit code of a process that SIGKILL ended
STOP_MARGIN = 60.0  # seconds for the Engine to kill, unmount and answer after the grace


class Docker:
    """One host's Engine. `resolve`: the address to bind for a private one; `environment`: a placement's variables."""

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        resolve: Callable[[str], str] = bind.resolve,
        environment: Callable[[str, Json], Mapping[str, str]] = settings.replica_environment,
    ) -> None:
        self.engine = engine or Engine()
        self._resolve = resolve
        self._environment = environment

    def facts(self, app: str, question: Json) -> Json:
        """What is in a slot. Whoever runs there is shown, also where another release was asked for.

        `replica`, `foreign` and `remedy` (the command that removes it), `listening` (the replica, inside its container:
        something else than its port being published), `pid` (its init process), `container_port` (what to count; None
        with `pid`), `note` (why it is not well, in one line: OOM, the Engine's own error).
        """
        slot = question["slot"]
        found = _foremost(self._ours(app, slot), question.get("release"))
        foreign = None if found is not None and _runs(found) else self._occupant(app, slot)
        if found is None:
            return _vacant(foreign)
        pid = int(found["State"].get("Pid") or 0) or None
        inner_port = int(_labels(found)[CONTAINER_PORT])
        return {
            "replica": _replica(found),
            "foreign": foreign[0] if foreign else None,
            "remedy": foreign[1] if foreign else "",
            "listening": _listens(pid, inner_port) if _runs(found) and pid else foreign is not None,
            "pid": pid,
            "container_port": inner_port if pid else None,
            "note": _note(found),
        }

    def artifacts(self, app: str) -> list[str]:
        """Images that a container can be made of, by digest. The Engine does not know apps: all of them."""
        paths.app_name(app)
        with translated("images"):
            return images.by_digest(self.engine)

    def put_artifact(
        self, app: str, release: Json, body: object = None, credentials: Mapping[str, str] | None = None
    ) -> int:
        """Pull by digest; returns bytes moved, as far as the Engine reports them (it may skip a tiny layer).

        `credentials` (username, password) are for this pull alone. `body` is there because every runtime is called
        alike; an image comes from its registry.
        """
        del body
        paths.app_name(app)
        return images.pull(self.engine, release["artifact"], credentials)

    def start(self, app: str, placement: Json) -> None:
        """One container of this name runs when it returns. A second call finds the first one's.

        A stopped container of the same name is removed and made afresh: its labels are of an older rollout, its
        environment of older secrets, and its file system may hold what killed it.
        """
        slot, release = placement["slot"], placement["release"]
        name = paths.replica_name(app, release["id"], slot["host"], slot["port"])
        there = self.inspect(name)
        if there is not None and not _belongs(there, app, slot, release["id"]):
            message = f"{name}: a container that Celadon did not make has this name"
            raise AgentError(REFUSED, message, f"on the host: docker rm -f {name}   then run this again")
        if there is not None and _occupies(there):
            return
        address = self._resolve(slot["address"])
        self._refuse_occupied(app, slot)
        if there is not None:
            self.remove(there["Id"])
        self.create(name, self.recipe(app, placement, address))

    def stop(self, app: str, release_id: str, slot: Json, grace: float) -> int | None:
        """The image's stop signal (SIGTERM), SIGKILL after `grace`; returns connections open just before.

        0: there was nothing to stop. None: it ran, and could not be counted. The container is kept, for its log.
        Stopped so, it stays stopped when the Engine restarts (`unless-stopped`), also where it had exited before.
        """
        name = paths.replica_name(app, release_id, slot["host"], slot["port"])
        there = self.inspect(name)
        if there is not None and not _belongs(there, app, slot, release_id):
            if not _occupies(there):
                return 0
            raise AgentError(REFUSED, f"{name}: a container that Celadon did not make has this name")
        if there is not None and not _occupies(there):
            self._keep_down(there["Id"], name)
            there = self.inspect(name)  # an Engine that is restarting may have been quicker
        if there is None or not _occupies(there):
            return 0
        pid = int(there["State"].get("Pid") or 0)
        is_open = counting.open_now(pid, int(_labels(there)[CONTAINER_PORT])) if pid else 0
        patience = max(0, math.ceil(grace))
        with translated(name):
            path = "/containers/{}/stop".format(there["Id"])
            self.engine.post(path, {"t": str(patience)}, seconds=patience + STOP_MARGIN)
        after = self.inspect(name)
        if after is not None and _occupies(after):
            raise AgentError(UNAVAILABLE, f"{name}: still runs after SIGKILL", "on the host: docker ps; dmesg")
        return is_open

    def _keep_down(self, container: str, name: str) -> None:
        """To the Engine a stop of what has exited is nothing: it would start it again when it restarts itself."""
        with unless(name, 404):
            self.engine.post(f"/containers/{container}/update", body={"RestartPolicy": {"Name": "no"}})

    def prune(self, app: str, keep: Sequence[str], host: str, artifacts: Sequence[str] = ()) -> None:
        """Remove this app's and this host's stopped containers of other releases, and their images.

        `artifacts`: images of releases that the host no longer keeps and that never had a container here. An image
        that any container has, or another name holds, stays. A running container is never touched.
        """
        old_images = set(artifacts)
        for container in self._labelled(app, host):
            if _labels(container)["celadon.release"] not in keep and not _occupies(container):
                self.remove(container["Id"])
                old_images.add(container["Config"]["Image"])
        # Asked for here: the Engine protects an image, not a name of it, and a replica starts by its name.
        with translated(app):
            in_use = {entry["Image"] for entry in self.engine.get("/containers/json", {"all": "1"})}
        images.remove_unused(self.engine, sorted(old_images - in_use))

    def tail(self, app: str, release_id: str, slot: Json, lines: int) -> list[str]:
        """The last log lines, oldest first, running or not; then the Engine's word on why it did not run."""
        name = paths.replica_name(app, release_id, slot["host"], slot["port"])
        there = self.inspect(name)
        if there is None or not _belongs(there, app, slot, release_id):
            return []
        with translated(name):
            texts = list(container_log.lines(self.engine.logs(there["Id"], lines)))
        return (texts + [note for note in (_note(there),) if note])[-lines:] if lines > 0 else []

    def log(
        self, app: str, release_id: str, slot: Json, lines: int, cancelled: threading.Event | None = None
    ) -> Iterator[container_log.Entry]:
        """The last log lines with times; with `cancelled`, also what comes, until it is set or the replica ends."""
        name = paths.replica_name(app, release_id, slot["host"], slot["port"])
        there = self.inspect(name)
        if there is None or not _belongs(there, app, slot, release_id):
            return
        with translated(name):
            if cancelled is None:
                frames = self.engine.logs(there["Id"], lines, timestamps=True)
            else:
                frames = self.engine.follow(there["Id"], lines, cancelled)
            yield from container_log.entries(frames)

    # How containers are made and found.

    def create(self, name: str, recipe: Json) -> str:
        """A container of this recipe, started; its id."""
        with translated(name):
            made: str = self.engine.post("/containers/create", {"name": name}, recipe)["Id"]
            self._run(made, name)
        return made

    def recipe(self, app: str, placement: Json, address: str) -> Json:
        slot, release = placement["slot"], placement["release"]
        inner_port = int(release.get("container_port") or slot["port"])
        inner = f"{inner_port}/tcp"
        recipe: Json = {
            "Image": release["artifact"],
            "Env": ["{}={}".format(*item) for item in sorted(self._environment(app, placement).items())],
            "Labels": {
                "celadon.app": app,
                "celadon.release": release["id"],
                "celadon.rollout": str(placement["rollout"]),
                "celadon.colour": placement["colour"],
                "celadon.host": slot["host"],
                "celadon.port": str(slot["port"]),
                CONTAINER_PORT: str(inner_port),
            },
            "ExposedPorts": {inner: {}},
            "StopTimeout": math.ceil(release["stop_timeout"]),
            "HostConfig": {
                "PortBindings": {inner: [{"HostIp": address, "HostPort": str(slot["port"])}]},
                "RestartPolicy": {"Name": "unless-stopped"},
                "LogConfig": LOG_LIMITS,
            },
        }
        if release.get("command"):
            recipe["Cmd"] = [_expanded(word, inner_port, release["version"]) for word in release["command"]]
        return recipe

    def _run(self, container: str, name: str) -> None:
        try:
            self.engine.post(f"/containers/{container}/start", seconds=120.0)
        except EngineError as error:
            self.remove(container)  # it never ran: kept, it would be taken for a replica that died
            said = " ".join(error.message.split())[:300]
            if "already in use" in said or "already allocated" in said:
                raise AgentError(REFUSED, f"{name}: its port is taken: {said}", "on the host: ss -ltnp") from error
            if error.status < 500 or "OCI runtime" in said or "exec:" in said:
                hint = "check `command` in the config, and the image's own ENTRYPOINT and CMD"
                raise AgentError(REFUSED, f"{name}: does not start: {said}", hint) from error
            raise

    def inspect(self, container: str) -> Json | None:
        try:
            found: Json = self.engine.get("/containers/{}/json".format(quote(container, safe="")))
        except EngineError as error:
            if error.status == 404:
                return None
            raise AgentError(UNAVAILABLE, f"{container}: Docker Engine: {error.message}") from error
        return found

    def remove(self, container: str, *, force: bool = False) -> None:
        """Takes its anonymous volumes along: nobody else can. Not forced, the Engine itself refuses where it runs.

        `force`: running or not; for what is ours alone, and never for a replica.
        """
        try:
            self.engine.delete(f"/containers/{container}", {"v": "1", **({"force": "1"} if force else {})})
        except EngineError as error:
            going_already = error.status == 409 and "in progress" in error.message
            if error.status != 404 and not going_already:
                raise AgentError(UNAVAILABLE, f"{container[:12]}: Docker Engine: {error.message}") from error

    def signal(self, container: str, name: str) -> None:
        """One that has ended meanwhile needs none."""
        with unless(container[:12], 404, 409):
            self.engine.post(f"/containers/{container}/kill", {"signal": name})

    def _labelled(self, app: str, host: str, port: int | None = None) -> Iterator[Json]:
        labels = ["celadon.app=" + app, "celadon.host=" + host]
        if port is not None:
            labels.append(f"celadon.port={port}")
        with translated(app):
            listed = self.engine.get("/containers/json", {"all": "1", "filters": json.dumps({"label": labels})})
        for entry in listed:
            found = self.inspect(entry["Id"])
            if found is not None and CONTAINER_PORT in _labels(found):
                yield found

    def _ours(self, app: str, slot: Json) -> list[Json]:
        return list(self._labelled(app, slot["host"], int(slot["port"])))

    def _refuse_occupied(self, app: str, slot: Json) -> None:
        for other in self._ours(app, slot):
            if _occupies(other):
                release = _labels(other)["celadon.release"]
                message = f"{_where(slot)}: release {release} still runs there"
                raise AgentError(REFUSED, message, "it is stopped by the rollout that retires it")
        occupant = self._occupant(app, slot)
        if occupant is not None:
            who, remedy = occupant
            raise AgentError(REFUSED, f"{_where(slot)} is held by {who}", f"on the host: {remedy}")

    def _occupant(self, app: str, slot: Json) -> tuple[str, str] | None:
        """Who holds the slot's port and is none of this app's replicas there, and the command that removes it."""
        address, port = self._resolve(slot["address"]), int(slot["port"])
        with translated(slot["host"]):
            running = self.engine.get("/containers/json", {"filters": json.dumps({"publish": [str(port)]})})
        for entry in running:
            if _publishes(entry, address, port) and not _is_replica(entry.get("Labels") or {}, app, slot):
                name = entry["Names"][0].lstrip("/")
                return "container {} ({})".format(name, entry["Image"]), f"docker rm -f {name}"
        if any(_publishes(entry, address, port) for entry in running):
            return None  # our own: the listener below is its proxy
        row = sockdiag.listener(address, port)
        if row is None:
            return None
        holder = sockdiag.owner(row.inode)
        if holder is None:
            return "a process of another user", f"sudo ss -ltnp 'sport = :{port}'"
        return f"process {holder.name} (pid {holder.pid})", f"kill {holder.pid}"


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """What an Engine's error means where nothing better is known."""
    try:
        yield
    except EngineError as error:
        said = " ".join(error.message.split())[:300]
        if error.status == 404:
            raise AgentError(REFUSED, f"{what}: {said}", "is the image on the host?") from error
        if error.status == 400:
            raise AgentError(BUG, f"{what}: Docker Engine does not accept: {said}") from error
        raise AgentError(UNAVAILABLE, f"{what}: Docker Engine: {said}", "run it again") from error


@contextlib.contextmanager
def unless(what: str, *statuses: int) -> Iterator[None]:
    """An Engine's error is one, unless it says that there is nothing left to do."""
    try:
        yield
    except EngineError as error:
        if error.status not in statuses:
            raise AgentError(UNAVAILABLE, f"{what}: Docker Engine: {error.message}", "run it again") from error


def _where(slot: Json) -> str:
    return "{}:{}".format(slot["host"], slot["port"])


def _labels(container: Json) -> dict[str, str]:
    return container["Config"].get("Labels") or {}


def _is_replica(labels: Mapping[str, str], app: str, slot: Json) -> bool:
    return (
        labels.get("celadon.app") == app
        and labels.get("celadon.host") == slot["host"]
        and labels.get("celadon.port") == str(slot["port"])
    )


def _belongs(container: Json, app: str, slot: Json, release_id: str) -> bool:
    labels = _labels(container)
    return _is_replica(labels, app, slot) and labels.get("celadon.release") == release_id and CONTAINER_PORT in labels


def _occupies(container: Json) -> bool:
    """Up, or about to be: also between two runs of a crash loop."""
    state = container["State"]
    return bool(state["Running"] or state.get("Restarting"))


def _runs(container: Json) -> bool:
    state = container["State"]
    return bool(state["Running"]) and not state.get("Restarting")


def _never_ran(container: Json) -> bool:
    """Made, and not started: what a crash between the two leaves. The Engine shows an exit code of 0 then."""
    return str(container["State"]["StartedAt"]).startswith("0001-")


def _foremost(containers: list[Json], release_id: str | None) -> Json | None:
    """Who is up, else the one asked for, else the newest."""

    def rank(container: Json) -> tuple[bool, bool, str]:
        asked = _labels(container)["celadon.release"] == release_id
        return _occupies(container), asked, str(container["Created"])

    return max(containers, key=rank, default=None)


def _replica(container: Json) -> Json:
    state, labels = container["State"], _labels(container)
    return {
        "release": labels["celadon.release"],
        "id": "{}@{}".format(container["Id"][:12], state["StartedAt"]),  # the Engine's restarts keep the container's id
        "running": _runs(container),
        "restarts": int(container.get("RestartCount") or 0),
        "exit_code": None if _runs(container) or _never_ran(container) else int(state["ExitCode"]),
        "colour": labels.get("celadon.colour", ""),
        "rollout": int(labels.get("celadon.rollout") or 0),
    }


def _note(container: Json) -> str:
    state = container["State"]
    if state.get("OOMKilled"):
        return "killed by the kernel: out of memory"
    if not _runs(container) and int(state["ExitCode"]) == KILLED:  # the kernel's word can be lost on a busy machine
        return "killed (signal 9), by the kernel for want of memory or by a stop: the Engine does not know"
    return " ".join(str(state.get("Error") or "").split())[:300]


def _vacant(foreign: tuple[str, str] | None) -> Json:
    return {
        "replica": None,
        "foreign": foreign[0] if foreign else None,
        "remedy": foreign[1] if foreign else "",
        "listening": foreign is not None,
        "pid": None,
        "container_port": None,
        "note": "",
    }


def _listens(pid: int, port: int) -> bool:
    """A listener on the container's loopback alone is out of everybody's reach: it does not count."""
    try:
        found = sockdiag.rows(port, pid, (sockdiag.LISTEN,))
        return any(not sockdiag.is_loopback(row.address) for row in found)
    except OSError:  # it ended meanwhile
        return False


def _publishes(entry: Json, address: str, port: int) -> bool:
    for published in entry.get("Ports") or ():
        if published.get("PublicPort") != port or published.get("Type") != "tcp":
            continue
        ip = published.get("IP") or "0.0.0.0"
        if ip == address or sockdiag.is_wildcard(ip):
            return True
    return False


def _expanded(word: str, port: int, version: str) -> str:
    """`{host}` is every interface of the container, which has none but its own; other braces are the user's."""
    return word.replace("{host}", "0.0.0.0").replace("{port}", str(port)).replace("{version}", version)


# The agent takes runtimes as modules (`runtimes.py`). Nothing is connected to before the first question.
here = Docker()
facts, artifacts, put_artifact = here.facts, here.artifacts, here.put_artifact
start, stop, prune, tail, log = here.start, here.stop, here.prune, here.tail, here.log
