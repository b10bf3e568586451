"""One driver at a time, whatever is lost on the way."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.simulation.ports import Ports
from tests.simulation.virtual import run
from tests.simulation.world import SimWorld

from celadon.core.errors import LeaseLost, NoAnswer, Unavailable
from celadon.drive.lease import Held, Lease, decode

TTL = 30.0


class Home(Ports):
    """A home whose next swaps can be lost: done or not done, and no answer either way."""

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world)
        self.lose: list[str] = []  # "done", "not done" or "late", a swap each

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        fate = self.lose.pop(0) if self.lose else ""
        if fate == "not done":
            raise NoAnswer("home: no answer")
        if fate == "late":
            asyncio.get_running_loop().call_later(0.05, self._land, old, new)
            raise NoAnswer("home: no answer")
        done = await super().swap_lease(old, new)
        if fate == "done":
            raise NoAnswer("home: no answer")
        return done

    def _land(self, old: bytes | None, new: bytes) -> None:
        if self.world.lease == old:
            self.world.lease = new


def told(story: Callable[[SimWorld], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story(SimWorld(1))

    run(whole())


def lease(world: SimWorld, who: str, home: Home | None = None) -> Lease:
    ports = home if home is not None else Home(world)
    return Lease(ports, ports, who, TTL)


def holder(world: SimWorld) -> str:
    facts = decode(world.lease)
    assert facts is not None
    return facts.holder


def test_the_first_takes_it_at_once_and_the_fence_grows_with_each_holder() -> None:
    async def story(world: SimWorld) -> None:
        for fence, who in enumerate(("ada", "bob", "ada"), 1):
            mine = lease(world, who)
            await mine.take()
            assert (mine.fence, mine.taken_over, holder(world)) == (fence, False, who)
            await mine.release()
            assert holder(world) == ""

    told(story)


def test_who_finds_a_living_holder_is_told_soon_and_by_name() -> None:
    async def story(world: SimWorld) -> None:
        mine = lease(world, "ada")
        await mine.take()
        began = world.now
        with pytest.raises(Held, match="driven by ada"):
            await lease(world, "bob").take()
        assert world.now - began < TTL
        await mine.release()

    told(story)


def test_a_dead_holders_lease_is_taken_after_one_time_to_live() -> None:
    async def story(world: SimWorld) -> None:
        dead = lease(world, "ada")
        await dead.take()
        await dead.let_go()
        began = world.now
        mine = lease(world, "bob")
        await mine.take()
        assert world.now - began >= TTL
        assert (mine.fence, mine.taken_over) == (2, True)
        assert dead.remaining < 0
        with pytest.raises(LeaseLost):
            await dead.renew()
        await dead.release()
        assert holder(world) == "bob"

    told(story)


def test_a_lease_given_back_meanwhile_is_taken_without_waiting() -> None:
    async def story(world: SimWorld) -> None:
        first = lease(world, "ada")
        await first.take()
        await first.let_go()
        waiting = asyncio.get_running_loop().create_task(lease(world, "bob").take())
        await asyncio.sleep(3)
        began = world.now
        await first.release()
        await waiting
        assert world.now - began < TTL / 2

    told(story)


def test_of_two_that_take_it_at_the_same_moment_one_holds_it() -> None:
    async def story(world: SimWorld) -> None:
        async def take_and_live(who: str) -> None:
            mine = lease(world, who)
            await mine.take()
            for _ in range(10):
                await asyncio.sleep(2)
                await mine.renew()

        both = [take_and_live(who) for who in ("ada", "bob")]
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert [type(end) for end in ends if end is not None] == [Held]

    told(story)


@pytest.mark.parametrize("fate", ["done", "not done", "late"])
def test_a_taking_whose_answer_is_lost_is_ours_or_not_taken(fate: str) -> None:
    """It must never look like somebody else's lease, which nobody renews."""

    async def story(world: SimWorld) -> None:
        home = Home(world)
        home.lose = [fate]
        mine = lease(world, "ada", home)
        began = world.now
        await mine.take()
        assert world.now - began < TTL / 2
        assert holder(world) == "ada"
        await mine.renew()
        await mine.release()
        assert holder(world) == ""

    told(story)


def test_a_renewal_whose_answer_is_lost_is_made_again() -> None:
    async def story(world: SimWorld) -> None:
        home = Home(world)
        mine = lease(world, "ada", home)
        await mine.take()
        for fate in ("done", "not done"):
            home.lose = [fate]
            with pytest.raises(Unavailable):
                await mine.renew()
            await mine.renew()
        assert holder(world) == "ada"

    told(story)


def test_giving_back_after_a_lost_renewal_gives_it_back() -> None:
    async def story(world: SimWorld) -> None:
        home = Home(world)
        mine = lease(world, "ada", home)
        await mine.take()
        home.lose = ["done"]
        with pytest.raises(Unavailable):
            await mine.renew()
        await mine.release()
        assert holder(world) == ""

    told(story)


def test_what_is_left_is_counted_from_when_the_renewal_was_sent() -> None:
    async def story(world: SimWorld) -> None:
        home = Home(world)
        mine = lease(world, "ada", home)
        await mine.take()
        sent = world.now
        home.freeze(7)
        await mine.renew()
        assert mine.remaining == pytest.approx(sent + TTL - world.now)

    told(story)
