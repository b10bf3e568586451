"""One app on one world: everything a verb asks for. The command line renders; this drives.

A verb that changes something takes the lease first, or writes a request and follows the driver that has it.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec

from celadon.core.action import Finish, Halt
from celadon.core.intent import Health, Hook, Intent, Requests, Rollout, Timing, Verify
from celadon.core.journal import Event, Journal
from celadon.core.observed import BalancerFacts, HostFacts
from celadon.core.release import Colour, Release, Slot
from celadon.drive.driver import Watcher, silent
from celadon.drive.lease import LeaseFacts
from celadon.ports import World


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says about every rollout of the app, resolved: no label, no secret, no default left open."""

    app: str
    slots: dict[Colour, tuple[Slot, ...]]
    ports: tuple[int, ...]  # empty: all that the balancer has
    balancer: str
    timing: Timing
    health: Health
    verify: Verify
    tests: tuple[Hook, ...] = ()
    hooks: tuple[Hook, ...] = ()
    bake_net: Literal["backup", "reject"] = "backup"
    add_nodes: bool = True
    keep: int = 5
    home: str = ""
    settings_hash: str = ""
    config: bytes = b""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How this one deploy differs from the app's habit."""

    hold: bool = False
    until_commit: bool = False
    repair: bool = False
    plan_id: str = ""  # refuse if the world has changed since that plan


class Change(msgspec.Struct, frozen=True):
    """One line of a plan: what becomes what."""

    what: str
    before: str
    after: str


class PlannedStep(msgspec.Struct, frozen=True):
    name: str
    because: str
    seconds: float


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The good path, as `decide` run forward foresees it. Nothing executes it."""

    plan_id: str
    current: Release | None
    candidate: Release
    candidate_colour: Colour
    changes: tuple[Change, ...]
    steps: tuple[PlannedStep, ...]
    seconds: float
    warnings: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What is, as far as it can be seen. None: it could not be."""

    app: str
    as_of: float  # UTC
    live: Colour | None
    live_because: str
    balancer: BalancerFacts | None
    hosts: dict[str, HostFacts | str]  # a text: why it could not be seen
    intent: Intent | None
    journal: Journal | None
    lease: LeaseFacts | None
    lease_age: float | None  # seconds since its renewal was seen to change; None: not watched for long enough


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a drive ended. `end` None: it was told to stop (Ctrl-C); the rollout stays as it is."""

    intent: Intent
    end: Finish | Halt | None
    journal: Journal
    events: tuple[Event, ...]
    seconds: float


__all__ = [
    "Callable", "Change", "Ending", "Forecast", "Options", "PlannedStep", "Requests", "Rollout", "Status", "Wanted",
    "Watcher", "World", "asyncio", "silent",
]
