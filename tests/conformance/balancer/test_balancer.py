"""What the driver may rely on from every `ports.Balancer`."""

import msgspec
import pytest
from tests.conformance.balancer.conftest import BLUE, GREEN, Bench

from celadon.core.errors import NoAnswer, Refused
from celadon.core.observed import BalancerFacts, Mode, NodeFacts


def nodes_of(facts: BalancerFacts, address: str) -> list[NodeFacts]:
    return [node for config in facts.configs for node in config.nodes if node.address == address]


async def node_at(bench: Bench, address: str) -> NodeFacts:
    return nodes_of(await bench.balancer.read(), address)[0]


async def test_all_is_read_by_port(bench: Bench) -> None:
    facts = await bench.balancer.read()
    assert (facts.label, facts.address, facts.client_conn_throttle) == ("front", bench.address, 0)
    assert [config.port for config in facts.configs] == [80, 8081]
    for config in facts.configs:
        assert (config.protocol, config.check, config.check_interval, config.check_attempts) == (
            "http",
            "http",
            31,
            3,
        )
        assert (config.check_passive, config.stickiness) == (False, "none")
        assert [(node.address, node.label, node.mode, node.weight) for node in config.nodes] == [
            (BLUE, "blue-1", Mode.ACCEPT, 100),
            (GREEN, "green-1", Mode.REJECT, 100),
        ]
        assert {(node.port, node.config_id) for node in config.nodes} == {(config.port, config.id)}


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_node_is_set_and_read_back(bench: Bench, mode: Mode) -> None:
    node = await node_at(bench, GREEN)
    await bench.balancer.set_node(node, mode, 255, 10.0)
    read = await bench.balancer.read_node(node)
    assert read is not None
    assert (read.mode, read.weight) == (mode, 255)
    assert msgspec.structs.replace(read, mode=node.mode, weight=node.weight, up=node.up) == node
    assert nodes_of(await bench.balancer.read(), GREEN)[1].mode is Mode.REJECT


@pytest.mark.parametrize("up", [True, False, None])
async def test_up_down_and_unknown_are_three_things(bench: Bench, *, up: bool | None) -> None:
    node = await node_at(bench, GREEN)
    await bench.balancer.set_node(node, Mode.ACCEPT, 1, 10.0)
    await bench.turn(GREEN, up=up)
    read = await bench.balancer.read_node(node)
    assert read is not None
    assert read.up is up


async def test_a_node_in_reject_is_not_up(bench: Bench) -> None:
    node = await node_at(bench, BLUE)
    assert node.up is True
    await bench.balancer.set_node(node, Mode.REJECT, 100, 10.0)
    await bench.checked()
    read = await bench.balancer.read_node(node)
    assert read is not None
    assert read.up is not True


async def test_the_same_change_twice_is_the_same_state(bench: Bench) -> None:
    node = await node_at(bench, BLUE)
    for _ in range(2):
        await bench.balancer.set_node(node, Mode.BACKUP, 3, 10.0)
    assert [(each.mode, each.weight) for each in nodes_of(await bench.balancer.read(), BLUE)] == [
        (Mode.BACKUP, 3),
        (Mode.ACCEPT, 100),
    ]


async def test_a_change_whose_answer_is_lost_may_have_been_made(bench: Bench) -> None:
    node = await node_at(bench, BLUE)
    await bench.lose_next_answer()
    with pytest.raises(NoAnswer):
        await bench.balancer.set_node(node, Mode.REJECT, 9, 10.0)
    read = await bench.balancer.read_node(node)
    assert read is not None
    assert (read.mode, read.weight) == (Mode.REJECT, 9)


async def test_a_node_whose_making_is_not_answered_is_made_once(bench: Bench) -> None:
    config = (await bench.balancer.read()).configs[0]
    await bench.lose_next_answer()
    with pytest.raises(NoAnswer):
        await bench.balancer.add_node(config.id, "green-2", "192.168.130.22:5000")
    assert len(nodes_of(await bench.balancer.read(), "192.168.130.22:5000")) == 1


async def test_a_new_node_takes_no_traffic(bench: Bench) -> None:
    config = (await bench.balancer.read()).configs[1]
    await bench.balancer.add_node(config.id, "green-2", "192.168.130.22:5000")
    made = nodes_of(await bench.balancer.read(), "192.168.130.22:5000")
    assert [(node.port, node.label, node.mode, node.up is True) for node in made] == [
        (8081, "green-2", Mode.REJECT, False)
    ]
    assert await bench.balancer.read_node(made[0]) == made[0]


@pytest.mark.parametrize("label", ["", "ab", "x" * 33])
async def test_a_label_that_linode_refuses_is_refused(bench: Bench, label: str) -> None:
    config = (await bench.balancer.read()).configs[0]
    with pytest.raises(Refused):
        await bench.balancer.add_node(config.id, label, "192.168.130.22:5000")
    assert len((await bench.balancer.read()).configs[0].nodes) == 2


@pytest.mark.parametrize("weight", [0, -1, 256])
async def test_a_weight_out_of_range_is_refused(bench: Bench, weight: int) -> None:
    node = await node_at(bench, BLUE)
    with pytest.raises(Refused):
        await bench.balancer.set_node(node, Mode.ACCEPT, weight, 10.0)
    assert await bench.balancer.read_node(node) == node


async def test_a_node_that_is_gone_is_none_and_cannot_be_set(bench: Bench) -> None:
    node = await node_at(bench, GREEN)
    await bench.remove(GREEN)
    assert await bench.balancer.read_node(node) is None
    assert nodes_of(await bench.balancer.read(), GREEN) == []
    with pytest.raises(Refused):
        await bench.balancer.set_node(node, Mode.ACCEPT, 1, 10.0)


async def test_a_config_that_does_not_exist_gets_no_node(bench: Bench) -> None:
    with pytest.raises(Refused):
        await bench.balancer.add_node(999_999, "green-2", "192.168.130.22:5000")
