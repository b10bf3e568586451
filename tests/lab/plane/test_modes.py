"""The four modes and the verdicts, as tables."""

import msgspec
import pytest

from celadon.lab.parts import Mode, NodeStatus, PlaneConfig, PlaneNode
from celadon.lab.plane.haproxy import parse_failure
from celadon.lab.plane.modes import Judged, checked, server_states, shown, succeed
from celadon.lab.plane.verdict import Verdict, after_bad_answer, after_check


class Switches(msgspec.Struct, frozen=True):
    mode_delay_seconds: float = 0
    backup_checked: bool = True
    reject_to_accept_unknown: bool = True
    redispatch: bool = False


DEFAULT = Switches()
CHECKED = PlaneConfig(
    id=1, port=80, protocol="http", algorithm="roundrobin", stickiness="none", check="http", check_interval=5,
    check_timeout=3, check_attempts=2, check_path="/", check_body="", check_passive=False, ssl_cert=None,
    ssl_key=None,
)  # fmt: skip
UNCHECKED = msgspec.structs.replace(CHECKED, check="none")
STICKY = msgspec.structs.replace(CHECKED, stickiness="http_cookie")


def nodes(*modes_and_statuses: tuple[Mode, NodeStatus]) -> list[Judged]:
    return [
        Judged(PlaneNode(number, f"192.168.128.{number}:80", 1, mode), Verdict(status))
        for number, (mode, status) in enumerate(modes_and_statuses, start=1)
    ]


@pytest.mark.parametrize(
    ("given", "config", "expected"),
    [
        ([("accept", "UP"), ("accept", "DOWN"), ("accept", "Unknown")], CHECKED, ["ready", "maint", "maint"]),
        ([("accept", "Unknown"), ("reject", "Unknown")], UNCHECKED, ["ready", "maint"]),
        ([("reject", "UP"), ("drain", "UP")], CHECKED, ["maint", "maint"]),
        ([("reject", "UP"), ("drain", "UP"), ("drain", "DOWN")], STICKY, ["maint", "drain", "maint"]),
        ([("accept", "UP"), ("backup", "UP")], CHECKED, ["ready", "maint"]),
        ([("accept", "DOWN"), ("backup", "UP")], CHECKED, ["maint", "ready"]),
        ([("accept", "Unknown"), ("backup", "UP")], CHECKED, ["maint", "ready"]),
        ([("reject", "UP"), ("backup", "UP"), ("backup", "UP")], CHECKED, ["maint", "ready", "ready"]),
        ([("drain", "UP"), ("backup", "UP")], STICKY, ["drain", "ready"]),
        ([("accept", "DOWN"), ("backup", "DOWN")], CHECKED, ["maint", "maint"]),
        ([("accept", "Unknown"), ("backup", "Unknown")], UNCHECKED, ["ready", "maint"]),
    ],
)
def test_who_takes_traffic(given: list[tuple[Mode, NodeStatus]], config: PlaneConfig, expected: list[str]) -> None:
    assert list(server_states(nodes(*given), config, DEFAULT).values()) == expected


def test_an_unchecked_backup_stands_in_without_ever_having_been_up() -> None:
    unchecked = Switches(backup_checked=False)
    given = nodes(("accept", "DOWN"), ("backup", "Unknown"))
    assert server_states(given, CHECKED, unchecked) == {1: "maint", 2: "ready"}
    assert server_states(given, CHECKED, DEFAULT) == {1: "maint", 2: "maint"}
    assert shown(given[1], CHECKED, unchecked) == "Unknown"


@pytest.mark.parametrize(
    ("mode", "config", "switches", "expected"),
    [
        ("accept", CHECKED, DEFAULT, True),
        ("accept", UNCHECKED, DEFAULT, False),
        ("reject", CHECKED, DEFAULT, False),
        ("drain", CHECKED, DEFAULT, False),
        ("drain", STICKY, DEFAULT, True),
        ("backup", CHECKED, DEFAULT, True),
        ("backup", CHECKED, Switches(backup_checked=False), False),
    ],
)
def test_who_is_checked(mode: Mode, config: PlaneConfig, switches: Switches, *, expected: bool) -> None:
    assert checked(PlaneNode(1, "192.168.128.1:80", 1, mode), config, switches) is expected


@pytest.mark.parametrize(
    ("before", "after", "switches", "expected"),
    [
        (("accept", "UP"), "reject", DEFAULT, "DOWN"),  # shown as down
        (("accept", "Unknown"), "reject", DEFAULT, "Unknown"),
        (("reject", "UP"), "accept", DEFAULT, "Unknown"),
        (("reject", "UP"), "accept", Switches(reject_to_accept_unknown=False), "UP"),
        (("reject", "DOWN"), "accept", Switches(reject_to_accept_unknown=False), "DOWN"),
        (("reject", "Unknown"), "accept", Switches(reject_to_accept_unknown=False), "Unknown"),
        (("backup", "UP"), "accept", DEFAULT, "UP"),
        (("accept", "UP"), "backup", DEFAULT, "UP"),
        (("accept", "UP"), "backup", Switches(backup_checked=False), "Unknown"),
        (("backup", "Unknown"), "accept", Switches(backup_checked=False), "Unknown"),
    ],
)
def test_what_a_change_of_mode_leaves_of_the_verdict(
    before: tuple[Mode, NodeStatus], after: Mode, switches: Switches, expected: NodeStatus
) -> None:
    (old,) = nodes(before)
    new = succeed(old, msgspec.structs.replace(old.node, mode=after), CHECKED, switches)
    assert shown(new, CHECKED, switches) == expected


def test_another_address_is_another_backend() -> None:
    (old,) = nodes(("accept", "UP"))
    moved = msgspec.structs.replace(old.node, address="192.168.128.9:80")
    assert succeed(old, moved, CHECKED, DEFAULT).verdict == Verdict()


def test_it_takes_attempts_in_a_row_to_go_up_and_down() -> None:
    verdict, statuses = Verdict(), []
    for passed in (True, True, False, True, False, False, True, True):
        verdict = after_check(verdict, passed=passed, attempts=2)
        statuses.append(verdict.status)
    assert statuses == ["Unknown", "UP", "UP", "UP", "UP", "DOWN", "DOWN", "UP"]


def test_a_bad_answer_forgets_the_passes_before_it() -> None:
    steady = Verdict("UP", 50)
    assert after_check(after_bad_answer(), passed=True, attempts=2).status == "DOWN"
    assert after_check(steady, passed=False, attempts=2).status == "UP"


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("celadon-request s1 500 --", True),
        ("celadon-request s1 503 --", True),
        ("celadon-request s1 501 --", False),
        ("celadon-request s1 505 --", False),
        ("celadon-request s1 503 SC", True),  # refused
        ("celadon-request s1 504 sH", True),  # no answer in time
        ("celadon-request s1 200 CD", False),  # the client went away
        ("celadon-request s1 - SC", True),  # tcp
        ("celadon-request in/<NOSRV> 503 SC", None),
        ("celadon-request <NOSRV> 503 SC", None),
        ("Server nodes/s1 is UP/READY", None),
    ],
)
def test_what_counts_against_a_node(line: str, counts: bool | None) -> None:  # noqa: FBT001 - a column of a table
    failure = parse_failure(line)
    assert (None if failure is None else failure.counts_against_node) is counts
