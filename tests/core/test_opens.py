"""Who served, by counting: differences of one slot's counter, and what is taken off them."""

import msgspec
import pytest

from celadon.core.observed import Mode, NodeFacts, ReplicaFacts, SlotFacts
from celadon.core.opens import Opens, checks_between


def slot(opened: int | None, own: int = 0, release: str = "aaaa", *, running: bool = True) -> SlotFacts:
    replica = ReplicaFacts(release, "1", running, 0, None, "blue")
    return SlotFacts("web-1:5000", replica, listening=True, open=0, opened=opened, own=own)


def node(mode: Mode, address: str = "192.168.130.11:5000", config: int = 11) -> NodeFacts:
    return NodeFacts(80, config, 1, "web-1", address, mode, 100, True)


def test_our_own_connections_are_not_users() -> None:
    assert Opens().after(slot(10, 4), slot(30, 9), 2.5) == Opens({"aaaa": 15}, {"aaaa": 2.5})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (slot(10), slot(None)),
        (slot(None), slot(10)),
        (slot(10), slot(3)),  # an agent that was started anew counts from the beginning
        (slot(10, 5), slot(20, 0)),
    ],
)
def test_what_was_not_counted_is_said_and_never_guessed(before: SlotFacts, now: SlotFacts) -> None:
    assert Opens().after(before, now, 3.0) == Opens(uncounted=1)


def test_a_slot_that_nobody_runs_in_counts_nothing() -> None:
    assert Opens().after(slot(10), slot(12, running=False), 1.0) == Opens()
    assert Opens().after(None, slot(12), 1.0) == Opens()


def test_the_error_is_what_was_taken_off() -> None:
    seen = Opens().after(slot(0), slot(100), 12.2).after(slot(0, 0, "bbbb"), slot(5, 0, "bbbb"), 6.0)
    assert seen.figures() == {"aaaa": (87, 13), "bbbb": (0, 6)}


def test_reports_add_up() -> None:
    one, two = Opens({"aaaa": 3}, {"aaaa": 1.0}, 1), Opens({"aaaa": 2, "bbbb": 1}, {"bbbb": 0.5}, 2)
    assert one.add(two) == Opens({"aaaa": 5, "bbbb": 1}, {"aaaa": 1.0, "bbbb": 0.5}, 3)
    assert msgspec.json.decode(msgspec.json.encode(two), type=Opens) == two


def test_only_nodes_that_may_be_checked_are() -> None:
    nodes = [node(Mode.ACCEPT), node(Mode.BACKUP, config=12), node(Mode.REJECT), node(Mode.ACCEPT, "192.168.130.99:1")]
    assert checks_between("192.168.130.11:5000", nodes, {11: 5.0, 12: 10.0}, 20.0) == 6.0
    assert checks_between("192.168.130.11:5000", nodes, {}, 20.0) == 0.0
