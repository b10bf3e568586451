"""The home moves, is lost and is replaced: there is never a second one, whatever dies in between.

Every test runs on the fakes and on the agent's own operations.
"""

from pathlib import Path

import msgspec
import pytest
from tests.drive.homes import (
    HOSTS,
    AgentFarm,
    Farm,
    Fuse,
    Killed,
    MemoryFarm,
    Person,
    homes_of,
    live_a_little,
    past_of,
    tell,
)

from celadon.agent import fence as agent_fence
from celadon.core import home
from celadon.core.errors import CeladonError, LeaseLost, NotHome, Refused, Unavailable
from celadon.core.home import Adopted, Seat, epoch_of
from celadon.drive.lease import Held


@pytest.fixture(params=["memory", "agent"])
def farm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    return MemoryFarm() if request.param == "memory" else AgentFarm(tmp_path, monkeypatch)


def again(farm: Farm) -> Farm:
    """The same kind of farm with nothing on it."""
    for host in HOSTS:
        farm.wipe(host)
        farm.silence(host, silent=False)
    return farm


# -- moving ----------------------------------------------------------------------------------------


def test_a_move_takes_everything_along_and_the_old_home_says_where_to(farm: Farm) -> None:
    async def story() -> None:
        fence = await live_a_little(farm)
        before = await past_of(farm.homes.store("blue-1"))
        moved = await Person(farm).move("green-1")
        assert (moved.seat, moved.changed, moved.untold) == (Seat(1, 1, "green-1"), True, ())
        assert await past_of(farm.homes.store("green-1")) == before
        with pytest.raises(NotHome, match="its home is green-1 now"):
            await farm.homes.store("blue-1").swap_intent(before[0], b'{"late": 1}')
        stale = Person(farm, home="blue-1", who="bob")
        lease = await stale.take()
        assert lease.fence > fence
        assert await past_of(stale.store) == before
        assert stale.store.advice is not None
        assert 'hosts.home = "green-1"' in stale.store.advice
        assert Person(farm, home="green-1").store.advice is None
        await lease.release()

    tell(story)


def test_a_home_moves_on_and_back_and_old_news_lead_nowhere(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        for to in ("green-1", "green-2", "blue-1", "green-1"):
            await Person(farm).move(to)
            assert await homes_of(farm) == [to]
        for configured in HOSTS:
            assert (await Person(farm, home=configured).store.find()).host == "green-1"
        again_there = await Person(farm).move("green-1")
        assert (again_there.seat.move, again_there.changed) == (4, False)

    tell(story)


def test_a_move_is_refused_while_another_drives(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        driver = await Person(farm, who="bob").take()
        with pytest.raises(Held, match="driven by bob"):
            await Person(farm).move("green-1")
        await driver.renew()
        assert await homes_of(farm) == ["blue-1"]
        await driver.release()

    tell(story)


def test_a_wish_in_the_middle_of_a_copy_is_not_lost(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        ada = Person(farm)
        original = ada.fuse.burn
        wishes = iter([b'{"a": "wish"}'])

        async def burn(name: str, call: object) -> object:
            if name == "leave" and (wish := next(wishes, None)) is not None:
                bob = farm.homes.store("blue-1")
                assert await bob.swap_intent(await bob.read_intent(), wish)
            return await original(name, call)  # type: ignore[arg-type]  # passed on as it came

        ada.fuse.burn = burn  # type: ignore[method-assign]  # this process's alone
        await ada.move("green-1")
        assert ada.fuse.calls.count("seal") == 2
        assert await farm.homes.store("green-1").read_intent() == b'{"a": "wish"}'

    tell(story)


@pytest.mark.parametrize("after", [False, True])
def test_a_mover_killed_anywhere_and_run_again_ends_right(farm: Farm, *, after: bool) -> None:
    """Found by counting. Between the two runs somebody looks, and finds all of the past, once."""

    async def whole() -> int:
        await live_a_little(farm)
        ada = Person(farm)
        await ada.move("green-1")
        return len(ada.fuse.calls)

    async def killed(at: int) -> None:
        fence = await live_a_little(again(farm))
        past = await past_of(farm.homes.store("blue-1"))
        with pytest.raises(Killed):
            await Person(farm, fuse=Fuse(at, after=after)).move("green-1")
        assert len(await homes_of(farm)) <= 1
        assert await past_of(Person(farm, who="bob").store) == past
        moved = await Person(farm, who="cyd").move("green-1")
        assert moved.seat == Seat(1, 1, "green-1")
        assert await homes_of(farm) == ["green-1"]
        assert await past_of(farm.homes.store("green-1")) == past
        lease = await Person(farm).take()
        assert lease.fence > fence
        await lease.release()

    async def story() -> None:
        # Who is only told of the move is told in the background, host by host: the last calls of a whole move.
        for at in range(await whole() - len(HOSTS)):
            await killed(at)

    tell(story)


def test_a_mover_that_froze_does_no_harm(farm: Farm) -> None:
    """Its copy and its last word come after another driver took the lease."""

    async def story() -> None:
        await live_a_little(farm)
        slow = await Person(farm).take()
        word = await slow.freeze()
        seat = Seat(1, 1, "green-1")
        homes = farm.homes
        await homes.begin("green-1", seat, slow.fence)
        await homes.seal("green-1", seat, slow.fence)
        fast = await Person(farm, who="bob").take()  # after one time to live
        digest = await homes.digest("blue-1")
        with pytest.raises(LeaseLost):
            await homes.leave("blue-1", seat, slow.fence, word, digest)
        await Person(farm, who="bob").store.append(2, 2, [b'{"e":2}'], fast.fence)
        await homes.begin("green-1", seat, fast.fence)
        with pytest.raises(LeaseLost):
            await homes.receive("green-1", seat, slow.fence, "intent", b'{"late": 1}')
        with pytest.raises(LeaseLost):
            await homes.begin("green-1", seat, slow.fence)
        assert await homes_of(farm) == ["blue-1"]
        await fast.release()

    tell(story)


def test_a_copy_is_opened_only_when_the_old_home_has_left(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        seat = Seat(1, 1, "green-1")
        await farm.homes.begin("green-1", seat, 9)
        with pytest.raises(NotHome):
            await farm.homes.open("green-1", seat)
        assert (await Person(farm, home="green-1").store.find()).host == "blue-1"

    tell(story)


@pytest.mark.parametrize("to", ["nowhere", "green-1"])
def test_a_move_to_who_cannot_be_the_home_touches_nothing(farm: Farm, to: str) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.silence("green-1")
        with pytest.raises(CeladonError):
            await Person(farm).move(to)
        assert (await farm.homes.facts("blue-1")).state == "here"
        lease = await Person(farm).take()  # nobody holds it
        assert not lease.taken_over
        await lease.release()

    tell(story)


# -- finding ---------------------------------------------------------------------------------------


def test_a_config_that_names_another_host_makes_no_second_home(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        bob = Person(farm, home="green-2")
        assert await past_of(bob.store) == await past_of(farm.homes.store("blue-1"))
        assert bob.store.advice is not None
        assert await homes_of(farm) == ["blue-1"]

    tell(story)


def test_a_first_deploy_needs_every_host_once(farm: Farm) -> None:
    async def story() -> None:
        assert (await Person(farm).store.find()).fresh
        farm.silence("green-2")
        with pytest.raises(Unavailable, match="blue-1 keeps no store of shop, and whether another host does"):
            await Person(farm).store.read_lease()

    tell(story)


def test_an_empty_home_beside_hosts_that_remember_is_a_lost_one(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.wipe("blue-1")
        with pytest.raises(Refused, match="the home of shop is lost") as caught:
            await Person(farm).take()
        assert "celadon store adopt" in (caught.value.hint or "")
        assert any("fence 2" in line for line in caught.value.details)

    tell(story)


def test_a_moved_home_is_found_when_the_old_place_is_gone(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        await Person(farm).move("green-1")
        farm.silence("blue-1")
        assert (await Person(farm).store.find()).host == "green-1"
        farm.silence("green-2")  # now nobody says that green-1 is the newest
        with pytest.raises(Unavailable, match="the home of shop does not answer"):
            await Person(farm).store.find()

    tell(story)


def test_a_silent_first_home_is_nowhere_else(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.silence("blue-1")
        with pytest.raises(Unavailable) as caught:
            await Person(farm).store.read_intent()
        assert "celadon store adopt HOST --dead blue-1" in (caught.value.hint or "")

    tell(story)


# -- replacing a lost one --------------------------------------------------------------------------


def test_adopting_asks_for_every_host_or_its_death(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.silence("blue-1")
        with pytest.raises(Refused, match="blue-1 does not answer") as caught:
            await Person(farm).adopt("green-1")
        assert "celadon store adopt green-1 --dead blue-1" in (caught.value.hint or "")
        with pytest.raises(Refused, match="blue-1 is named dead and cannot be the home"):
            await Person(farm).adopt(dead=frozenset({"blue-1"}))
        with pytest.raises(Refused, match="no host is named green-9"):
            await Person(farm).adopt("green-9")

    tell(story)


def test_a_new_epoch_begins_above_every_fence_and_the_old_home_is_not_believed(farm: Farm) -> None:
    async def story() -> None:
        fence = await live_a_little(farm)
        farm.silence("blue-1")
        adopted = await Person(farm).adopt("green-1", frozenset({"blue-1"}))
        assert (adopted.seat, adopted.untold) == (Seat(2, 0, "green-1"), ("blue-1",))
        new = Person(farm, home="green-1")
        lease = await new.take()
        assert lease.fence > fence
        assert epoch_of(lease.fence) == 2
        raw = await new.store.read_adopted()
        assert raw is not None
        assert msgspec.json.decode(raw, type=Adopted).by == "ada"

        farm.silence("blue-1", silent=False)  # it comes back with all that it had
        stale = Person(farm, home="blue-1", who="bob")
        old = await stale.take()  # nobody has told it yet
        for host in ("green-1", "green-2"):
            assert (await farm.homes.facts(host)).fence > old.fence
        await farm.raise_fence("blue-1", lease.fence)  # the new driver's first look
        with pytest.raises(LeaseLost):
            await old.renew()
        stale.store.forget()
        assert (await stale.store.find()).host == "green-1"
        await old.let_go()
        await lease.release()

    tell(story)


def test_a_home_that_lives_is_moved_and_not_replaced(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        with pytest.raises(Refused, match="the home of shop is blue-1, and it answers") as caught:
            await Person(farm).adopt("green-1")
        assert "celadon store move green-1" in (caught.value.hint or "")
        kept = await Person(farm).adopt()
        assert (kept.seat.home, kept.changed) == ("blue-1", False)
        assert (await farm.homes.facts("green-1")).told is None

    tell(story)


def test_nothing_is_adopted_where_nothing_was(farm: Farm) -> None:
    async def story() -> None:
        with pytest.raises(Refused, match="nothing was ever deployed"):
            await Person(farm).adopt()

    tell(story)


def test_of_two_who_adopt_different_hosts_at_once_one_wins_at_most(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.wipe("blue-1")
        ada, bob = Person(farm), Person(farm, who="bob")
        seats = [Seat(2, 0, "green-1"), Seat(2, 0, "green-2")]
        await farm.homes.claim("green-2", seats[1], 0)  # bob has got so far
        with pytest.raises(CeladonError):
            await farm.homes.claim("green-2", seats[0], home.first_fence(2))
        assert (await ada.adopt("green-1")).seat == Seat(3, 0, "green-1")
        with pytest.raises(Refused, match="green-1, and it answers"):
            await bob.adopt("green-2")
        assert await homes_of(farm) == ["green-1"]

    tell(story)


@pytest.mark.parametrize("after", [False, True])
def test_an_adopter_killed_anywhere_and_run_again_ends_right(farm: Farm, *, after: bool) -> None:
    async def lost() -> None:
        await live_a_little(again(farm))
        farm.wipe("blue-1")

    async def whole() -> int:
        await lost()
        ada = Person(farm)
        await ada.adopt("green-1")
        return len(ada.fuse.calls)

    async def story() -> None:
        for at in range(await whole()):
            await lost()
            with pytest.raises(Killed):
                await Person(farm, fuse=Fuse(at, after=after)).adopt("green-1")
            assert len(await homes_of(farm)) <= 1
            seat = (await Person(farm, who="cyd").adopt("green-1")).seat
            assert seat.home == "green-1"
            assert await homes_of(farm) == ["green-1"]
            lease = await Person(farm).take()
            assert epoch_of(lease.fence) == seat.epoch > 1
            await lease.release()

    tell(story)


def test_an_old_home_that_returns_after_the_new_one_was_lost_begins_a_third_epoch(farm: Farm) -> None:
    async def story() -> None:
        await live_a_little(farm)
        farm.silence("blue-1")
        await Person(farm).adopt("green-1", frozenset({"blue-1"}))
        farm.silence("blue-1", silent=False)
        farm.wipe("green-1")
        assert (await Person(farm).adopt()).seat == Seat(3, 0, "blue-1")
        store = Person(farm).store
        assert await store.read_intent() is None  # what was open in it is of another time
        assert list(await store.rollouts()) == [1, 2]
        assert await store.read_key() == b"a-key"

    tell(story)


def test_agent_and_core_count_epochs_alike() -> None:
    assert agent_fence.EPOCH == home.EPOCH
    for fence in (0, 1, home.EPOCH - 1, home.EPOCH, 7 * home.EPOCH + 5):
        assert agent_fence.epoch_of(fence) == home.epoch_of(fence)
        assert home.epoch_of(home.first_fence(home.epoch_of(fence))) == home.epoch_of(fence)
