"""How long one decision takes, and how that grows with the nodes. Prints microseconds and ratios; asserts nothing.

python benchmarks/decide.py
"""

import time

import msgspec

from celadon.core.decide import decide
from celadon.core.intent import Health, Intent, Rollout, Timing, Verify
from celadon.core.journal import EMPTY, Asked, Committed, Journal, Opened, StepDone, Warmed, fold
from celadon.core.observed import (
    HostFacts,
    HostSight,
    Mode,
    NodeFacts,
    NodeSight,
    Probe,
    ReplicaFacts,
    SlotFacts,
    SlotSight,
)
from celadon.core.release import Colour, Release, Slot
from celadon.core.scene import Observed
from celadon.core.strategy import blue_green

OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker")
PORTS = (80, 443)


def world(slots: int, phase: str) -> tuple[Observed, Intent, float]:
    """Both colours with `slots` slots each, on two ports: 4 x slots nodes, and everything well."""
    colours = {
        colour: tuple(Slot(f"{colour.value}-{n}", f"192.168.{128 + which}.{n + 1}", 8000) for n in range(slots))
        for which, colour in enumerate(Colour)
    }
    nodes: dict[int, NodeSight] = {}
    asked: list[Asked] = []
    for colour, its in colours.items():
        green = colour is Colour.GREEN
        for port in PORTS:
            for slot in its:
                id_ = len(nodes) + 1
                mode = Mode.ACCEPT if green is (phase == "bake") else (Mode.BACKUP if phase == "bake" else Mode.REJECT)
                facts = NodeFacts(port, port, id_, slot.host, slot.node_address, mode, 100, up=mode is not Mode.REJECT)
                nodes[id_] = NodeSight(facts=facts, read_at=900.0, since=500.0, reads=3, was_off=green, rose=green)
                asked.append(Asked(node=id_, mode=mode, weight=100, at=450.0))
    timing = Timing(bake=10_000.0)
    rollout = Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        candidate_colour=Colour.GREEN,
        stable=OLD,
        stable_colour=Colour.BLUE,
        slots=colours,
        ports=PORTS,
        balancer="balancer",
        steps=blue_green((), hold=False),
        timing=timing,
        health=Health(probe=Probe("/", "shop")),
        verify=Verify(url="http://127.0.0.1"),
        floor=dict.fromkeys(PORTS, slots),
        baseline={
            id_: 100
            for id_, node in nodes.items()
            if node.facts.address in {s.node_address for s in colours[Colour.BLUE]}
        },
    )
    hosts = {
        slot.host: _host(slot, NEW if colour is Colour.GREEN else OLD)
        for colour, its in colours.items()
        for slot in its
    }
    return Observed(nodes=nodes, hosts=hosts, journal=_journal(colours, asked, phase)), Intent(rollout=rollout), 901.0


def _host(slot: Slot, release: Release) -> HostSight:
    replica = ReplicaFacts(release.id, "1", running=True, restarts=0, exit_code=None)
    sight = SlotSight(facts=SlotFacts(slot.key, replica, listening=True, open=0, opened=9), passes=2, since=890.0)
    facts = HostFacts(slot.host, "1", 0.0, 10**10, 1, frozenset({release.id}), frozenset({release.artifact}), ())
    return HostSight(facts=facts, seen_at=900.0, lost_since=None, slots={slot.key: sight})


def _journal(colours: dict[Colour, tuple[Slot, ...]], asked: list[Asked], phase: str) -> Journal:
    journal = fold(EMPTY, [Opened(at=400.0)], offset=0.0, now=901.0)
    if phase == "probe":
        return journal
    warmed = [Warmed(slot=slot.key, replica="1", at=420.0) for slot in colours[Colour.GREEN]]
    return fold(journal, [*warmed, *asked, StepDone(index=0, at=600.0), Committed(at=700.0)], offset=0.0, now=901.0)


def microseconds(slots: int, phase: str) -> float:
    """The best of several runs: the others measure the machine."""
    observed, intent, now = world(slots, phase)
    times = 2000 // slots
    best = float("inf")
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(times):
            decide(observed, intent, now)
        best = min(best, (time.perf_counter() - began) / times)
    return best * 1e6


def main() -> None:
    for phase in ("probe", "bake"):
        observed, intent, now = world(1, phase)
        print(f"{phase}: {msgspec.json.encode(decide(observed, intent, now).because).decode()}")
        base = 0.0
        for slots in (1, 2, 5, 10, 25, 50):
            took = microseconds(slots, phase)
            base = base or took / 4
            print(f"  {4 * slots:3} nodes {took:8.1f} us {took / (4 * slots):6.2f} us a node")


if __name__ == "__main__":
    main()
