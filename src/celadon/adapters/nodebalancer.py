"""A Linode NodeBalancer as the driver's `Balancer`: the API's words become facts, and nothing is decided."""

import asyncio
import re
from typing import Final

from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_http import NotFound
from celadon.adapters.linode_wire import Config, Node, NodeBalancer
from celadon.core.errors import NoAnswer, Refused
from celadon.core.observed import BalancerFacts, ConfigFacts, Mode, NodeFacts
from celadon.core.release import Seconds

LABEL = re.compile(r"[A-Za-z0-9_.-]{3,32}")
FIRST_WEIGHT = 100  # what Linode's own clients give a new node; it means nothing while the mode is reject
MOST_CONFIGS = 100  # each is a call for its nodes
UDP = "udp"  # its nodes have no modes: no rollout can use such a port, and none is listed


class LinodeBalancer:
    """Implements `ports.Balancer`."""

    def __init__(self, api: LinodeApi, balancer_id: int) -> None:
        self._api: Final = api
        self._id: Final = balancer_id

    @classmethod
    async def find(cls, api: LinodeApi, label_or_id: str) -> "LinodeBalancer":
        """Refuses one that does not exist, and one that Kubernetes owns."""
        return cls(api, _ours(await api.balancer(label_or_id)).id)

    @property
    def id(self) -> int:
        return self._id

    async def read(self) -> BalancerFacts:
        balancer = _ours(await self._api.balancer_by_id(self._id))
        configs = sorted(await self._api.configs(self._id), key=lambda config: config.port)
        if len(configs) > MOST_CONFIGS:
            raise Refused(f"{balancer.label}: {len(configs)} configs; more than {MOST_CONFIGS} are not read")
        nodes = await asyncio.gather(*(self._nodes(config) for config in configs))
        return BalancerFacts(
            id=balancer.id,
            label=balancer.label,
            address=str(balancer.ipv4),
            client_conn_throttle=balancer.client_conn_throttle,
            configs=tuple(
                _config_facts(config, config_nodes) for config, config_nodes in zip(configs, nodes, strict=True)
            ),
        )

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        try:
            found = await self._api.node(self._id, node.config_id, node.id)
        except NotFound:
            return None
        return _node_facts(node.port, found)

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None:
        if not 1 <= weight <= 255:
            raise Refused(f"{node.address}: weight {weight} is not in 1-255", hint="off is a mode, not a weight")
        await self._api.put_node((self._id, node.config_id, node.id), mode, weight, deadline)

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        if LABEL.fullmatch(label) is None:
            raise Refused(f"{address}: a node's label has 3-32 of A-Z a-z 0-9 - _ . and {label!r} has not")
        body: dict[str, str | int] = {
            "label": label,
            "address": address,
            "mode": Mode.REJECT.value,  # the API's default is accept: users would meet it at once
            "weight": FIRST_WEIGHT,
        }
        await self._api.post_node(self._id, config_id, body)

    async def _nodes(self, config: Config) -> tuple[Node, ...]:
        return () if config.protocol == UDP else await self._api.nodes(self._id, config.id)


def _ours(balancer: NodeBalancer) -> NodeBalancer:
    if balancer.owned_by_kubernetes:
        raise Refused(
            f"{balancer.label}: this NodeBalancer belongs to an LKE cluster, which would undo every change",
            hint="deploy to Kubernetes with its own tools, or make a NodeBalancer for this app",
        )
    return balancer


def _config_facts(config: Config, nodes: tuple[Node, ...]) -> ConfigFacts:
    return ConfigFacts(
        port=config.port,
        id=config.id,
        protocol=config.protocol,
        check=config.check,
        check_interval=float(config.check_interval),
        check_attempts=config.check_attempts,
        check_passive=config.check_passive,
        stickiness=config.stickiness,
        nodes=tuple(_node_facts(config.port, node) for node in nodes),
    )


def _node_facts(port: int, node: Node) -> NodeFacts:
    try:
        mode = Mode(node.mode)
    except ValueError:
        raise NoAnswer(
            f"node {node.id} ({node.address}) has a mode that Celadon does not know: {node.mode!r}"
        ) from None
    return NodeFacts(
        port=port,
        config_id=node.config_id,
        id=node.id,
        label=node.label,
        address=node.address,
        mode=mode,
        weight=node.weight,
        up={"up": True, "down": False}.get(node.status.lower()),  # Unknown, in any spelling, and words to come
    )
