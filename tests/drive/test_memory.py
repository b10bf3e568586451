"""What a sequence of looks can tell that one look cannot."""

import pytest

from celadon.core.observed import HostFacts, Mode, NodeFacts, ProbeFacts, ReplicaFacts, SlotFacts
from celadon.drive.memory import Memory

ADDRESS, HOST, KEY = "192.168.129.10:8000", "green-0", "green-0:8000"
WELL, SICK = (
    ProbeFacts(ok=True, status=200, error="", seconds=0.1),
    ProbeFacts(ok=False, status=500, error="500", seconds=0.1),
)
Seen = tuple[Mode, bool | None]
ACCEPT, REJECT, BACKUP = Mode.ACCEPT, Mode.REJECT, Mode.BACKUP


def memory() -> Memory:
    return Memory([ADDRESS], [HOST])


def node(mode: Mode, up: bool | None, weight: int = 100) -> NodeFacts:  # noqa: FBT001 - as the balancer says it
    return NodeFacts(80, 80, 1, "green-0", ADDRESS, mode, weight, up)


def look(release: str | None = "new", **changes: object) -> HostFacts:
    probe, opened, open_, id_ = (
        changes.get(k, d) for k, d in (("probe", None), ("opened", 0), ("open", 0), ("id", "1"))
    )
    running = bool(changes.get("running", True))
    replica = ReplicaFacts(release, str(id_), running=running, restarts=0, exit_code=None) if release else None
    slot = SlotFacts(KEY, replica, open=open_, opened=opened, probe=probe)  # type: ignore[arg-type]
    return HostFacts(HOST, "1", 0.0, 10**10, 1, slots=(slot,))


@pytest.mark.parametrize(
    ("reads", "rose"),
    [
        ([(REJECT, False), (ACCEPT, False), (ACCEPT, True)], True),
        ([(REJECT, None), (ACCEPT, True)], True),
        ([(ACCEPT, True)], False),  # a resumed driver did not see it rise
        ([(ACCEPT, False), (ACCEPT, True)], False),
        ([(REJECT, True), (ACCEPT, True)], False),  # the reject never applied
        ([(BACKUP, True), (ACCEPT, True)], False),  # from the net it always settles
        ([(REJECT, False), (BACKUP, True), (ACCEPT, True)], False),
        ([(REJECT, False), (ACCEPT, True), (REJECT, False)], False),
        ([(REJECT, False), (ACCEPT, True), (ACCEPT, False)], True),
    ],
)
def test_a_node_rose_if_it_was_seen_off_and_then_up(reads: list[Seen], rose: bool) -> None:  # noqa: FBT001 - a table
    seen = memory()
    for at, (mode, up) in enumerate(reads):
        seen.saw_node(1, node(mode, up), float(at))
    assert seen.nodes[1].rose is rose


def test_since_is_the_first_of_an_unbroken_run() -> None:
    seen = memory()
    for at, weight in ((1.0, 1), (2.0, 1), (3.0, 100), (4.0, 100)):
        seen.saw_node(1, node(ACCEPT, True, weight), at)
    assert (seen.nodes[1].since, seen.nodes[1].read_at, seen.nodes[1].reads) == (3.0, 4.0, 2)


def test_settle_counts_from_the_end_of_a_request_also_where_its_answer_is_lost() -> None:
    seen = memory()
    seen.saw_node(1, node(REJECT, None), 1.0)
    seen.changed_node(1, 9.0)  # its answer was lost: it may land until then
    seen.changed_node(1, 3.0)
    seen.saw_node(1, node(ACCEPT, None), 4.0)
    assert seen.nodes[1].since == 9.0
    seen.saw_node(1, node(REJECT, None), 12.0)
    assert seen.nodes[1].since == 12.0


def test_a_changed_status_is_polled_as_often_as_a_new_one() -> None:
    seen = memory()
    for at, up in ((1.0, None), (2.0, None), (3.0, True)):
        seen.saw_node(1, node(ACCEPT, up), at)
    assert (seen.nodes[1].since, seen.nodes[1].reads) == (1.0, 1)


def test_a_node_that_is_gone_is_forgotten() -> None:
    seen = memory()
    seen.saw_node(1, node(ACCEPT, True), 1.0)
    seen.saw_node(1, None, 2.0)
    assert seen.nodes == {}


def slot_after(*looks: tuple[float, HostFacts]) -> tuple[int, int, float | None, str]:
    seen = memory()
    for at, facts in looks:
        seen.saw_host(HOST, facts, at, {KEY: "new"})
    sight = seen.hosts[HOST].slots[KEY]
    return sight.passes, sight.fails, sight.quiet_since, sight.last_failure


def test_passes_in_a_row_belong_to_one_replica() -> None:
    assert slot_after(*((float(n), look(probe=WELL)) for n in range(3)))[:2] == (3, 0)
    assert slot_after((1, look(probe=WELL)), (2, look(probe=SICK)), (3, look(probe=WELL)))[:2] == (1, 0)
    assert slot_after((1, look(probe=WELL)), (2, look(probe=WELL, id="2")))[:2] == (1, 0)
    assert slot_after((1, look(probe=WELL)), (2, look()))[:2] == (1, 0)


def test_failures_in_a_row_are_of_the_slot() -> None:
    assert slot_after((1, look(probe=SICK)), (2, look(probe=SICK, id="2"))) == (0, 2, 1, "500")
    assert slot_after((1, look(probe=WELL)), (2, look(running=False)))[:2] == (0, 1)
    assert slot_after((1, look(None)), (2, look(None)))[1] == 2
    assert slot_after((1, look("old", probe=WELL)), (2, look("new", probe=WELL)))[0] == 1


def test_a_slot_of_which_nothing_is_expected_does_not_fail() -> None:
    seen = memory()
    seen.saw_host(HOST, look(None), 1.0, {KEY: None})
    assert seen.hosts[HOST].slots[KEY].fails == 0


@pytest.mark.parametrize(
    ("counts", "quiet"),
    [
        ([(0, 5)], 0.0),
        ([(0, 5), (0, 5), (0, 5)], 0.0),
        ([(0, 5), (0, 6), (0, 6)], 1.0),  # one came and went between two looks
        ([(0, 5), (2, 7)], None),
        ([(2, 7), (0, 7), (0, 7)], 1.0),
        ([(0, 5), (None, 5)], None),  # unknown is not quiet
        ([(0, 5), (0, None)], None),
        ([(0, None), (0, 5), (0, 5)], 1.0),
    ],
)
def test_quiet_is_no_open_and_no_new_connection(
    counts: list[tuple[int | None, int | None]], quiet: float | None
) -> None:
    looks = [(float(at), look(open=open_, opened=opened)) for at, (open_, opened) in enumerate(counts)]
    assert slot_after(*looks)[2] == quiet


def test_a_late_answer_to_an_older_question_changes_nothing() -> None:
    seen = memory()
    seen.saw_host(HOST, look(probe=WELL), 5.0, {KEY: "new"})
    seen.saw_host(HOST, look(None), 4.0, {KEY: "new"})
    assert seen.hosts[HOST].seen_at == 5.0
    assert seen.hosts[HOST].slots[KEY].facts.replica is not None


def test_a_late_loss_does_not_unsee_a_newer_answer() -> None:
    seen = memory()
    seen.saw_host(HOST, look(probe=WELL), 5.0, {KEY: "new"})
    seen.lost_host(HOST, "timed out", 4.0)
    assert seen.hosts[HOST].lost_since is None


def test_a_host_is_lost_since_it_first_did_not_answer_and_keeps_its_facts() -> None:
    seen = memory()
    seen.saw_host(HOST, look(), 1.0, {KEY: "new"})
    seen.lost_host(HOST, "timed out", 2.0)
    seen.lost_host(HOST, "timed out", 3.0)
    host = seen.hosts[HOST]
    assert (host.lost_since, host.lost_at, host.problem, host.seen_at) == (2.0, 3.0, "timed out", 1.0)
    assert host.facts is not None
    seen.saw_host(HOST, look(), 4.0, {KEY: "new"})
    assert seen.hosts[HOST].lost_since is None


def test_a_sleep_of_this_machine_is_nobodys_silence() -> None:
    seen = memory()
    seen.saw_host(HOST, look(), 1.0, {KEY: "new"})
    seen.did_not_ask(HOST, 90.0)
    assert seen.hosts[HOST].lost_since is None
    seen.lost_host(HOST, "timed out", 91.0)
    seen.did_not_ask(HOST, 190.0)
    seen.lost_host(HOST, "timed out", 191.0)
    host = seen.hosts[HOST]
    assert (host.lost_since, host.lost_at) == (190.0, 191.0)
