"""What every host does, whatever is behind the port."""

import pytest

from celadon.core.errors import LeaseLost, Refused
from celadon.core.observed import Probe, SlotFacts
from celadon.core.opens import Opens
from celadon.core.release import Colour
from celadon.core.secret import Secret
from celadon.ports import Placement, WarmUp

from .conftest import Bench


async def test_a_started_replica_is_seen_probed_and_stopped(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot, Colour.GREEN)

    seen = await bench.look(slot, release, probe=True)
    assert seen.replica is not None
    assert (seen.replica.release, seen.replica.running, seen.replica.colour) == (release.id, True, "green")
    assert (seen.foreign, seen.listening, seen.open) == (None, True, 0)
    assert seen.probe is not None
    assert (seen.probe.ok, seen.probe.status, seen.probe.error) == (True, 200, "")

    assert await bench.hosts.stop(bench.writ(), release.id, slot, 5.0) == 0
    seen = await bench.look(slot, release)
    assert (seen.listening, seen.open, seen.opened) == (False, 0, 0)
    assert seen.replica is not None
    assert not seen.replica.running


async def test_everything_can_be_done_twice(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    first = await bench.look(slot, release)
    await bench.deploy(release, slot)
    second = await bench.look(slot, release)
    assert first.replica is not None
    assert second.replica == first.replica

    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    assert await bench.hosts.stop(bench.writ(), release.id, slot, 5.0) == 0


async def test_a_replica_that_was_stopped_starts_again_as_another_one(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    first = (await bench.look(slot, release)).replica
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    await bench.deploy(release, slot)
    second = (await bench.look(slot, release)).replica
    assert first is not None
    assert second is not None
    assert second.running
    assert second.id != first.id
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_what_is_not_there_is_stopped_already(bench: Bench) -> None:
    assert await bench.hosts.stop(bench.writ(), bench.release().id, bench.slot(), 5.0) == 0


async def test_an_empty_slot_is_seen_empty(bench: Bench) -> None:
    seen = await bench.look(bench.slot(), bench.release(), probe=True)
    assert (seen.replica, seen.foreign, seen.listening, seen.open, seen.opened) == (None, None, False, 0, 0)
    assert seen.probe is None


async def test_a_look_says_what_a_host_holds(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    empty = await bench.look_at_host(slot)
    assert (empty.name, empty.fence, empty.settings, empty.artifacts) == (bench.name, 0, frozenset(), frozenset())

    await bench.hosts.put_settings(bench.writ(3), release, {})
    assert await bench.hosts.put_artifact(bench.writ(3), release) > 0
    full = await bench.look_at_host(slot)
    assert (full.fence, set(full.settings), set(full.artifacts)) == (3, {release.id}, {release.artifact})
    assert full.disk_free > 0
    assert full.boot_id == empty.boot_id


async def test_an_artifact_that_is_there_is_not_moved_again(bench: Bench) -> None:
    release = bench.release()
    sibling = bench.release(env=(("COLOUR", "red"),))
    await bench.hosts.put_settings(bench.writ(), release, {})
    assert await bench.hosts.put_artifact(bench.writ(), release) > 0
    assert await bench.hosts.put_artifact(bench.writ(), release) == 0
    assert await bench.hosts.put_artifact(bench.writ(), sibling) == 0


async def test_a_start_needs_settings_and_artifact(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    placement = Placement(release, slot, Colour.BLUE, 1)
    with pytest.raises(Refused, match="settings"):
        await bench.hosts.start(bench.writ(), placement)
    await bench.hosts.put_settings(bench.writ(), release, {})
    with pytest.raises(Refused, match="archive"):
        await bench.hosts.start(bench.writ(), placement)
    assert (await bench.look(slot, release)).replica is None


async def test_a_secret_without_a_value_is_refused_by_name(bench: Bench) -> None:
    release = bench.release(secrets=(("DATABASE_URL", "f1"), ("OTHER", "f2")))
    with pytest.raises(Refused, match="DATABASE_URL"):
        await bench.hosts.put_settings(bench.writ(), release, {"OTHER": Secret("x")})
    assert (await bench.look_at_host(bench.slot())).settings == frozenset()


async def test_an_older_fence_is_refused_and_changes_nothing(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    await bench.hosts.raise_fence(bench.writ(7))
    before = await bench.look_at_host(slot, release)

    late = bench.writ(6)
    placement = Placement(release, slot, Colour.BLUE, 1)
    with pytest.raises(LeaseLost):
        await bench.hosts.raise_fence(late)
    with pytest.raises(LeaseLost):
        await bench.hosts.put_settings(late, bench.release("v2"), {})
    with pytest.raises(LeaseLost):
        await bench.hosts.put_artifact(late, bench.release("v2"))
    with pytest.raises(LeaseLost):
        await bench.hosts.start(late, placement)
    with pytest.raises(LeaseLost):
        await bench.hosts.stop(late, release.id, slot, 5.0)
    with pytest.raises(LeaseLost):
        await bench.hosts.prune(late, frozenset())

    after = await bench.look_at_host(slot, release)
    assert (after.fence, after.settings, after.slots[0].replica) == (7, before.settings, before.slots[0].replica)
    await bench.hosts.stop(bench.writ(8), release.id, slot, 5.0)
    assert (await bench.look_at_host(slot)).fence == 8


async def test_the_fence_of_one_app_is_not_another_ones(bench: Bench) -> None:
    await bench.hosts.raise_fence(bench.writ(9))
    other = bench.app + "-b"
    bench.app = other
    await bench.hosts.raise_fence(bench.writ(2))
    assert (await bench.look_at_host(bench.slot())).fence == 2


async def test_a_foreign_occupant_is_named_and_never_touched(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.hosts.put_settings(bench.writ(), release, {})
    await bench.hosts.put_artifact(bench.writ(), release)
    with bench.occupy(slot) as occupant:
        seen = await bench.look(slot, release, probe=True)
        assert seen.foreign is not None
        assert occupant in seen.foreign
        assert seen.remedy  # what to type on the host
        assert (seen.listening, seen.probe) == (True, None)
        with pytest.raises(Refused, match=f"{slot.node_address} is held by .*{occupant}"):
            await bench.hosts.start(bench.writ(), Placement(release, slot, Colour.BLUE, 1))
        assert (await bench.look(slot, release)).foreign is not None


async def test_a_slot_that_another_release_holds_is_refused(bench: Bench) -> None:
    one, two, slot = bench.release("v1"), bench.release("v2"), bench.slot()
    await bench.deploy(one, slot)
    await bench.hosts.put_settings(bench.writ(), two, {})
    await bench.hosts.put_artifact(bench.writ(), two)
    with pytest.raises(Refused, match=one.id):
        await bench.hosts.start(bench.writ(), Placement(two, slot, Colour.GREEN, 1))
    seen = await bench.look(slot, two, probe=True)
    assert seen.replica is not None
    assert (seen.replica.release, seen.replica.running, seen.probe) == (one.id, True, None)
    await bench.hosts.stop(bench.writ(), one.id, slot, 5.0)


async def test_the_last_lines_can_be_read_running_or_not(bench: Bench) -> None:
    release, slot = bench.release("v7"), bench.slot()
    await bench.deploy(release, slot)
    running = await bench.hosts.tail(bench.name, bench.app, release.id, slot, 50)
    assert "hello from v7" in running
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)
    stopped = await bench.hosts.tail(bench.name, bench.app, release.id, slot, 50)
    assert "hello from v7" in stopped
    assert len(await bench.hosts.tail(bench.name, bench.app, release.id, slot, 1)) == 1
    assert await bench.hosts.tail(bench.name, bench.app, release.id, slot, 0) == ()
    assert await bench.hosts.tail(bench.name, bench.app, bench.release("v8").id, slot, 5) == ()


async def test_pruning_keeps_what_is_named_and_what_runs(bench: Bench) -> None:
    kept, running, gone = bench.release("v1"), bench.release("v2"), bench.release("v3", env=(("A", "b"),))
    gone_source = bench.source("print('another source')\n")
    gone = bench.release("v3", artifact=gone_source)
    slot = bench.slot()
    for release in (kept, gone):
        await bench.hosts.put_settings(bench.writ(), release, {})
        await bench.hosts.put_artifact(bench.writ(), release)
    await bench.deploy(running, slot)

    await bench.hosts.prune(bench.writ(), frozenset({kept.id}))
    host = await bench.look_at_host(slot, running)
    assert host.settings == {kept.id, running.id}
    assert host.artifacts == {kept.artifact}
    assert host.slots[0].replica is not None
    assert host.slots[0].replica.running

    await bench.hosts.stop(bench.writ(), running.id, slot, 5.0)
    await bench.hosts.prune(bench.writ(), frozenset({kept.id}))
    host = await bench.look_at_host(slot, running)
    assert (set(host.settings), host.slots[0].replica) == ({kept.id}, None)


async def test_warm_up_asks_the_slot_as_often_as_told(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    before = (await bench.look(slot, release)).opened
    await bench.hosts.warm_up(bench.name, WarmUp(slot, ("/", "/other"), 12, Probe("/", "hello.example")))
    assert before is not None
    seen = await bench.until(
        slot, release, lambda facts: facts.opened is not None and facts.opened >= before + 12, probe=False
    )
    assert seen.opened == before + 12
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


async def test_connections_of_others_are_told_from_our_own(bench: Bench) -> None:
    release, slot = bench.release(), bench.slot()
    await bench.deploy(release, slot)
    before = await bench.look(slot, release, probe=True)
    await bench.visit(slot, 5)
    await bench.hosts.warm_up(bench.name, WarmUp(slot, ("/",), 7, Probe("/", "hello.example")))
    await bench.look(slot, release, probe=True)
    seen = await bench.until(slot, release, lambda facts: others(before, facts) >= 5, probe=False)
    assert others(before, seen) == 5
    assert Opens().after(before, seen, 0.0).connections == {release.id: 5}
    await bench.hosts.stop(bench.writ(), release.id, slot, 5.0)


def others(before: SlotFacts, now: SlotFacts) -> int:
    assert before.opened is not None
    assert now.opened is not None
    return now.opened - before.opened - (now.own - before.own)


async def test_a_host_that_nobody_named_is_refused(bench: Bench) -> None:
    bench.name = "web-9"
    with pytest.raises(Refused, match="web-9"):
        await bench.look_at_host(bench.slot())
