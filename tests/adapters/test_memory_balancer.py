"""The bad habits that `MemoryBalancer` can be given: each must show, or the tests that lean on it prove nothing."""

import pytest

from celadon.adapters.memory_balancer import MemoryBalancer
from celadon.core.errors import NoAnswer, Unavailable
from celadon.core.observed import BalancerFacts, ConfigFacts, Mode, NodeFacts


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def balancer(hand: Hand) -> MemoryBalancer:
    node = NodeFacts(80, 1, 11, "blue-1", "10.0.0.1:80", Mode.ACCEPT, 100, up=True)
    config = ConfigFacts(80, 1, "http", "http", 5.0, 2, False, "none", (node,))
    return MemoryBalancer(BalancerFacts(1, "front", "192.0.2.1", 0, (config,)), hand)


def only(facts: BalancerFacts) -> NodeFacts:
    return facts.configs[0].nodes[0]


async def test_a_late_change_is_read_before_it_applies(balancer: MemoryBalancer, hand: Hand) -> None:
    balancer.lag = 60.0
    node = only(await balancer.read())
    await balancer.set_node(node, Mode.REJECT, 1, 5.0)
    assert only(await balancer.read()).mode is Mode.REJECT
    assert only(balancer.applied()).mode is Mode.ACCEPT
    assert only(await balancer.read()).up is True
    hand.now = 60.0
    assert only(balancer.applied()).mode is Mode.REJECT
    assert only(await balancer.read()).up is False


async def test_a_stale_read_shows_what_was(balancer: MemoryBalancer, hand: Hand) -> None:
    balancer.stale = 3.0
    node = only(await balancer.read())
    await balancer.set_node(node, Mode.DRAIN, 1, 5.0)
    read = await balancer.read_node(node)
    assert read is not None
    assert read.mode is Mode.ACCEPT
    hand.now = 3.0
    assert only(await balancer.read()).mode is Mode.DRAIN


async def test_a_node_taken_out_of_reject_is_unknown_until_checked(balancer: MemoryBalancer, hand: Hand) -> None:
    balancer.lag, balancer.rise = 2.0, 10.0
    node = only(await balancer.read())
    await balancer.set_node(node, Mode.REJECT, 1, 5.0)
    hand.now = 5.0
    await balancer.set_node(node, Mode.ACCEPT, 1, 5.0)
    seen = []
    for now in (6.0, 7.0, 16.0, 17.0):
        hand.now = now
        seen.append(only(await balancer.read()).up)
    assert seen == [False, None, None, True]


async def test_a_weight_change_does_not_restart_the_checks(balancer: MemoryBalancer, hand: Hand) -> None:
    balancer.rise = 10.0
    hand.now = 100.0
    await balancer.set_node(only(await balancer.read()), Mode.ACCEPT, 7, 5.0)
    assert only(await balancer.read()).up is True


async def test_requests_dropped_and_answers_lost_differ(balancer: MemoryBalancer) -> None:
    node = only(await balancer.read())
    balancer.drop_requests = 1
    with pytest.raises(Unavailable) as caught:
        await balancer.set_node(node, Mode.REJECT, 1, 5.0)
    assert type(caught.value) is Unavailable
    assert balancer.changes == []
    balancer.lose_answers = 1
    with pytest.raises(NoAnswer):
        await balancer.set_node(node, Mode.REJECT, 1, 5.0)
    assert balancer.changes == [("10.0.0.1:80", Mode.REJECT, 1)]
    await balancer.set_node(node, Mode.ACCEPT, 1, 5.0)
