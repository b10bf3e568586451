"""NodeBalancers: create, change, delete, and the subnets they are in."""

import ipaddress

from celadon.lab.facts import catalogue
from celadon.lab.world import configs, firewalls, locks, nodes
from celadon.lab.world.account import Account
from celadon.lab.world.addresses import public_ipv6
from celadon.lab.world.balancing import about
from celadon.lab.world.objects import Balancer, BalancerVpc, Config, HeldPort, Json, Node, Subnet
from celadon.lab.world.problems import Problem
from celadon.lab.world.tags import clean_tags


def create(account: Account, body: Json) -> Balancer:
    region = catalogue.region(body["region"])
    if "NodeBalancers" not in region["capabilities"]:
        raise Problem("This region does not support NodeBalancers", "region")
    balancer_id = account.new_id()
    now = account.stamp()
    address = account.state.block.balancer_address({each.ipv4 for each in account.all(Balancer)})
    balancer = account.put(
        Balancer(
            id=balancer_id,
            label=_unique_label(account, body.get("label") or f"balancer{balancer_id}"),
            region=region["id"],
            hostname=f"{address}.ip.linodeusercontent.com",
            ipv4=address,
            ipv6=public_ipv6(address),
            created=now,
            updated=now,
            client_conn_throttle=body.get("client_conn_throttle") or 0,
            client_udp_sess_throttle=body.get("client_udp_sess_throttle") or 0,
            tags=clean_tags(body.get("tags")),
            type=body.get("type") or "common",
        )
    )
    for vpc in body.get("vpcs") or []:
        _join_subnet(account, balancer, vpc)
    for config in body.get("configs") or []:
        if not config.get("nodes"):
            raise Problem("nodes is required", "configs.nodes")
        made = configs.create(account, balancer_id, config)
        for node in config["nodes"]:
            nodes.create(account, balancer_id, made.id, node)
    if body.get("firewall_id"):
        firewalls.attach(account, body["firewall_id"], balancer_id, "nodebalancer", field="firewall_id")
    account.note("nodebalancer_create", about(balancer))
    return balancer


def update(account: Account, balancer_id: int, body: Json) -> Balancer:
    balancer = account.find(Balancer, balancer_id)
    changes: Json = {"updated": account.stamp()}
    if body.get("label") not in (None, balancer.label):
        changes["label"] = _unique_label(account, body["label"])
    if body.get("tags") is not None:
        changes["tags"] = clean_tags(body["tags"])
    for name in ("client_conn_throttle", "client_udp_sess_throttle"):
        if body.get(name) is not None:
            changes[name] = body[name]
    changed = account.amend(balancer, changes)
    account.note("nodebalancer_update", about(changed))
    return changed


def delete(account: Account, balancer_id: int) -> None:
    """With its configs and nodes."""
    balancer = account.find(Balancer, balancer_id)
    locks.refuse_delete(account, "nodebalancer", balancer_id)
    account.drop_where(Node, lambda node: node.nodebalancer_id == balancer_id)
    account.drop_where(Config, lambda config: config.nodebalancer_id == balancer_id)
    account.drop_where(BalancerVpc, lambda vpc: vpc.nodebalancer_id == balancer_id)
    account.drop_where(HeldPort, lambda held: held.nodebalancer_id == balancer_id)
    firewalls.detach_all(account, balancer_id, "nodebalancer")
    account.drop(balancer)
    account.note("nodebalancer_delete", about(balancer))


def _join_subnet(account: Account, balancer: Balancer, body: Json) -> None:
    subnet = account.find(Subnet, body["subnet_id"])
    network = ipaddress.IPv4Network(subnet.ipv4)
    wanted = body.get("ipv4_range")
    smallest = list(network.subnets(new_prefix=30))[-1] if network.prefixlen <= 30 else network
    try:
        chosen = ipaddress.IPv4Network(wanted) if wanted else smallest
    except ValueError:
        raise Problem("Must be an IPv4 range", "vpcs[0].ipv4_range") from None
    if not chosen.subnet_of(network) or chosen.prefixlen > 30:
        raise Problem("Must be a /30 or larger range of the subnet", "vpcs[0].ipv4_range")
    account.put(
        BalancerVpc(
            id=account.new_id(),
            nodebalancer_id=balancer.id,
            vpc_id=subnet.vpc_id,
            subnet_id=subnet.id,
            ipv4_range=str(chosen),
        )
    )


def _unique_label(account: Account, label: str) -> str:
    if any(balancer.label == label for balancer in account.all(Balancer)):
        raise Problem("Label must be unique", "label")
    return label
