"""Configs of NodeBalancers: one a port, and what a rebuild does to its nodes."""

import msgspec

from celadon.lab.switches import Switches
from celadon.lab.world import locks, nodes
from celadon.lab.world.account import Account
from celadon.lab.world.balancing import about, about_config, config_of, configs_of, nodes_of
from celadon.lab.world.certificates import read_certificate
from celadon.lab.world.objects import Balancer, Config, HeldPort, Json, Node
from celadon.lab.world.problems import Problem

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


def create(account: Account, balancer_id: int, body: Json) -> Config:
    balancer = account.find(Balancer, balancer_id)
    blank = Config(
        id=account.new_id(),
        nodebalancer_id=balancer_id,
        check_interval=account.state.switches.check_interval_default,
    )
    config = account.put(_changed(account, blank, body))
    account.note("nodebalancer_config_create", about(balancer), secondary=about_config(config))
    return config


def update(account: Account, balancer_id: int, config_id: int, body: Json) -> Config:
    """Partial: fields that were not sent stay (recorded)."""
    balancer = account.find(Balancer, balancer_id)
    config = account.put(_changed(account, config_of(account.state, balancer_id, config_id), body))
    account.note("nodebalancer_config_update", about(balancer), secondary=about_config(config))
    return config


def delete(account: Account, balancer_id: int, config_id: int) -> None:
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
    account.note("nodebalancer_config_delete", about(balancer), secondary=about_config(config))


def rebuild(account: Account, balancer_id: int, config_id: int, body: Json) -> Config:
    """The config and all its nodes in one change: nodes with an id stay, those without are made, the rest goes."""
    balancer = account.find(Balancer, balancer_id)
    old = config_of(account.state, balancer_id, config_id)
    locks.refuse_inside(account, "nodebalancer", balancer_id)
    switches = account.state.switches
    protocol = body.get("protocol") or old.protocol
    has_secrets = body.get("ssl_cert") and body.get("ssl_key")
    if protocol == "https" and switches.rebuild_needs_certificate and not has_secrets:
        raise Problem("SSL certificate and key are required for https", "ssl_cert")
    base = _reset(old, switches) if switches.rebuild_resets else old
    config = account.put(_changed(account, base, body))
    _replace_nodes(account, config, body["nodes"])
    account.note("nodebalancer_config_update", about(balancer), secondary=about_config(config))
    return config


def _reset(config: Config, switches: Switches) -> Config:
    """All defaults but for what makes it this config: port, protocol and what https needs."""
    blank = Config(id=config.id, nodebalancer_id=config.nodebalancer_id, check_interval=switches.check_interval_default)
    names = ("port", "protocol", "ssl_cert", "ssl_key", "ssl_commonname", "ssl_fingerprint")
    return msgspec.structs.replace(blank, **{name: getattr(config, name) for name in names})


def _replace_nodes(account: Account, config: Config, wanted: list[Json]) -> None:
    present = nodes_of(account.state, config.id)
    named = {node["id"] for node in wanted if node.get("id")}
    strangers = named - {node.id for node in present}
    if strangers:
        raise Problem(f"Node {min(strangers)} does not belong to this config", "nodes.id")
    for node in present:
        if node.id not in named:
            account.drop(node)
    for body in wanted:
        if body.get("id"):
            nodes.change(account, account.find(Node, body["id"]), body)
        else:
            nodes.create(account, config.nodebalancer_id, config.id, body)


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
