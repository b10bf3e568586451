"""NodeBalancers, configs and nodes over HTTP: views, and the table of routes."""

from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.api.firewalls import firewall_view
from celadon.lab.world import balancers, balancing, configs, firewalls, nodes
from celadon.lab.world.configs import REDACTED
from celadon.lab.world.objects import Balancer, BalancerVpc, Config, Lock, Node
from celadon.lab.world.problems import NotFound, Problem

BALANCER, CONFIG, NODE = "/nodebalancers/{balancer:int}", "/configs/{config:int}", "/nodes/{node:int}"


def balancer_view(call: Call, balancer: Balancer) -> Json:
    locks = [
        lock.lock_type
        for lock in call.state.all(Lock)
        if (lock.entity_type, lock.entity_id) == ("nodebalancer", balancer.id)
    ]
    return {
        **shown(balancer),
        "transfer": {"in": None, "out": None, "total": None},
        "lke_cluster": None,
        "locks": locks,
        "frontend_address_type": "public",
        "frontend_vpc_subnet_id": None,
    }


def config_view(call: Call, config: Config) -> Json:
    nodes = balancing.nodes_of(call.state, config.id)
    up = sum(call.status_of(node.id) == "UP" for node in nodes)
    secret = REDACTED if config.protocol == "https" else None
    return {
        **shown(config),
        "ssl_cert": secret,
        "ssl_key": secret,
        "udp_session_timeout": 16,  # recorded on http and tcp configs too
        "nodes_status": {"up": up, "down": len(nodes) - up},  # a node never checked counts as down (recorded)
    }


def node_view(call: Call, node: Node) -> Json:
    return {**shown(node), "status": call.status_of(node.id)}


def vpc_view(vpc: BalancerVpc) -> Json:
    return {**shown(vpc), "ipv6_range": None}


def list_balancers(call: Call) -> list[Json]:
    return [balancer_view(call, balancer) for balancer in call.state.all(Balancer)]


def create(call: Call) -> Json:
    balancer = balancers.create(call.account, call.body)
    return balancer_view(call.after(), balancer)


def view(call: Call) -> Json:
    return balancer_view(call, call.find(Balancer, "balancer"))


def update(call: Call) -> Json:
    return balancer_view(call.after(), balancers.update(call.account, call.id("balancer"), call.body))


def delete(call: Call) -> Json:
    balancers.delete(call.account, call.id("balancer"))
    return {}


def stats(call: Call) -> Json:
    """Counted since the balancer was made; the real service draws them over a day, and has none at first."""
    balancer = call.find(Balancer, "balancer")
    connections, received, sent = call.traffic_of(balancer.id)
    if not connections:
        raise Problem("Stats are unavailable at this time.")
    moment = int(call.account.clock() * 1000)
    return {
        "title": f"{balancer.label} - day (5 min avg)",
        "data": {
            "connections": [[moment, connections]],
            "traffic": {"in": [[moment, received]], "out": [[moment, sent]]},
        },
    }


def list_firewalls(call: Call) -> list[Json]:
    balancer = call.find(Balancer, "balancer")
    return [firewall_view(each) for each in firewalls.firewalls_of(call.state, balancer.id, "nodebalancer")]


def set_firewalls(call: Call) -> Json:
    firewalls.assign(call.account, call.id("balancer"), "nodebalancer", call.body["firewall_ids"])
    rows = list_firewalls(call.after())
    return {"data": rows, "page": 1, "pages": 1, "results": len(rows)}


def list_vpcs(call: Call) -> list[Json]:
    balancer = call.find(Balancer, "balancer")
    return [vpc_view(vpc) for vpc in call.state.all(BalancerVpc) if vpc.nodebalancer_id == balancer.id]


def view_vpc(call: Call) -> Json:
    """The provider asks this for every node, with id 0 for one outside a VPC: that is a 404."""
    vpc = call.find(BalancerVpc, "vpc")
    if vpc.nodebalancer_id != call.id("balancer"):
        raise NotFound
    return vpc_view(vpc)


def list_configs(call: Call) -> list[Json]:
    balancer = call.find(Balancer, "balancer")
    return [config_view(call, config) for config in balancing.configs_of(call.state, balancer.id)]


def create_config(call: Call) -> Json:
    config = configs.create(call.account, call.id("balancer"), call.body)
    return config_view(call.after(), config)


def view_config(call: Call) -> Json:
    return config_view(call, balancing.config_of(call.state, call.id("balancer"), call.id("config")))


def update_config(call: Call) -> Json:
    config = configs.update(call.account, call.id("balancer"), call.id("config"), call.body)
    return config_view(call.after(), config)


def delete_config(call: Call) -> Json:
    configs.delete(call.account, call.id("balancer"), call.id("config"))
    return {}


def rebuild_config(call: Call) -> Json:
    """The answer is the config without its nodes (recorded)."""
    config = configs.rebuild(call.account, call.id("balancer"), call.id("config"), call.body)
    return config_view(call.after(), config)


def list_nodes(call: Call) -> list[Json]:
    config = balancing.config_of(call.state, call.id("balancer"), call.id("config"))
    return [node_view(call, node) for node in balancing.nodes_of(call.state, config.id)]


def create_node(call: Call) -> Json:
    node = nodes.create(call.account, call.id("balancer"), call.id("config"), call.body)
    return node_view(call, node)


def view_node(call: Call) -> Json:
    ids = call.id("balancer"), call.id("config"), call.id("node")
    return node_view(call, balancing.node_of(call.state, *ids))


def update_node(call: Call) -> Json:
    ids = call.id("balancer"), call.id("config"), call.id("node")
    return node_view(call, nodes.update(call.account, *ids, call.body))


def delete_node(call: Call) -> Json:
    nodes.delete(call.account, call.id("balancer"), call.id("config"), call.id("node"))
    return {}


ENDPOINTS = (
    Endpoint("GET", "/nodebalancers", "nodebalancers", list_balancers, "list"),
    Endpoint("POST", "/nodebalancers", "nodebalancers", create),
    Endpoint("GET", BALANCER, "nodebalancers", view),
    Endpoint("PUT", BALANCER, "nodebalancers", update),
    Endpoint("DELETE", BALANCER, "nodebalancers", delete),
    Endpoint("GET", f"{BALANCER}/stats", "nodebalancers", stats, "stats"),
    Endpoint("GET", f"{BALANCER}/firewalls", "nodebalancers", list_firewalls, "list"),
    Endpoint("PUT", f"{BALANCER}/firewalls", "nodebalancers", set_firewalls),
    Endpoint("GET", f"{BALANCER}/vpcs", "nodebalancers", list_vpcs, "list"),
    Endpoint("GET", f"{BALANCER}/vpcs/{{vpc:int}}", "nodebalancers", view_vpc),
    Endpoint("GET", f"{BALANCER}/configs", "nodebalancers", list_configs, "list"),
    Endpoint("POST", f"{BALANCER}/configs", "nodebalancers", create_config),
    Endpoint("GET", f"{BALANCER}{CONFIG}", "nodebalancers", view_config),
    Endpoint("PUT", f"{BALANCER}{CONFIG}", "nodebalancers", update_config),
    Endpoint("DELETE", f"{BALANCER}{CONFIG}", "nodebalancers", delete_config),
    Endpoint("POST", f"{BALANCER}{CONFIG}/rebuild", "nodebalancers", rebuild_config),
    Endpoint("GET", f"{BALANCER}{CONFIG}/nodes", "nodebalancers", list_nodes, "list"),
    Endpoint("POST", f"{BALANCER}{CONFIG}/nodes", "nodebalancers", create_node),
    Endpoint("GET", f"{BALANCER}{CONFIG}{NODE}", "nodebalancers", view_node),
    Endpoint("PUT", f"{BALANCER}{CONFIG}{NODE}", "nodebalancers", update_node),
    Endpoint("DELETE", f"{BALANCER}{CONFIG}{NODE}", "nodebalancers", delete_node),
)
