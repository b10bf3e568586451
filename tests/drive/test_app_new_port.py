"""A port that is added while another serves: the next deploy opens it, and every way out leads to ports that agree."""

import pytest
from tests.drive.apps import Shop, release, result, spawn, stored, story

from celadon.core.errors import Unavailable
from celadon.core.observed import Mode
from celadon.core.release import Colour
from celadon.core.wanted import Options

BLUE, GREEN = Colour.BLUE, Colour.GREEN


def added(shop: Shop, how: str) -> None:
    """As Terraform makes it, with its nodes in mode reject; or by hand, without nodes: then Celadon adds them."""
    new = shop.world.ports[-1]
    if how == "off":
        shop.world.add_port_lately(new)
    else:
        shop.world.nodes = {id_: node for id_, node in shop.world.nodes.items() if node.port != new}


@pytest.mark.parametrize("how", ["off", "without nodes"])
def test_a_deploy_opens_it(how: str) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        added(shop, how)
        assert result(await shop.deploy("v2")) == "done"
        assert shop.serving() == shop.all_of(GREEN)
        assert stored(shop).rollout.new_ports == (443,)
        assert result(await shop.deploy("v3")) == "done"
        assert shop.serving() == shop.all_of(BLUE)
        assert stored(shop).rollout.new_ports == ()

    assert story(tell, Shop(ports=2)).unharmed()


@pytest.mark.parametrize("how", ["off", "without nodes"])
def test_a_plan_says_so_and_foresees_the_usual_way(how: str) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        usual = await shop.person().foresee(release("v2"), Options())
        added(shop, how)
        forecast = await shop.person().foresee(release("v2"), Options())
        assert forecast.warnings == ("port 443 sends nobody anywhere yet: this rollout opens it",)
        assert [step.name for step in forecast.steps] == [step.name for step in usual.steps]

    story(tell, Shop(ports=2))


@pytest.mark.parametrize("how", ["off", "without nodes"])
@pytest.mark.parametrize("kind", ["Opened", "Warmed", "Asked", "StepDone", "Committed"])
def test_going_back_from_anywhere_leads_to_the_same_release_on_all_ports(kind: str, how: str) -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        added(shop, how)
        going = spawn(shop.deploy("v2"))
        await shop.until(lambda: kind in shop.kinds(2))
        await shop.person("bob").go_back()
        assert result(await going) == "rolled_back"
        assert shop.serving() == shop.all_of(BLUE)
        assert result(await shop.deploy("v2")) == "done"
        assert shop.serving() == shop.all_of(GREEN)

    assert story(tell, Shop(ports=2)).unharmed()


def test_a_driver_that_dies_on_the_way_is_followed_by_another() -> None:
    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        added(shop, "off")
        going = spawn(shop.deploy("v2"))
        await shop.until(lambda: any(n.port == 443 and n.mode is Mode.ACCEPT for n in shop.world.nodes.values()))
        shop.kill(going)
        assert result(await shop.deploy("v2")) == "done"
        assert shop.serving() == shop.all_of(GREEN)

    assert story(tell, Shop(ports=2)).unharmed()


def test_nodes_that_are_added_and_not_listed_yet_open_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way back leads to them, so they must be known when it is written down."""

    async def tell(shop: Shop) -> None:
        await shop.deploy("v1")
        added(shop, "without nodes")
        monkeypatch.setattr(shop.world, "add_node", lambda _port, _address: None)
        with pytest.raises(Unavailable, match="was added and is not listed yet"):
            await shop.deploy("v2")
        assert max(shop.world.journals) == 1
        assert {port for port, _ in shop.serving()} == {80}

    story(tell, Shop(ports=2))
