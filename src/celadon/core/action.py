"""What can be done, and what `decide` says: do this, look again, wait, stop.

An action is a value: comparing two says whether they are the same deed. Secrets are references until performed.
"""

from typing import Literal

import msgspec

from celadon.core.journal import Event
from celadon.core.observed import Mode
from celadon.core.release import Instant, ReleaseId, Slot


class PutSettings(msgspec.Struct, frozen=True):
    host: str


class PutArtifact(msgspec.Struct, frozen=True):
    host: str


class Start(msgspec.Struct, frozen=True):
    slot: Slot


class WarmUpSlot(msgspec.Struct, frozen=True):
    slot: Slot
    replica: str


class RunCommand(msgspec.Struct, frozen=True):
    """A test or a hook, by its name in the rollout."""

    kind: Literal["test", "hook"]
    name: str


class SetNode(msgspec.Struct, frozen=True):
    """One PUT. `lowers`: it takes the node out of accept, and the serving floor was checked for it."""

    node: int
    port: int
    address: str
    mode: Mode
    weight: int
    lowers: bool = False


class Stop(msgspec.Struct, frozen=True):
    slot: Slot
    release: ReleaseId


class Prune(msgspec.Struct, frozen=True):
    host: str


class Record(msgspec.Struct, frozen=True):
    """Write an event down: a decision that the world itself cannot show."""

    event: Event


Action = PutSettings | PutArtifact | Start | WarmUpSlot | RunCommand | SetNode | Stop | Prune | Record


class Act(msgspec.Struct, frozen=True):
    """Do these, at once and side by side."""

    actions: tuple[Action, ...]
    because: str


class Look(msgspec.Struct, frozen=True):
    """Read these nodes of the balancer now: the next choice needs a fresh answer."""

    nodes: tuple[int, ...]
    because: str


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do before `until` (None: until something changes). Hosts are looked at meanwhile."""

    until: Instant | None
    because: str


Result = Literal["done", "committed", "rolled_back", "failed"]


class Finish(msgspec.Struct, frozen=True):
    """The rollout is over. `failed`: a first deploy that did not work; nothing serves."""

    result: Result
    because: str


class Halt(msgspec.Struct, frozen=True):
    """Stop driving; the rollout stays open. `needs_person`: driving again changes nothing until somebody acts."""

    because: str
    hint: str
    needs_person: bool


Decision = Act | Look | Wait | Finish | Halt
