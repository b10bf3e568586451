"""What is special to Linode in `LinodeBalancer`: spellings, what is sent, what it costs, whose balancer it is."""

from collections.abc import AsyncIterator

import pytest
from tests.adapters.linode.app import LinodeApp
from tests.adapters.servers import serving

from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_http import CallCounts
from celadon.adapters.nodebalancer import LinodeBalancer
from celadon.core.errors import NoAnswer, Refused
from celadon.core.observed import Mode
from celadon.core.secret import Secret


@pytest.fixture
def app() -> LinodeApp:
    return LinodeApp()


@pytest.fixture
async def api(app: LinodeApp) -> AsyncIterator[LinodeApi]:
    async with serving(app.app()) as url, LinodeApi(url, Secret(app.token)) as client:
        yield client


async def test_only_mode_and_weight_are_sent(app: LinodeApp, api: LinodeApi) -> None:
    app.add_node(app.add_config(app.add_balancer("front")), "192.168.130.1:80")
    balancer = await LinodeBalancer.find(api, "front")
    node = (await balancer.read()).configs[0].nodes[0]
    await balancer.set_node(node, Mode.DRAIN, 12, 5.0)
    assert app.bodies == [{"mode": "drain", "weight": 12}]


async def test_a_new_node_says_reject_itself(app: LinodeApp, api: LinodeApi) -> None:
    config = app.add_config(app.add_balancer("front"))
    balancer = await LinodeBalancer.find(api, "front")
    await balancer.add_node(config, "green-1", "192.168.130.1:80")
    assert app.bodies[0]["mode"] == "reject"


async def test_a_look_at_one_node_is_no_list(app: LinodeApp, api: LinodeApi) -> None:
    for port in (80, 81, 82):
        app.add_node(app.add_config((app.balancers and 1001) or app.add_balancer("front"), port=port), "10.0.0.1:1")
    balancer = LinodeBalancer(api, 1001)
    facts = await balancer.read()
    assert api.counts == CallCounts(lists=4, reads=1, puts=0, posts=0)
    await balancer.read_node(facts.configs[0].nodes[0])
    assert api.counts == CallCounts(lists=4, reads=2, puts=0, posts=0)


@pytest.mark.parametrize(
    ("status", "up"),
    [("UP", True), ("up", True), ("DOWN", False), ("Unknown", None), ("unknown", None), ("odd", None)],
)
async def test_every_spelling_of_a_status_is_read(
    app: LinodeApp, api: LinodeApi, status: str, *, up: bool | None
) -> None:
    app.add_node(app.add_config(app.add_balancer("front")), "192.168.130.1:80", status=status)
    assert (await LinodeBalancer(api, 1001).read()).configs[0].nodes[0].up is up


async def test_a_mode_nobody_knows_is_no_answer(app: LinodeApp, api: LinodeApi) -> None:
    app.add_node(app.add_config(app.add_balancer("front")), "192.168.130.1:80", mode="mirror")
    with pytest.raises(NoAnswer, match="mirror"):
        await LinodeBalancer(api, 1001).read()


async def test_udp_ports_are_shown_and_their_nodes_are_not(app: LinodeApp, api: LinodeApi) -> None:
    config = app.add_config(app.add_balancer("front"), protocol="udp", stickiness="session")
    app.add_node(config, "192.168.130.1:53", mode="none")
    facts = (await LinodeBalancer(api, 1001).read()).configs[0]
    assert (facts.protocol, facts.nodes) == ("udp", ())


async def test_a_balancer_of_kubernetes_is_left_alone(app: LinodeApp, api: LinodeApi) -> None:
    number = app.add_balancer("ccm-1", lke_cluster={"id": 4, "label": "k", "type": "lkecluster", "url": "/"})
    with pytest.raises(Refused, match="LKE"):
        await LinodeBalancer.find(api, "ccm-1")
    with pytest.raises(Refused, match="LKE"):
        await LinodeBalancer(api, number).read()


async def test_a_label_with_odd_characters_is_not_sent(app: LinodeApp, api: LinodeApi) -> None:
    config = app.add_config(app.add_balancer("front"))
    with pytest.raises(Refused, match="label"):
        await LinodeBalancer(api, 1001).add_node(config, "green 1\n", "192.168.130.1:80")
    assert app.bodies == []
