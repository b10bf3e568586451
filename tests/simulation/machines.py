"""What a simulated world is made of: replicas on hosts, and nodes whose changes are on their way. State only."""

from dataclasses import dataclass, field
from heapq import heappop

import msgspec

from celadon.core.observed import Mode
from celadon.core.release import ReleaseId


class Behaviour(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a release is like, once started."""

    ready_after: float = 2.0
    dies_after: float = float("inf")
    fails: float = 0.0  # share of requests answered with an error
    stays_dead: bool = False  # it dies once, and is never ready again


@dataclass
class Replica:
    release: ReleaseId
    serial: int
    ready_at: float
    dies_at: float
    restarts: int = 0
    restarted_at: float = -1e9
    signalled: bool = False
    open: list[tuple[float, float]] = field(default_factory=list)  # (ends, began) of the requests under way
    opened: int = 0
    warm: bool = False
    probed: int = 0  # probes that this run of it passed

    @property
    def id(self) -> str:
        return f"{self.serial}-{self.restarts}"

    def count(self, now: float) -> int:
        while self.open and self.open[0][0] <= now:
            heappop(self.open)
        return len(self.open)


@dataclass
class Host:
    name: str
    boots: int = 1
    alive: bool = True
    fence: int = 0
    settings: set[str] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)
    replicas: dict[str, Replica] = field(default_factory=dict)


@dataclass
class Change:
    """One PUT on its way to the data plane."""

    at: float
    mode: Mode
    weight: int
    decided_at: float  # what died since could not be known: a decision is written down before it is sent
    ours: bool


@dataclass
class Node:
    id: int
    port: int
    address: str
    mode: Mode = Mode.REJECT
    weight: int = 1
    applied: Mode = Mode.REJECT  # what the data plane does
    applied_weight: int = 1
    changes: list["Change"] = field(default_factory=list)
    before: tuple[Mode, int, bool | None, float] | None = None  # what a stale read shows, and until when
    up: bool | None = False
    streak: int = 0
    calls: int = 0
    lost_by: Change | None = None  # what took it away from users, where that was a change
