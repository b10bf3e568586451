"""An app that goes back: abort and rollback, at every moment, by whoever asks, and asked again."""

import pytest
from tests.drive.apps import Shop, release, result, spawn, stored, story

from celadon.core.errors import Refused
from celadon.core.journal import Event, Finished, Returning
from celadon.core.release import Colour
from celadon.core.wanted import Options

BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.mark.parametrize("kind", ["Opened", "Started", "Warmed", "Asked", "StepDone", "Committed"])
def test_going_back_at_any_time_before_stable_is_signalled(kind: str) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        going = spawn(shop.deploy("v2"))
        await shop.until(lambda: kind in shop.kinds(2))
        heard: list[Event] = []
        followed = await shop.person("bob").go_back(each=heard.append)
        assert (result(followed), result(await going)) == ("rolled_back", "rolled_back")
        assert {Returning, Finished} <= {type(event) for event in heard}
        assert shop.serving() == shop.all_of(BLUE)
        assert shop.versions == {release("v1").id}
        assert result(await shop.deploy("v2")) == "done"

    assert story(tell).unharmed()


def test_a_rollback_in_the_bake_needs_no_replica() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2", Options(until_commit=True))
        assert result(await shop.person().rollback()) == "rolled_back"
        assert "Started" not in shop.kinds(2)[shop.kinds(2).index("Committed") :]

    assert story(tell).unharmed()


def test_once_stable_was_retired_a_rollback_starts_the_kept_release() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2")
        assert result(await shop.person().rollback()) == "done"
        assert shop.versions == {release("v1").id}
        assert stored(shop).rollout.kind == "rollback"
        assert result(await shop.person().rollback("v2")) == "done"
        with pytest.raises(Refused, match="release v9 is not kept"):
            await shop.person().rollback("v9")

    assert story(tell).unharmed()


@pytest.mark.parametrize("named", [None, "v1"])
@pytest.mark.parametrize("kind", ["Opened", "Asked", "Committed", "Retiring"])
def test_a_rollback_whose_driver_died_goes_on_when_it_is_asked_for_again(kind: str, named: str | None) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2")
        going = spawn(shop.person().rollback(named))
        await shop.until(lambda: kind in shop.kinds(3))
        shop.kill(going)
        assert result(await shop.person("bob").rollback(named)) == "done"
        assert shop.versions == {release("v1").id}
        assert max(shop.world.journals) == 3

    assert story(tell).unharmed()


def test_a_rollback_to_what_is_live_already_changes_nothing() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2")
        await shop.person().rollback("v1")
        again = await shop.person("bob").rollback("v1")
        assert again.end is not None
        assert again.end.because.startswith("already live")
        assert shop.versions == {release("v1").id}

    assert story(tell).unharmed()


def test_an_open_rollback_is_turned_round_by_abort() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        await shop.deploy("v2")
        going = spawn(shop.person().rollback())
        await shop.until(lambda: "Asked" in shop.kinds(3))
        shop.kill(going)
        assert result(await shop.person("bob").go_back()) == "rolled_back"
        assert shop.versions == {release("v2").id}

    assert story(tell).unharmed()


def test_while_stable_is_being_stopped_going_back_is_refused_with_the_way() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        app = shop.person()
        going = spawn(app.deploy(release("v2"), Options()))
        await shop.until(lambda: "Retiring" in shop.kinds(2))
        app.stop()
        await going
        with pytest.raises(Refused, match="has retired its stable"):
            await shop.person("bob").go_back()
        assert result(await shop.person("bob").resume()) == "done"

    story(tell)


def test_going_back_works_though_the_opener_died_before_the_first_line() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        app = shop.person()
        going = spawn(app.deploy(release("v2"), Options()))
        await shop.until(lambda: stored(shop).rollout.number == 2)
        shop.kill(going)
        shop.world.journals.pop(2, None)
        assert result(await shop.person("bob").go_back()) == "rolled_back"

    assert story(tell).unharmed()


def test_with_nothing_open_there_is_nothing_to_steer() -> None:
    async def tell(shop: Shop) -> None:
        app = shop.person()
        for verb in (app.go_back, app.resume, app.pause):
            with pytest.raises(Refused, match="no rollout is open"):
                await verb()
        with pytest.raises(Refused, match="nothing was ever deployed"):
            await app.rollback()
        await shop.deploy("v1")
        with pytest.raises(Refused, match="no earlier release is known"):
            await app.rollback()

    story(tell)
