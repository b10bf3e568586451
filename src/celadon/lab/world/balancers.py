"""NodeBalancers, their configs (one a port) and nodes, with the sharp edges of the real ones."""

import ipaddress
from collections.abc import Sequence

import msgspec

from celadon.lab.facts import catalogue
from celadon.lab.parts import PlaneBalancer, PlaneConfig, PlaneNode
from celadon.lab.world import firewalls, locks
from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.addresses import PRIVATE, public_ipv6
from celadon.lab.world.certificates import read_certificate
from celadon.lab.world.objects import Balancer, BalancerVpc, Config, HeldPort, Json, Node, Subnet
from celadon.lab.world.problems import NotFound, Problem
from celadon.lab.world.tags import clean_tags

CONFIG_FIELDS = (
    "port",
    "protocol",
    "algorithm",
    "stickiness",
    "check",
    "check_interval",
    "check_timeout",
    "check_attempts",
    "check_path",
    "check_body",
    "check_passive",
    "proxy_protocol",
    "cipher_suite",
    "udp_check_port",
    "ssl_cert",
    "ssl_key",
)
REDACTED = "<REDACTED>"


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
        made = create_config(account, balancer_id, config)
        for node in config["nodes"]:
            create_node(account, balancer_id, made.id, node)
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


def create_config(account: Account, balancer_id: int, body: Json) -> Config:
    balancer = account.find(Balancer, balancer_id)
    blank = Config(
        id=account.new_id(),
        nodebalancer_id=balancer_id,
        check_interval=account.state.switches.check_interval_default,
    )
    config = account.put(_changed(account, blank, body))
    account.note("nodebalancer_config_create", about(balancer), secondary=_about_config(config))
    return config


def update_config(account: Account, balancer_id: int, config_id: int, body: Json) -> Config:
    """Partial: fields that were not sent stay (recorded)."""
    balancer = account.find(Balancer, balancer_id)
    config = account.put(_changed(account, config_of(account.state, balancer_id, config_id), body))
    account.note("nodebalancer_config_update", about(balancer), secondary=_about_config(config))
    return config


def delete_config(account: Account, balancer_id: int, config_id: int) -> None:
    balancer = account.find(Balancer, balancer_id)
    config = config_of(account.state, balancer_id, config_id)
    locks.refuse_inside(account, "nodebalancer", balancer_id)
    for node in nodes_of(account.state, config_id):
        account.drop(node)
    account.drop(config)
    held = account.state.switches.port_held_seconds
    if held:
        until = account.clock() + held
        account.put(HeldPort(id=account.new_id(), nodebalancer_id=balancer_id, port=config.port, until=until))
    account.note("nodebalancer_config_delete", about(balancer), secondary=_about_config(config))


def rebuild_config(account: Account, balancer_id: int, config_id: int, body: Json) -> Config:
    """The config and all its nodes in one change: nodes with an id stay, those without are made, the rest goes."""
    balancer = account.find(Balancer, balancer_id)
    old = config_of(account.state, balancer_id, config_id)
    locks.refuse_inside(account, "nodebalancer", balancer_id)
    switches = account.state.switches
    protocol = body.get("protocol") or old.protocol
    has_secrets = body.get("ssl_cert") and body.get("ssl_key")
    if protocol == "https" and switches.rebuild_needs_certificate and not has_secrets:
        raise Problem("SSL certificate and key are required for https", "ssl_cert")
    base = old
    if switches.rebuild_resets:
        interval = switches.check_interval_default
        kept = {"ssl_cert": old.ssl_cert, "ssl_key": old.ssl_key, "protocol": old.protocol, "port": old.port}
        blank = Config(id=old.id, nodebalancer_id=balancer_id, check_interval=interval)
        base = msgspec.structs.replace(blank, **kept)
    config = account.put(_changed(account, base, body))
    named = {node["id"] for node in body["nodes"] if node.get("id")}
    present = {node.id for node in nodes_of(account.state, config_id)}
    if named - present:
        raise Problem(f"Node {min(named - present)} does not belong to this config", "nodes.id")
    for node in nodes_of(account.state, config_id):
        if node.id not in named:
            account.drop(node)
    for node in body["nodes"]:
        if node.get("id"):
            _change_node(account, account.find(Node, node["id"]), node)
        else:
            create_node(account, balancer_id, config_id, node)
    account.note("nodebalancer_config_update", about(balancer), secondary=_about_config(config))
    return config


def create_node(account: Account, balancer_id: int, config_id: int, body: Json) -> Node:
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
    made = _change_node(account, node, body)
    account.note("nodebalancer_node_create", about(balancer), secondary=_about_node(made))
    return made


def update_node(account: Account, balancer_id: int, config_id: int, node_id: int, body: Json) -> Node:
    """Partial: `{"mode": "drain"}` alone is accepted (recorded)."""
    balancer = account.find(Balancer, balancer_id)
    node = _change_node(account, node_of(account.state, balancer_id, config_id, node_id), body)
    account.note("nodebalancer_node_update", about(balancer), secondary=_about_node(node))
    return node


def delete_node(account: Account, balancer_id: int, config_id: int, node_id: int) -> None:
    balancer = account.find(Balancer, balancer_id)
    node = node_of(account.state, balancer_id, config_id, node_id)
    locks.refuse_inside(account, "nodebalancer", balancer_id)
    account.drop(node)
    account.note("nodebalancer_node_delete", about(balancer), secondary=_about_node(node))


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


def about(balancer: Balancer) -> Json:
    return entity("nodebalancer", balancer.id, balancer.label, f"/v4/nodebalancers/{balancer.id}")


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


def _changed(account: Account, config: Config, body: Json) -> Config:
    """`config` with the body's fields, if that is a config that can be."""
    changes = {name: body[name] for name in CONFIG_FIELDS if body.get(name) is not None}
    protocol = changes.get("protocol", config.protocol)
    if protocol == "https":
        changes |= _secrets(config, changes, asked="protocol" in changes)
    elif changes.get("ssl_cert") or changes.get("ssl_key"):
        raise Problem("SSL certificate and key are only for https", "ssl_cert")
    else:
        changes |= {"ssl_cert": None, "ssl_key": None, "ssl_commonname": "", "ssl_fingerprint": ""}
    wanted = msgspec.structs.replace(config, **changes)
    if wanted.check_timeout >= wanted.check_interval:
        raise Problem("check_timeout must be less than check_interval", "check_timeout")
    if wanted.check == "http_body" and not wanted.check_body:
        raise Problem("check_body is required for http_body checks", "check_body")
    if wanted.proxy_protocol != "none" and wanted.protocol != "tcp":
        raise Problem("proxy_protocol is only for tcp", "proxy_protocol")
    if wanted.stickiness == "http_cookie" and wanted.protocol == "tcp":
        raise Problem("http_cookie is only for http and https", "stickiness")
    _refuse_taken_port(account, wanted)
    return wanted


def _secrets(config: Config, changes: Json, *, asked: bool) -> Json:
    """Certificate and key come together, and whoever sends `protocol: https` must send both (Linode's UI says so)."""
    sent = [changes.get("ssl_cert"), changes.get("ssl_key")]
    if REDACTED in sent:
        raise Problem("SSL certificate and key are not valid", "ssl_cert")
    if all(sent):
        return read_certificate(changes["ssl_cert"], changes["ssl_key"])
    if any(sent) or asked or not config.ssl_cert:
        raise Problem("SSL certificate and key are required for https", "ssl_cert" if not sent[0] else "ssl_key")
    return {}


def _refuse_taken_port(account: Account, wanted: Config) -> None:
    taken = {each.port for each in configs_of(account.state, wanted.nodebalancer_id) if each.id != wanted.id}
    for held in account.all(HeldPort):
        if held.until <= account.clock():
            account.drop(held)
        elif held.nodebalancer_id == wanted.nodebalancer_id:
            taken.add(held.port)
    if wanted.port in taken:
        raise Problem(f"NodeBalancer already using port {wanted.port}", "port")


def _change_node(account: Account, node: Node, body: Json) -> Node:
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


def _about_config(config: Config) -> Json:
    url = f"/v4/nodebalancers/{config.nodebalancer_id}/configs/{config.id}"
    return entity("nodebalancer_config", config.id, str(config.port), url)


def _about_node(node: Node) -> Json:
    url = f"/v4/nodebalancers/{node.nodebalancer_id}/configs/{node.config_id}/nodes/{node.id}"
    return entity("nodebalancer_node", node.id, node.label, url)
