"""Images of the Docker Engine: pulled by digest, listed by digest, removed one by one where nobody uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celadon.agent.engine import Engine, EngineError
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED, UNAVAILABLE

PULL = 1800.0  # seconds: a gigabyte at 5 Mbit/s; silence ends it earlier (engine.SILENCE)

# The Engine and registries answer in prose, with whatever status they like: what is said decides.
_MISSING = ("manifest unknown", "name unknown", "not found", "does not exist", "repository name not known")
_DENIED = ("unauthorized", "denied", "authentication required", "no basic auth", "incorrect username or password")
_OTHER_MACHINE = ("no matching manifest", "does not match the specified platform", "no match for platform")
_DISK_FULL = ("no space left on device",)


def pull(engine: Engine, artifact: str, credentials: Mapping[str, str] | None) -> int:
    """Bring `name@sha256:…` here; returns the bytes that came over the network, 0 where it was here already."""
    name, _, digest = artifact.partition("@")
    if not digest.startswith("sha256:"):
        raise AgentError(REFUSED, f"{artifact:.200}: not pinned by a digest", "name@sha256:… is what a release holds")
    if present(engine, artifact):
        return 0
    try:
        moved = _moved(engine.pull(name, digest, credentials, PULL))
    except EngineError as error:
        raise _pull_failed(artifact, error.message, with_credentials=bool(credentials)) from error
    if not present(engine, artifact):
        raise AgentError(UNAVAILABLE, f"{artifact}: pulled, and not there", "run it again")
    return moved


def present(engine: Engine, artifact: str) -> bool:
    try:
        engine.get(f"/images/{artifact}/json")
    except EngineError as error:
        if error.status == 404:
            return False
        raise AgentError(UNAVAILABLE, f"{artifact}: Docker Engine: {error.message}") from error
    return True


def by_digest(engine: Engine) -> list[str]:
    """Every `name@sha256:…` that a container can be made of, under each name people write it with."""
    names = []
    for image in engine.get("/images/json"):
        for reference in image.get("RepoDigests") or ():
            names.extend(_spellings(reference))
    return names


def remove_unused(engine: Engine, references: Iterable[str]) -> None:
    """Take these references off; the Engine frees what no other name and no container holds. Never forced."""
    for reference in references:
        try:
            engine.delete(f"/images/{reference}")
        except EngineError as error:
            if error.status not in (404, 409):  # gone already, or a container still has it
                raise AgentError(UNAVAILABLE, f"{reference}: Docker Engine: {error.message}") from error


def _moved(records: Iterator[Any]) -> int:
    layers: dict[str, int] = {}
    for record in records:
        if record.get("status") == "Downloading":
            progress = record.get("progressDetail") or {}  # the last report of a layer is seldom its end
            layers[str(record.get("id"))] = int(progress.get("total") or progress.get("current") or 0)
    return sum(layers.values())


def _pull_failed(artifact: str, said: str, *, with_credentials: bool) -> AgentError:
    low = said.lower()
    name = artifact.partition("@")[0]
    if any(word in low for word in _DENIED):
        # Docker Hub says "denied" for what does not exist, too: both are named.
        message = "{}: the registry refuses it ({})".format(artifact, "denied" if "denied" in low else "unauthorized")
        hint = "check [registry] username and password" if with_credentials else "private? set [registry]"
        return AgentError(REFUSED, message, hint)
    if any(word in low for word in _OTHER_MACHINE):
        return AgentError(REFUSED, f"{artifact}: not built for this host's kind of processor", _line(said))
    if any(word in low for word in _DISK_FULL):
        return AgentError(REFUSED, f"{artifact}: the disk of Docker is full", "on the host: docker system df")
    if any(word in low for word in _MISSING):
        message = f"{artifact}: not in the registry (manifest unknown)"
        return AgentError(REFUSED, message, f"docker push {name} · private? set [registry]")
    return AgentError(UNAVAILABLE, f"{artifact}: {_line(said)}", "is the registry reachable from the host?")


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _spellings(reference: str) -> list[str]:
    """Docker shortens names of its own registry; a release may hold the long form or the short."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return [reference]
    if slash:
        return [reference, "docker.io/" + reference]
    return [reference, "library/" + reference, "docker.io/library/" + reference]
