"""The journal as one driver writes it: numbered, tried again, and refused to who may write no more."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from tests.simulation.ports import Ports
from tests.simulation.virtual import run
from tests.simulation.world import SimWorld

from celadon.core.errors import LeaseLost, NoAnswer, Unavailable
from celadon.core.journal import Committed, Noted, Opened, Retiring
from celadon.drive.log import PATIENCE, Log, decode_events


class Home(Ports):
    """Appends that are lost before (`refused`) or after (`unanswered`) they were done."""

    def __init__(self, world: SimWorld) -> None:
        super().__init__(world)
        self.refused = 0
        self.unanswered = 0

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        if self.refused:
            self.refused -= 1
            raise Unavailable("home: no answer")
        await super().append(rollout, start, events, fence)
        if self.unanswered:
            self.unanswered -= 1
            raise NoAnswer("home: no answer")


def told(story: Callable[[SimWorld, Home], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = SimWorld(1)
        await story(world, Home(world))

    run(whole())


def kinds(world: SimWorld) -> list[str]:
    return [type(event).__name__ for event in decode_events(world.journals.get(1, []))]


def test_what_is_written_is_remembered_and_can_be_read_by_the_next() -> None:
    async def story(world: SimWorld, home: Home) -> None:
        log = Log(home, home, 1, fence=1)
        await log.load()
        await log.write(Opened(), Committed())
        other = Log(home, home, 1, fence=2)
        await other.load()
        assert other.journal.committed_at == log.journal.committed_at
        await other.write(Retiring())
        assert kinds(world) == ["Opened", "Committed", "Retiring"]

    told(story)


@pytest.mark.parametrize(("refused", "unanswered"), [(3, 0), (0, 3), (2, 2)])
def test_the_same_numbers_are_the_same_events_however_often_they_are_sent(refused: int, unanswered: int) -> None:
    async def story(world: SimWorld, home: Home) -> None:
        log = Log(home, home, 1, fence=1)
        home.refused, home.unanswered = refused, unanswered
        await log.write(Opened())
        await log.write(Committed())
        assert kinds(world) == ["Opened", "Committed"]
        assert log.journal.length == 2

    told(story)


def test_its_patience_ends() -> None:
    async def story(world: SimWorld, home: Home) -> None:
        log = Log(home, home, 1, fence=1)
        home.refused = 10_000
        began = world.now
        with pytest.raises(Unavailable):
            await log.write(Opened())
        assert PATIENCE <= world.now - began < 2 * PATIENCE
        assert log.journal.length == 0

    told(story)


def test_a_smaller_fence_may_not_write() -> None:
    async def story(world: SimWorld, home: Home) -> None:
        await Log(home, home, 1, fence=2).write(Opened())
        late = Log(home, home, 1, fence=1)
        await late.load()
        with pytest.raises(LeaseLost):
            await late.write(Committed())
        assert kinds(world) == ["Opened"]

    told(story)


def test_two_that_write_the_same_number_are_told_apart() -> None:
    async def story(world: SimWorld, home: Home) -> None:
        first, second = Log(home, home, 1, fence=1), Log(home, home, 1, fence=1)
        await first.write(Noted(text="mine"))
        with pytest.raises(LeaseLost):
            await second.write(Noted(text="theirs"))

    told(story)


def test_a_clock_set_in_the_middle_moves_nothing() -> None:
    async def story(world: SimWorld, home: Home) -> None:
        log = Log(home, home, 1, fence=1)
        await log.write(Opened())
        home.skew = 7200.0
        await log.write(Committed())
        opened, committed = decode_events(world.journals[1])
        assert committed.at - opened.at < 10
        assert log.journal.committed_at is not None
        assert log.journal.committed_at <= world.now

    told(story)
