"""VPCs and subnets over HTTP."""

from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.world import networks
from celadon.lab.world.account import State
from celadon.lab.world.objects import BalancerVpc, Subnet, Vpc

VPC, SUBNET = "/vpcs/{vpc:int}", "/subnets/{subnet:int}"


def subnet_view(state: State, subnet: Subnet) -> Json:
    members: dict[int, list[Json]] = {}
    for config, interface in networks.interfaces_in(state, subnet.id):
        shown_interface = {"id": interface["id"], "active": interface["active"], "config_id": config.id}
        members.setdefault(config.linode_id, []).append(shown_interface)
    balancers = [
        {"id": vpc.nodebalancer_id, "ipv4_range": vpc.ipv4_range}
        for vpc in state.all(BalancerVpc)
        if vpc.subnet_id == subnet.id
    ]
    return {
        **shown(subnet, "vpc_id"),
        "linodes": [{"id": linode_id, "interfaces": each} for linode_id, each in members.items()],
        "nodebalancers": balancers,
        "databases": [],
        "vpc_type": "regular",
    }


def vpc_view(state: State, vpc: Vpc) -> Json:
    subnets = [subnet_view(state, subnet) for subnet in networks.subnets_of(state, vpc.id)]
    return {**shown(vpc), "subnets": subnets, "vpc_type": "regular", "ipv6": []}


def list_vpcs(call: Call) -> list[Json]:
    return [vpc_view(call.state, vpc) for vpc in call.state.all(Vpc)]


def create(call: Call) -> Json:
    vpc = networks.create(call.account, call.body)
    return vpc_view(call.account.state, vpc)


def view(call: Call) -> Json:
    return vpc_view(call.state, call.find(Vpc, "vpc"))


def update(call: Call) -> Json:
    vpc = networks.update(call.account, call.id("vpc"), call.body)
    return vpc_view(call.account.state, vpc)


def delete(call: Call) -> Json:
    networks.delete(call.account, call.id("vpc"))
    return {}


def list_subnets(call: Call) -> list[Json]:
    vpc = call.find(Vpc, "vpc")
    return [subnet_view(call.state, subnet) for subnet in networks.subnets_of(call.state, vpc.id)]


def create_subnet(call: Call) -> Json:
    subnet = networks.create_subnet(call.account, call.id("vpc"), call.body)
    return subnet_view(call.account.state, subnet)


def view_subnet(call: Call) -> Json:
    return subnet_view(call.state, networks.subnet_of(call.state, call.id("vpc"), call.id("subnet")))


def update_subnet(call: Call) -> Json:
    ids = call.id("vpc"), call.id("subnet")
    return subnet_view(call.account.state, networks.update_subnet(call.account, *ids, call.body))


def delete_subnet(call: Call) -> Json:
    networks.delete_subnet(call.account, call.id("vpc"), call.id("subnet"))
    return {}


ENDPOINTS = (
    Endpoint("GET", "/vpcs", "vpc", list_vpcs, "list"),
    Endpoint("POST", "/vpcs", "vpc", create),
    Endpoint("GET", VPC, "vpc", view),
    Endpoint("PUT", VPC, "vpc", update),
    Endpoint("DELETE", VPC, "vpc", delete),
    Endpoint("GET", f"{VPC}/subnets", "vpc", list_subnets, "list"),
    Endpoint("POST", f"{VPC}/subnets", "vpc", create_subnet),
    Endpoint("GET", f"{VPC}{SUBNET}", "vpc", view_subnet),
    Endpoint("PUT", f"{VPC}{SUBNET}", "vpc", update_subnet),
    Endpoint("DELETE", f"{VPC}{SUBNET}", "vpc", delete_subnet),
)
