"""Facts for tables: a rollout of two slots a colour in which everything is well, and small words to change it.

`Facts()` is the world just after opening; `at(stage)` moves it along the good path. Nothing here decides anything.
"""

from typing import Any, Literal, get_args

import msgspec

from celadon.core.action import Act, Action, Decision
from celadon.core.decide import decide
from celadon.core.intent import Health, Intent, Requests, Rollout, Timing, Verify
from celadon.core.journal import (
    EMPTY,
    Asked,
    Committed,
    Driving,
    Event,
    Journal,
    Opened,
    Retiring,
    Returning,
    StepDone,
    Warmed,
    fold,
)
from celadon.core.observed import (
    HostFacts,
    HostSight,
    Mode,
    NodeFacts,
    NodeSight,
    Probe,
    PublicSight,
    ReplicaFacts,
    SlotFacts,
    SlotSight,
)
from celadon.core.release import Colour, Release, Slot
from celadon.core.scene import Observed, Scene
from celadon.core.strategy import blue_green

BLUE, GREEN = Colour.BLUE, Colour.GREEN
ACCEPT, BACKUP, REJECT = Mode.ACCEPT, Mode.BACKUP, Mode.REJECT
OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker")
LEFT = Release(app="shop", version="v0", artifact="r/shop@sha256:left", runtime="docker")

OPENED = 1000.0
LONG_AGO = 500.0
NOW = 1200.0
TIMING = Timing()

Stage = Literal[
    "opened",
    "settings",
    "prepared",
    "started",
    "healthy",
    "warm",
    "pilot",
    "raised",
    "shifted",
    "committed",
    "baking",
    "retire",
    "out",
]
ORDER: tuple[str, ...] = get_args(Stage)


def slot(colour: Colour, index: int = 0) -> Slot:
    return Slot(f"{colour.value}-{index}", f"192.168.{128 + (colour is GREEN)}.{10 + index}", 8000)


class Facts:
    """One moment of a rollout; each word changes it and returns it, so that a table reads as sentences."""

    def __init__(self, *, slots: int = 2, ports: tuple[int, ...] = (80,), first: bool = False, **rollout: Any) -> None:
        self.slots = slots
        self.ports = ports
        self.first = first
        self.now = NOW
        self.nodes: dict[int, NodeSight] = {}
        for colour in (BLUE, GREEN):
            for port in ports:
                for index in range(slots):
                    self._add_node(colour, index, port)
        colours = {colour: tuple(slot(colour, index) for index in range(slots)) for colour in (BLUE, GREEN)}
        values: dict[str, Any] = {
            "number": 1,
            "app": "shop",
            "kind": "deploy",
            "candidate": NEW,
            "candidate_colour": GREEN,
            "stable": None if first else OLD,
            "stable_colour": None if first else BLUE,
            "slots": colours,
            "ports": ports,
            "balancer": "web",
            "steps": blue_green((), hold=False),
            "timing": TIMING,
            "health": Health(probe=Probe("/up", "shop.example")),
            "verify": Verify(url="http://shop.example"),
            "floor": dict.fromkeys(ports, 1 if first else slots),
            "baseline": {} if first else {self.id(BLUE, n, port): 100 for n in range(slots) for port in ports},
        }
        self.rollout = Rollout(**(values | rollout))
        self.hosts = {its.host: _host(its) for colour in colours.values() for its in colour}
        if not first:
            for index in range(slots):
                self.replica(BLUE, index, OLD)
        self.requests = Requests()
        self.events: list[Event] = [Opened(at=OPENED), Driving(who="me", fence=1, at=OPENED)]
        self.in_flight: frozenset[Action] = frozenset()
        self.public = PublicSight()

    def _add_node(self, colour: Colour, index: int, port: int) -> None:
        serves = colour is BLUE and not self.first
        id_ = len(self.nodes) + 1
        facts = NodeFacts(
            port,
            port,
            id_,
            f"{colour.value}-{index}",
            slot(colour, index).node_address,
            ACCEPT if serves else REJECT,
            100,
            serves,
        )
        self.nodes[id_] = NodeSight(
            facts=facts, read_at=NOW - 1, since=LONG_AGO, reads=1, was_off=not serves, rose=False
        )

    # -- along the good path -----------------------------------------------------------------------

    def at(self, stage: Stage) -> "Facts":
        """Everything up to and including this stage has happened and was seen."""
        for name in ORDER[: ORDER.index(stage) + 1]:
            getattr(self, f"_{name}", lambda: None)()
        return self

    def _settings(self) -> None:
        for index in range(self.slots):
            self.host(GREEN, index, settings=frozenset({NEW.id}))

    def _prepared(self) -> None:
        for index in range(self.slots):
            self.host(GREEN, index, artifacts=frozenset({NEW.artifact}))

    def _started(self) -> None:
        for index in range(self.slots):
            self.replica(GREEN, index, NEW)

    def _healthy(self) -> None:
        for index in range(self.slots):
            self.sight(GREEN, index, passes=3)

    def _warm(self) -> None:
        for index in range(self.slots):
            self.event(Warmed(slot=slot(GREEN, index).key, replica="1", at=OPENED + 20))

    def _pilot(self) -> None:
        for port in self.ports:
            self.is_(GREEN, 0, port, mode=ACCEPT, weight=1, up=True, asked_at=OPENED + 30, rose=True)

    def _raised(self) -> None:
        for port in self.ports:
            for index in range(self.slots):
                self.is_(GREEN, index, port, mode=ACCEPT, weight=100, up=True, asked_at=OPENED + 50, rose=True)

    def _shifted(self) -> None:
        self.event(StepDone(index=0, at=OPENED + 70))
        self.public = PublicSight(sent=500, passes=9, since=OPENED + 60)
        if not self.first:
            self.all(BLUE, mode=REJECT, weight=1, up=False, asked_at=OPENED + 60)

    def _committed(self) -> None:
        self.event(Committed(at=NOW - 20))

    def _baking(self) -> None:
        self.all(BLUE, mode=BACKUP, weight=100, up=True, asked_at=NOW - 15)

    def _retire(self) -> None:
        self.now = NOW + self.rollout.timing.bake
        self.seen_again()

    def _out(self) -> None:
        self.all(BLUE, mode=REJECT, weight=1, up=False, asked_at=self.now - 70)
        for index in range(self.slots):
            self.sight(BLUE, index, quiet_since=self.now - 30)

    def back(self, at: float = NOW - 5, reason: str = "asked for") -> "Facts":
        return self.event(Returning(reason=reason, at=at))

    def retiring(self) -> "Facts":
        return self.event(Retiring(at=self.now - 1))

    # -- words -----------------------------------------------------------------------------------

    def id(self, colour: Colour, index: int = 0, port: int = 80) -> int:
        address = slot(colour, index).node_address
        return next(id_ for id_, n in self.nodes.items() if (n.facts.port, n.facts.address) == (port, address))

    def is_(self, colour: Colour, index: int = 0, port: int = 80, **seen: Any) -> "Facts":
        """A node as it is seen. `asked_at`: and it was asked for so, and read so ever since."""
        id_ = self.id(colour, index, port)
        node = self.nodes[id_]
        asked_at = seen.pop("asked_at", None)
        facts = {key: value for key, value in seen.items() if key in {"mode", "weight", "up"}}
        sight = {key: value for key, value in seen.items() if key not in facts}
        if facts.keys() & {"mode", "weight"} and asked_at is not None:
            sight.setdefault("since", asked_at + 0.5)
        node = msgspec.structs.replace(node, facts=msgspec.structs.replace(node.facts, **facts), **sight)
        self.nodes[id_] = node
        if asked_at is not None:
            self.asks(colour, index, port, mode=node.facts.mode, weight=node.facts.weight, at=asked_at)
        return self

    def all(self, colour: Colour, **seen: Any) -> "Facts":
        for port in self.ports:
            for index in range(self.slots):
                self.is_(colour, index, port, **seen)
        return self

    def asks(
        self, colour: Colour, index: int = 0, port: int = 80, *, mode: Mode, weight: int = 100, at: float
    ) -> "Facts":
        return self.event(Asked(node=self.id(colour, index, port), mode=mode, weight=weight, at=at))

    def event(self, *events: Event) -> "Facts":
        self.events += events
        return self

    def seen_again(self, read_at: float | None = None) -> "Facts":
        for id_, node in self.nodes.items():
            self.nodes[id_] = msgspec.structs.replace(node, read_at=self.now - 1 if read_at is None else read_at)
        return self

    def replica(self, colour: Colour, index: int, release: Release | None, **changes: Any) -> "Facts":
        its = slot(colour, index)
        facts = SlotFacts(its.key, open=0, opened=0)
        if release is not None:
            running: dict[str, Any] = {"running": True, "restarts": 0, "exit_code": None} | changes
            id_ = running.pop("id", "1")
            facts = SlotFacts(its.key, ReplicaFacts(release.id, id_, **running), listening=True, open=0, opened=5)
        host = self.hosts[its.host]
        slots = host.slots | {its.key: SlotSight(facts=facts, since=self.now - 10)}
        self.hosts[its.host] = msgspec.structs.replace(host, slots=slots)
        return self

    def sight(self, colour: Colour, index: int = 0, **changes: Any) -> "Facts":
        its = slot(colour, index)
        host = self.hosts[its.host]
        facts = {key: changes.pop(key) for key in ("open", "opened") if key in changes}
        sight = host.slots[its.key]
        sight = msgspec.structs.replace(sight, facts=msgspec.structs.replace(sight.facts, **facts), **changes)
        self.hosts[its.host] = msgspec.structs.replace(host, slots=host.slots | {its.key: sight})
        return self

    def host(self, colour: Colour, index: int = 0, **changes: Any) -> "Facts":
        name = slot(colour, index).host
        facts = self.hosts[name].facts
        assert facts is not None
        self.hosts[name] = msgspec.structs.replace(self.hosts[name], facts=msgspec.structs.replace(facts, **changes))
        return self

    def silent(self, colour: Colour, index: int = 0, *, seconds: float, unasked: float = 0.0) -> "Facts":
        """For so long; `unasked`: and nobody has asked it for so long."""
        name = slot(colour, index).host
        self.hosts[name] = msgspec.structs.replace(
            self.hosts[name], lost_since=self.now - seconds, lost_at=self.now - unasked
        )
        return self

    def wants(self, **requests: Any) -> "Facts":
        self.requests = msgspec.structs.replace(self.requests, **requests)
        return self

    # -- what comes of it ----------------------------------------------------------------------------

    @property
    def journal(self) -> Journal:
        return fold(EMPTY, sorted(self.events, key=lambda event: event.at), offset=0.0, now=self.now)

    @property
    def observed(self) -> Observed:
        hosts = {name: self._looked_at(host) for name, host in self.hosts.items()}
        return Observed(
            nodes=self.nodes, hosts=hosts, public=self.public, journal=self.journal, in_flight=self.in_flight
        )

    def _looked_at(self, host: HostSight) -> HostSight:
        """Hosts are looked at once an interval, whatever else is so."""
        return msgspec.structs.replace(host, seen_at=max(host.seen_at or 0.0, self.now - 1))

    @property
    def intent(self) -> Intent:
        return Intent(rollout=self.rollout, requests=self.requests)

    @property
    def scene(self) -> Scene:
        return Scene(self.observed, self.intent, self.now)

    def decide(self) -> Decision:
        return decide(self.observed, self.intent, self.now)

    def actions(self) -> tuple[Action, ...]:
        """What it decides to do; fails where it decides anything else."""
        decision = self.decide()
        assert isinstance(decision, Act), decision
        return decision.actions


def _host(its: Slot) -> HostSight:
    facts = HostFacts(its.host, "boot", 1.7e9, 10**10, 1)
    slots = {its.key: SlotSight(facts=SlotFacts(its.key, open=0, opened=0), since=LONG_AGO)}
    return HostSight(facts=facts, seen_at=NOW - 1, lost_since=None, slots=slots)
