"""What every store does: compare and swap, and a journal that two drivers cannot both write."""

import asyncio

import pytest

from celadon.core.errors import LeaseLost, Refused

from .conftest import Bench


async def test_documents_are_swapped_only_from_what_they_are(bench: Bench) -> None:
    store = bench.store()
    for read, swap in ((store.read_lease, store.swap_lease), (store.read_intent, store.swap_intent)):
        assert await read() is None
        assert await swap(None, b'{"holder": "one"}')
        assert not await swap(None, b'{"holder": "two"}')
        assert await read() == b'{"holder": "one"}'
        assert await swap(b'{"holder": "one"}', '{"holder": "zw\u00f6lf"}'.encode())
        assert await read() == '{"holder": "zw\u00f6lf"}'.encode()


async def test_of_many_swaps_at_once_one_wins(bench: Bench) -> None:
    store = bench.store()
    taken = await asyncio.gather(*(store.swap_lease(None, b"%d" % number) for number in range(8)))
    assert taken.count(True) == 1
    assert await store.read_lease() == b"%d" % taken.index(True)


async def test_events_are_read_from_a_number_on(bench: Bench) -> None:
    store = bench.store()
    assert list(await store.read_journal(4)) == []
    await store.append(4, 0, [b'{"e":0}', b'{"e":1}'], 1)
    await store.append(4, 2, [b'{"e":2}'], 1)
    assert list(await store.read_journal(4)) == [b'{"e":0}', b'{"e":1}', b'{"e":2}']
    assert list(await store.read_journal(4, 2)) == [b'{"e":2}']
    assert list(await store.read_journal(4, 9)) == []
    await store.append(11, 0, [b"{}"], 1)
    assert list(await store.rollouts()) == [4, 11]


async def test_written_twice_is_written_once(bench: Bench) -> None:
    store = bench.store()
    await store.append(1, 0, [b"[0]", b"[1]"], 1)
    await store.append(1, 0, [b"[0]", b"[1]"], 1)
    await store.append(1, 1, [b"[1]", b"[2]"], 1)
    assert list(await store.read_journal(1)) == [b"[0]", b"[1]", b"[2]"]


async def test_another_event_with_the_number_loses_the_lease(bench: Bench) -> None:
    store = bench.store()
    await store.append(1, 0, [b"[0]"], 1)
    with pytest.raises(LeaseLost):
        await store.append(1, 0, [b'["other"]'], 1)
    assert list(await store.read_journal(1)) == [b"[0]"]


async def test_an_older_fence_cannot_write(bench: Bench) -> None:
    store = bench.store()
    await store.append(1, 0, [b"[0]"], 5)
    with pytest.raises(LeaseLost):
        await store.append(1, 1, [b"[1]"], 4)
    await store.append(1, 1, [b"[1]"], 6)
    assert list(await store.read_journal(1)) == [b"[0]", b"[1]"]


async def test_a_gap_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="gap"):
        await bench.store().append(1, 3, [b"[3]"], 1)
    assert list(await bench.store().read_journal(1)) == []


async def test_a_long_journal_comes_whole(bench: Bench) -> None:
    store = bench.store()
    events = [b'{"n":%d,"text":"%s"}' % (number, b"x" * 10_000) for number in range(250)]
    await store.append(2, 0, events[:120], 1)
    await store.append(2, 120, events[120:], 1)
    assert list(await store.read_journal(2)) == events
