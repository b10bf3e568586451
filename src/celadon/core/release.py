"""What is deployed, and where it listens: releases, colours, slots. Values only."""

import hashlib
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import msgspec

Seconds: TypeAlias = float
"""A length of time. Instants are `Instant`: seconds on one driver's own monotonic clock."""

Instant: TypeAlias = float
"""A moment on one driver's monotonic clock, in seconds. Never compared between two drivers."""

ReleaseId: TypeAlias = str
SlotKey: TypeAlias = str

Runtime = Literal["docker", "venv"]

ID_LENGTH = 10  # 40 bits of SHA-256: a clash among ten thousand releases of one app is 1 in 20,000


class Colour(StrEnum):
    """A named set of slots. Which one is live is derived from the balancer, never stored."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> "Colour":
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE


class Slot(msgspec.Struct, frozen=True, order=True, dict=True):
    """Where one replica listens. `address` is the private one, as the balancer's node names it."""

    host: str
    address: str
    port: int

    @cached_property  # asked for a hundred times in each decision
    def key(self) -> SlotKey:
        """`host:port`: unique within an app, and readable in a log."""
        return f"{self.host}:{self.port}"

    @cached_property
    def node_address(self) -> str:
        """`address:port`: how the balancer knows this slot."""
        return f"{self.address}:{self.port}"


class Release(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """An artifact pinned by content, plus its settings. Immutable: changed settings are a new release."""

    app: str
    version: str  # what the user typed: a tag, a digest, a git revision
    artifact: str  # `registry/name@sha256:…` (docker) or `sha256:…` of the source archive (venv)
    runtime: Runtime
    command: tuple[str, ...] = ()  # empty: the image's own; `{host}`, `{port}`, `{version}` expand on the host
    container_port: int = 0  # docker only: what the process listens on inside; venv listens on the slot's port
    env: tuple[tuple[str, str], ...] = ()  # sorted by name
    secrets: tuple[tuple[str, str], ...] = ()  # (name, keyed fingerprint), sorted; never a value
    stop_timeout: Seconds = 40.0

    @property
    def id(self) -> ReleaseId:
        return _id_of(self)


@lru_cache(maxsize=64)  # asked for many times in each decision, about two releases
def _id_of(release: Release) -> ReleaseId:
    return hashlib.sha256(msgspec.json.encode(release)).hexdigest()[:ID_LENGTH]


def replica_name(app: str, release_id: ReleaseId, slot: Slot) -> str:
    """The one name of a replica: found again by whoever asks for the same release in the same slot."""
    return f"celadon-{app}-{release_id}-{slot.host}-{slot.port}"
