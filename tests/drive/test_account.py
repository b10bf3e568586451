"""The verifier's counts on their way into the journal: bounded, and on the right side of each border."""

import msgspec
from tests.cli.journals import rollout

from celadon.core.action import Record, SetNode
from celadon.core.evidence import Latency, Tally
from celadon.core.intent import Rollout
from celadon.core.journal import Committed, Noted, Retiring, Verified
from celadon.core.observed import HostSight, Mode, ReplicaFacts, SlotFacts, SlotSight
from celadon.drive.account import REPORT_EVERY, Account

LOWER = SetNode(node=1, port=80, address="192.168.130.11:5000", mode=Mode.REJECT, weight=100, lowers=True)


class Told:
    """A verifier that has seen what it is told."""

    def __init__(self) -> None:
        self.new = Tally()

    def begin(self, of: Rollout) -> None:
        """It asks nothing."""

    def take(self) -> Tally:
        new, self.new = self.new, Tally(passes=self.new.passes, since=self.new.since)
        return new

    async def close(self) -> None:
        """Nothing is open."""


def account() -> tuple[Account, Told]:
    told = Told()
    return Account(told, rollout(), 0.0), told


def entries(seconds: int, *, failed: int = 0) -> int:
    """How many entries a driver writes that waits for so long."""
    one, told = account()
    written = 0
    for now in range(seconds):
        told.new = Tally(sent=5, failed=failed)
        one.take()
        if one.due(float(now)):
            written += len(one.entry(float(now)))
    return written


def test_a_wait_of_a_day_writes_a_few_hundred_entries() -> None:
    ten_minutes, day = entries(600), entries(86_400)
    assert 40 < ten_minutes < 600 / REPORT_EVERY
    assert day < 4 * ten_minutes


def test_failures_are_written_soon_however_long_nothing_happened() -> None:
    one, told = account()
    told.new = Tally(sent=5)
    one.take()
    one.entry(7200.0)
    assert not one.due(7200.0 + REPORT_EVERY)
    told.new = Tally(sent=5, failed=1)
    one.take()
    assert one.due(7200.0 + REPORT_EVERY)


def test_nothing_is_counted_twice_or_lost() -> None:
    one, told = account()
    told.new = Tally(sent=3, failed=1, served={"a": 2}, unproven=0, latency=Latency().add([0.1, 0.2]))
    one.take()
    told.new = Tally(sent=2, served={"a": 1, "b": 1}, latency=Latency().add([0.3, 0.4]))
    one.take()
    (entry,) = one.entry(1.0)
    assert isinstance(entry, Verified)
    assert (entry.sent, entry.failed, entry.served, entry.latency.count) == (5, 1, {"a": 3, "b": 1}, 4)
    assert one.entry(2.0) == ()


def test_what_was_counted_before_a_change_of_traffic_is_written_before_it() -> None:
    one, told = account()
    told.new = Tally(sent=4)
    one.take()
    assert [type(event) for event in one.before((LOWER,), {}, 1.0)] == [Verified]
    assert one.before((LOWER,), {}, 1.0) == ()


def lag_of(*, lowered: float, last: dict[str, float]) -> object:
    one, told = account()
    told.new = Tally(sent=1, last=last)
    one.take()
    one.stable_was_lowered(lowered)
    notes = [event for event in one.before((Record(Committed()),), {}, 100.0) if isinstance(event, Noted)]
    return notes[0].data["switch_lag_s"] if notes else None


def test_switch_lag_is_from_the_answer_of_the_api_to_the_last_request_that_met_stable() -> None:
    stable = rollout().stable
    assert stable is not None
    assert lag_of(lowered=40.0, last={stable.id: 44.2}) == 4.2
    assert lag_of(lowered=40.0, last={stable.id: 39.0}) == 0.0
    assert lag_of(lowered=40.0, last={"another": 44.2}) is None


def test_connections_open_at_retire_are_noted_and_unknown_is_not_none() -> None:
    of = rollout()
    assert of.stable is not None
    replica = ReplicaFacts(release=of.stable.id, id="1", running=True, restarts=0, exit_code=None)
    slots = {
        key: SlotSight(facts=SlotFacts(key, replica=replica, open=count))
        for key, count in (("blue-app-01:5000", 2), ("blue-app-02:5000", None))
    }
    hosts = {"blue": msgspec.structs.replace(HostSight(None, 0.0, None), slots=slots)}
    one, _ = account()
    (note,) = one.before((Record(Retiring()),), hosts, 1.0)
    assert isinstance(note, Noted)
    assert note.data == {"open_at_retire": {"blue-app-01:5000": 2, "blue-app-02:5000": None}}
    assert "blue-app-02:5000 unknown" in note.text
