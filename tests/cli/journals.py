"""Journals of rollouts as a driver writes them, at real paces: for what is read from them."""

import math

import msgspec

from celadon.core.evidence import Latency
from celadon.core.intent import Health, Rollout, Timing, Verify
from celadon.core.journal import (
    Asked,
    CommandFinished,
    CommandStarted,
    Committed,
    Driving,
    Event,
    Finished,
    Noted,
    Opened,
    Pruned,
    Retiring,
    Returning,
    Started,
    StepDone,
    Stopped,
    Verified,
    Warmed,
)
from celadon.core.observed import Mode, Probe
from celadon.core.release import Colour, Release, ReleaseId, Slot
from celadon.core.strategy import blue_green

BEGAN = 1_790_000_000.0
SLOTS: dict[Colour, tuple[Slot, ...]] = {
    Colour.BLUE: (Slot("blue-app-01", "192.168.130.11", 5000), Slot("blue-app-02", "192.168.130.12", 5000)),
    Colour.GREEN: (Slot("green-app-01", "192.168.130.21", 5000), Slot("green-app-02", "192.168.130.22", 5000)),
}


def release(version: str) -> Release:
    artifact = f"ghcr.io/acme/hello@sha256:{version.encode().hex():0<64}"
    return Release(app="hello", version=version, artifact=artifact, runtime="docker", container_port=5000)


def rollout(old: str = "v1.0.0", new: str = "v1.1.0") -> Rollout:
    return Rollout(
        number=14,
        app="hello",
        kind="deploy",
        candidate=release(new),
        candidate_colour=Colour.GREEN,
        stable=release(old),
        stable_colour=Colour.BLUE,
        slots=SLOTS,
        ports=(80,),
        balancer="app-nodebalancer",
        steps=blue_green(("smoke",), hold=False),
        timing=Timing(),
        health=Health(probe=Probe("/", "myapp.example.com")),
        verify=Verify(url="http://myapp.example.com/", contains="{version}"),
        settings_hash="4be19c02d7aa31e0",
        opened_by="ada@laptop",
        opened_utc=BEGAN,
        celadon="0.1.0",
    )


class Diary:
    """Writes a journal, second by second. Requests are counted from one entry to the next."""

    def __init__(self, of: Rollout) -> None:
        self.rollout = of
        self.now = 0.0
        self.events: list[Event] = []

    def write(self, at: float, *events: Event) -> None:
        self.now = at
        self.events += [msgspec.structs.replace(event, at=BEGAN + at) for event in events]

    def count(self, until: float, share: float, *, failed: int = 0, slow: float = 1.0, unproven: int = 0) -> None:
        """`share` of the good answers are the candidate's; an entry every 5 seconds."""
        stable = self.rollout.stable
        while self.now < until:
            at = min(self.now + 5.0, until)
            sent = round((at - self.now) * 5)
            good = sent - failed - unproven
            new = round(good * share)
            served: dict[ReleaseId, int] = {}
            if new:
                served[self.rollout.candidate.id] = new
            if good - new and stable is not None:
                served[stable.id] = good - new
            times = [slow * (0.012 + 0.004 * math.sin(at + n) ** 2 + (0.03 if n == 7 else 0.0)) for n in range(good)]
            one = Verified(
                sent=sent,
                failed=failed,
                failed_on_candidate=failed,
                served=served,
                unproven=unproven,
                latency=Latency().add(times),
            )
            self.write(at, one)
            failed = 0


def _opening(diary: Diary) -> None:
    slots = SLOTS[Colour.GREEN]
    diary.write(0.0, Opened(rollout=msgspec.Raw(msgspec.json.encode(diary.rollout))))
    diary.write(0.1, Driving(who="ada@laptop", fence=31))
    diary.count(9.0, 0.0)
    diary.write(9.0, *(Started(slot=slot.key, because="the candidate is not running there") for slot in slots))
    diary.count(15.0, 0.0)
    diary.write(15.0, *(Warmed(slot=slot.key, replica="r", because="3 probes passed") for slot in slots))
    diary.write(15.2, CommandStarted(kind="test", name="smoke", because="the candidate is healthy: tests first"))
    diary.count(21.0, 0.0)
    diary.write(
        21.0, CommandFinished(kind="test", name="smoke", ok=True), StepDone(index=0, because="step 1 of 2 is done")
    )


def _asked(slot: Slot, mode: Mode, weight: int, because: str) -> Asked:
    return Asked(node=1, mode=mode, weight=weight, port=80, address=slot.node_address, because=because)


def _shift(diary: Diary) -> None:
    (one, two), (old, older) = SLOTS[Colour.GREEN], SLOTS[Colour.BLUE]
    diary.write(21.2, _asked(one, Mode.ACCEPT, 1, "one candidate node first, at weight 1"))
    diary.count(33.0, 0.02)
    because = "the first is UP in the serving config"
    diary.write(33.0, _asked(one, Mode.ACCEPT, 100, because), _asked(two, Mode.ACCEPT, 100, because))
    diary.count(41.0, 0.5)
    because = "the candidate is UP everywhere: stable out"
    diary.write(41.0, _asked(old, Mode.REJECT, 100, because), _asked(older, Mode.REJECT, 100, because))
    diary.count(45.0, 0.8)


def good() -> tuple[Rollout, list[Event]]:
    diary = Diary(rollout())
    _opening(diary)
    _shift(diary)
    diary.count(101.0, 1.0)
    lag = Noted(text="stable met its last request 4.2 s after the API took it out", data={"switch_lag_s": 4.2})
    diary.write(101.0, lag, Committed(because="all traffic is confirmed on the candidate"))
    for slot in SLOTS[Colour.BLUE]:
        diary.write(101.2, _asked(slot, Mode.BACKUP, 100, "stable is the net while it bakes"))
    diary.count(401.0, 1.0)
    for slot in SLOTS[Colour.BLUE]:
        diary.write(401.2, _asked(slot, Mode.REJECT, 100, "the bake is over: stable out"))
    diary.count(462.0, 1.0)
    none_open = {slot.key: 0 for slot in SLOTS[Colour.BLUE]}
    diary.write(462.0, Noted(text="connections open on stable: none", data={"open_at_retire": none_open}))
    diary.write(462.0, Retiring(because="stable is out of the balancer and quiet"))
    for slot in SLOTS[Colour.BLUE]:
        diary.write(464.0, Stopped(slot=slot.key, release=release("v1.0.0").id, cut=0, because="stop blue"))
    diary.write(465.0, *(Pruned(host=slot.host, because="tidy") for its in SLOTS.values() for slot in its))
    diary.write(466.0, Finished(result="done", reason="v1.1.0 serves, and v1.0.0 is retired"))
    return diary.rollout, diary.events


def bad() -> tuple[Rollout, list[Event]]:
    """The candidate fails users, the first driver dies, a second one takes everything back."""
    diary = Diary(rollout())
    _opening(diary)
    _shift(diary)
    diary.count(70.0, 1.0, failed=2, slow=4.0)
    diary.write(120.0, Driving(who="ci@runner-7", fence=32))
    diary.count(126.0, 1.0, failed=3, slow=6.0, unproven=5)
    diary.write(126.0, Returning(reason="users' requests failed on the candidate (5 of 25)", because="5 failed"))
    for slot in SLOTS[Colour.BLUE]:
        diary.write(126.2, _asked(slot, Mode.ACCEPT, 100, "stable first"))
    diary.count(138.0, 0.5, slow=3.0)
    for slot in SLOTS[Colour.GREEN]:
        diary.write(138.2, _asked(slot, Mode.REJECT, 100, "stable is UP: candidate out"))
    diary.count(205.0, 0.0)
    for slot, cut in zip(SLOTS[Colour.GREEN], (1, None), strict=True):
        diary.write(205.0, Stopped(slot=slot.key, release=release("v1.1.0").id, cut=cut, because="stop green"))
    diary.write(206.0, Finished(result="rolled_back", reason="users' requests failed on the candidate (5 of 25)"))
    return diary.rollout, diary.events
