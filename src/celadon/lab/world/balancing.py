"""What a NodeBalancer is made of: finding its parts, naming them in events, and telling the data plane of them."""

from celadon.lab.parts import PlaneBalancer, PlaneConfig, PlaneNode
from celadon.lab.world.account import State, entity
from celadon.lab.world.objects import Balancer, Config, Json, Node
from celadon.lab.world.problems import NotFound


def config_of(state: State, balancer_id: int, config_id: int) -> Config:
    state.find(Balancer, balancer_id)
    config = state.find(Config, config_id)
    if config.nodebalancer_id != balancer_id:
        raise NotFound
    return config


def node_of(state: State, balancer_id: int, config_id: int, node_id: int) -> Node:
    config_of(state, balancer_id, config_id)
    node = state.find(Node, node_id)
    if node.config_id != config_id:
        raise NotFound
    return node


def configs_of(state: State, balancer_id: int) -> list[Config]:
    return [config for config in state.all(Config) if config.nodebalancer_id == balancer_id]


def nodes_of(state: State, config_id: int) -> list[Node]:
    return [node for node in state.all(Node) if node.config_id == config_id]


def as_plane(state: State, balancer: Balancer) -> PlaneBalancer:
    """What the data plane is told of a NodeBalancer."""
    return PlaneBalancer(
        id=balancer.id,
        address=balancer.ipv4,
        client_conn_throttle=balancer.client_conn_throttle,
        configs=tuple(_config_as_plane(state, config) for config in configs_of(state, balancer.id)),
    )


def _config_as_plane(state: State, config: Config) -> PlaneConfig:
    return PlaneConfig(
        id=config.id,
        port=config.port,
        protocol=config.protocol,
        algorithm=config.algorithm,
        stickiness=config.stickiness,
        check=config.check,
        check_interval=config.check_interval,
        check_timeout=config.check_timeout,
        check_attempts=config.check_attempts,
        check_path=config.check_path,
        check_body=config.check_body,
        check_passive=config.check_passive,
        ssl_cert=config.ssl_cert,
        ssl_key=config.ssl_key,
        proxy_protocol=config.proxy_protocol,
        nodes=tuple(
            PlaneNode(id=node.id, address=node.address, weight=node.weight, mode=node.mode)
            for node in nodes_of(state, config.id)
        ),
    )


def about(balancer: Balancer) -> Json:
    return entity("nodebalancer", balancer.id, balancer.label, f"/v4/nodebalancers/{balancer.id}")


def about_config(config: Config) -> Json:
    url = f"/v4/nodebalancers/{config.nodebalancer_id}/configs/{config.id}"
    return entity("nodebalancer_config", config.id, str(config.port), url)


def about_node(node: Node) -> Json:
    url = f"/v4/nodebalancers/{node.nodebalancer_id}/configs/{node.config_id}/nodes/{node.id}"
    return entity("nodebalancer_node", node.id, node.label, url)
