"""The fence and the store under two drivers at once, crashes, and files that were cut."""

import threading
from pathlib import Path

import pytest

from celadon.agent import fence, paths, store
from celadon.agent.errors import AgentError
from celadon.core.release import Slot
from celadon.core.release import replica_name as name_of


def test_raising_waits_for_effects_under_way_and_refuses_later_ones(state: Path) -> None:
    inside, leave, raised = threading.Event(), threading.Event(), threading.Event()

    def old_driver() -> None:
        with fence.effect("shop", 1):
            inside.set()
            leave.wait(30)

    def new_driver() -> None:
        fence.raise_to("shop", 2)
        raised.set()

    threads = [threading.Thread(target=old_driver), threading.Thread(target=new_driver)]
    threads[0].start()
    assert inside.wait(30)
    with fence.effect("shop", 1):  # effects of one driver do not wait for each other
        pass
    threads[1].start()
    assert not raised.wait(0.1)
    leave.set()
    assert raised.wait(30)
    for thread in threads:
        thread.join(30)
    with pytest.raises(AgentError) as caught, fence.effect("shop", 1):
        pytest.fail("an old fence was let in")
    assert caught.value.kind == "lease_lost"
    assert (state / "shop/fence").read_bytes() == b"2"


def test_raising_does_not_wait_for_ever(state: Path) -> None:
    with fence.effect("shop", 1), pytest.raises(AgentError, match="still under way") as caught:
        fence.raise_to("shop", 2, within=0.05)
    assert caught.value.kind == "unavailable"
    assert fence.read("shop") == 1


def test_reading_leaves_no_trace(state: Path) -> None:
    assert fence.read("shop") == 0
    assert store.read_document("shop", "lease") is None
    assert store.rollouts("shop") == []
    assert store.read_journal("shop", 1, 0) == ([], False)
    assert not state.exists()


def test_an_event_that_was_cut_by_a_crash_was_never_there(state: Path) -> None:
    store.append("shop", 1, 0, ['{"n":0}'], 1)
    journal = state / "shop/home/journal/1.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"n":1')
    assert store.read_journal("shop", 1, 0) == (['{"n":0}'], False)
    store.append("shop", 1, 1, ['{"other":1}'], 1)
    assert journal.read_bytes() == b'{"n":0}\n{"other":1}\n'


def test_an_event_of_two_lines_is_our_bug(state: Path) -> None:
    with pytest.raises(AgentError) as caught:
        store.append("shop", 1, 0, ["{}\n{}"], 1)
    assert caught.value.kind == "bug"
    assert store.rollouts("shop") == []


def test_the_journal_follows_the_fence_of_the_host(state: Path) -> None:
    fence.raise_to("shop", 5)
    with pytest.raises(AgentError) as caught:
        store.append("shop", 1, 0, ["{}"], 4)
    assert caught.value.kind == "lease_lost"


def test_of_many_writers_each_number_has_one(state: Path) -> None:
    lost: list[str] = []

    def write(name: str) -> None:
        try:
            store.append("shop", 1, 0, [f'"{name}"'], 1)
        except AgentError as error:
            lost.append(error.kind)

    threads = [threading.Thread(target=write, args=(f"driver-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert lost == ["lease_lost"] * 7
    assert len(store.read_journal("shop", 1, 0)[0]) == 1


@pytest.mark.parametrize("name", ["lock", "../lease", "lease.json", ""])
def test_only_known_documents_have_names(state: Path, name: str) -> None:
    with pytest.raises(AgentError):
        store.swap_document("shop", name, None, "{}")
    assert not list(state.rglob("*.json"))


@pytest.mark.parametrize("app", ["", "Shop", "9shop", "a" * 32, "../x", "a/b", "a\0b", None, 7])
def test_an_app_is_never_a_path(app: object) -> None:
    with pytest.raises(AgentError):
        paths.app_name(app)


@pytest.mark.parametrize("host", ["", "..", ".hidden", "a/b", "a b", "x" * 65, None])
def test_a_host_is_never_a_path(host: object) -> None:
    with pytest.raises(AgentError):
        paths.host_name(host)


def test_both_sides_make_the_same_name() -> None:
    slot = Slot("web-1", "192.168.130.11", 5000)
    assert paths.replica_name("shop", "0123456789", slot.host, slot.port) == name_of("shop", "0123456789", slot)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    paths.write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        paths.write_atomically(tmp_path / "file", "text")  # type: ignore[arg-type]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
