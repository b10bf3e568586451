"""What the driver needs from the world. One screen; each Protocol has one conformance suite.

Adapters report and act; they never retry, sleep, log or decide. They raise `Refused`, `Unavailable` or `NoAnswer`
(`core/errors.py`), and every call ends within its deadline. Every effect can be done twice: a second `start`
finds the replica that the first one made. Effects on hosts carry the driver's fence: the host refuses an older one.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from celadon.core.evidence import Tally
from celadon.core.home import HomeFacts, KeptRelease, Seat
from celadon.core.intent import Hook, Rollout
from celadon.core.observed import BalancerFacts, HostFacts, Mode, NodeFacts, Probe, Question
from celadon.core.release import Colour, Release, ReleaseId, Seconds, Slot
from celadon.core.secret import Secret


class Writ(msgspec.Struct, frozen=True):
    """Where an effect goes, and by what right: the host refuses a fence smaller than one it has seen."""

    host: str
    app: str
    fence: int


class Placement(msgspec.Struct, frozen=True):
    """One replica to be: which release, where, in which colour, for which rollout."""

    release: Release
    slot: Slot
    colour: Colour
    rollout: int


class WarmUp(msgspec.Struct, frozen=True):
    """Requests that wake an application up: `requests` in all, spread over `paths`. Their answers are not judged."""

    slot: Slot
    paths: tuple[str, ...]
    requests: int
    probe: Probe


class Hosts(Protocol):
    """The machines, by the names the config gives them. One connection and one agent a host a command."""

    async def look(self, host: str, question: Question) -> HostFacts: ...

    async def raise_fence(self, writ: Writ) -> None:
        """From its answer on, the host refuses every effect with a smaller fence (`LeaseLost`)."""

    async def put_settings(self, writ: Writ, release: Release, secrets: Mapping[str, Secret]) -> None:
        """The env file (0600): the release's env and its secrets' values."""

    async def put_artifact(self, writ: Writ, release: Release) -> int:
        """Image pulled by digest, or archive unpacked and its environment made. Returns bytes moved."""

    async def start(self, writ: Writ, placement: Placement) -> None:
        """Settings and artifact must be there. Refuses a slot that a foreign occupant holds; never stops it."""

    async def stop(self, writ: Writ, release: ReleaseId, slot: Slot, grace: Seconds) -> int | None:
        """SIGTERM, and SIGKILL after `grace`; returns how many connections were open at SIGTERM; None: unknown."""

    async def warm_up(self, host: str, warm_up: WarmUp) -> None: ...

    async def prune(self, writ: Writ, keep: frozenset[ReleaseId]) -> None:
        """Remove settings, artifacts and stopped replicas of the app's other releases on this host."""

    async def tail(self, host: str, app: str, release: ReleaseId, slot: Slot, lines: int) -> tuple[str, ...]:
        """The replica's last log lines, oldest first, running or not."""


class Balancer(Protocol):
    """One NodeBalancer. An answer to a change says that it was taken, not that it applies."""

    async def read(self) -> BalancerFacts:
        """Everything, by the paginated lists (200 a minute): once, when a rollout opens or is taken over."""

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        """One node by its id (1,600 a minute). None: it is gone."""

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None: ...

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        """In mode reject, always. After `NoAnswer`, read before trying again."""


class Store(Protocol):
    """The app's home: lease, intent, journal, releases. JSON bytes in and out; the driver knows their meaning."""

    async def read_lease(self) -> bytes | None: ...

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        """Compare and swap; False: it is not `old` any more."""

    async def read_intent(self) -> bytes | None: ...

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool: ...

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        """Events from number `start` on."""

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        """Durable when it returns. `start` is the number of the first: written twice is written once.

        Raises LeaseLost where a larger fence was seen, or where another event already has the number.
        """

    async def rollouts(self) -> Sequence[int]: ...

    async def read_adopted(self) -> bytes | None:
        """What this home was told of the time before it, where it replaced a lost one."""


class KeyedStore(Store, Protocol):
    """With the key of the secrets' fingerprints: one an app, so that every teammate's release is the same one."""

    async def read_key(self) -> bytes | None: ...

    async def swap_key(self, old: bytes | None, new: bytes) -> bool: ...


class Homes(Protocol):
    """The hosts as places where the app's store may be: for finding it, moving it, and replacing a lost one.

    Every effect is idempotent. A store that is not the home (any more) answers `NotHome` to everything.
    """

    async def facts(self, host: str) -> HomeFacts: ...

    def store(self, host: str) -> KeyedStore: ...

    async def claim(self, host: str, seat: Seat, fence: int) -> None:
        """The host remembers where the home is; `NotHome` where it knows of a newer one, or another of this rank.

        With a fence: from the answer on it refuses every effect with a smaller one.
        """

    async def begin(self, host: str, seat: Seat, fence: int) -> None:
        """A copy is about to come; what an earlier attempt left is removed."""

    async def receive(self, host: str, seat: Seat, fence: int, name: str, document: bytes) -> None: ...

    async def receive_events(
        self, host: str, seat: Seat, fence: int, rollout: int, start: int, events: Sequence[bytes]
    ) -> None: ...

    async def seal(self, host: str, seat: Seat, fence: int) -> str:
        """The copy is whole. Its digest, as read back from where it was written."""

    async def digest(self, host: str) -> str:
        """Of what the home keeps, leases apart."""

    async def leave(self, host: str, seat: Seat, fence: int, lease: bytes, digest: str) -> bool:
        """The home has moved, in one write. False: something was written since it had that digest."""

    async def open(self, host: str, seat: Seat) -> None:
        """Open the copy that arrived. Only after the old home has left."""

    async def found(self, host: str, seat: Seat, fence: int, lease: bytes, adopted: bytes) -> None:
        """Begin a new epoch here."""

    async def releases(self, host: str) -> Sequence[KeptRelease]: ...


class Clock(Protocol):
    """Time and chance: the only place that reads them."""

    def now(self) -> float:
        """Monotonic, seconds."""

    def utc(self) -> float:
        """Seconds since 1970."""

    async def sleep(self, seconds: Seconds) -> None: ...


class Verifier(Protocol):
    """Requests through the users' door for the whole drive, on a clock, never waiting for answers."""

    def begin(self, rollout: Rollout) -> None:
        """Start asking, on behalf of this rollout. A first deploy is counted from its first good answer."""

    def take(self) -> Tally: ...

    async def close(self) -> None: ...


class CommandResult(msgspec.Struct, frozen=True):
    ok: bool
    lines: tuple[str, ...]  # the last of its output


class Commands(Protocol):
    """Runs the operator's own tests and hooks on the driver's machine, as argument lists."""

    async def run(self, command: Hook, rollout: Rollout, *, test: bool) -> CommandResult: ...


class SecretSource(Protocol):
    """Where a release's secret values come from; asked only when a host lacks them."""

    def values(self, release: Release) -> Mapping[str, Secret]:
        """Raises Refused, naming what has no value or another value than the release was opened with."""


class World(msgspec.Struct, frozen=True):
    """Everything a driver may touch."""

    hosts: Hosts
    balancer: Balancer
    store: Store
    clock: Clock
    verifier: Verifier
    commands: Commands
    secrets: SecretSource
