"""Nodes of NodeBalancers: who gets the traffic of a port."""

import ipaddress
from collections.abc import Sequence

from celadon.lab.world import locks
from celadon.lab.world.account import Account, State
from celadon.lab.world.addresses import PRIVATE
from celadon.lab.world.balancing import about, about_node, config_of, node_of
from celadon.lab.world.objects import Balancer, BalancerVpc, Json, Node, Subnet
from celadon.lab.world.problems import Problem


def create(account: Account, balancer_id: int, config_id: int, body: Json) -> Node:
    balancer = account.find(Balancer, balancer_id)
    config_of(account.state, balancer_id, config_id)
    for name in ("address", "label"):
        if not body.get(name):
            raise Problem(f"{name} is required", name)
    node = Node(
        id=account.new_id(),
        nodebalancer_id=balancer_id,
        config_id=config_id,
        label=body["label"],
        address=_address(account.state, balancer_id, body["address"]),
        vpc_config_id=_vpc_config(account.state, balancer_id, body.get("subnet_id")),
    )
    made = change(account, node, body)
    account.note("nodebalancer_node_create", about(balancer), secondary=about_node(made))
    return made


def update(account: Account, balancer_id: int, config_id: int, node_id: int, body: Json) -> Node:
    """Partial: `{"mode": "drain"}` alone is accepted (recorded)."""
    balancer = account.find(Balancer, balancer_id)
    node = change(account, node_of(account.state, balancer_id, config_id, node_id), body)
    account.note("nodebalancer_node_update", about(balancer), secondary=about_node(node))
    return node


def delete(account: Account, balancer_id: int, config_id: int, node_id: int) -> None:
    balancer = account.find(Balancer, balancer_id)
    node = node_of(account.state, balancer_id, config_id, node_id)
    locks.refuse_inside(account, "nodebalancer", balancer_id)
    account.drop(node)
    account.note("nodebalancer_node_delete", about(balancer), secondary=about_node(node))


def change(account: Account, node: Node, body: Json) -> Node:
    changes = {name: body[name] for name in ("label", "weight", "mode") if body.get(name) is not None}
    if body.get("address") is not None:
        changes["address"] = _address(account.state, node.nodebalancer_id, body["address"])
    return account.amend(node, changes)


def _address(state: State, balancer_id: int, text: str) -> str:
    """`IPv4:port`, private or of a subnet that the NodeBalancer is in."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.IPv4Address(host)
        valid = port.isascii() and port.isdigit() and 1 <= int(port) <= 65535
    except ValueError:
        valid = False
    if not valid:
        raise Problem("Must be an address and a port, like 192.168.210.120:80", "address")
    networks = [PRIVATE, *_subnets(state, balancer_id)]
    if not any(address in network for network in networks):
        raise Problem("Must be a private IPv4 address of a Linode", "address")
    return f"{address}:{int(port)}"


def _subnets(state: State, balancer_id: int) -> Sequence[ipaddress.IPv4Network]:
    return [
        ipaddress.IPv4Network(state.find(Subnet, vpc.subnet_id).ipv4)
        for vpc in state.all(BalancerVpc)
        if vpc.nodebalancer_id == balancer_id
    ]


def _vpc_config(state: State, balancer_id: int, subnet_id: int | None) -> int | None:
    if not subnet_id:
        return None
    for vpc in state.all(BalancerVpc):
        if (vpc.nodebalancer_id, vpc.subnet_id) == (balancer_id, subnet_id):
            return vpc.id
    raise Problem("The NodeBalancer is not in this subnet", "subnet_id")
