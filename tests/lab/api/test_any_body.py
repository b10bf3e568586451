"""Whatever JSON a client sends, the lab does it or refuses it: it has no answer 500 for a body."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lab.api.running import KEY

from celadon.lab.api import bodies, filters
from celadon.lab.api.app import ENDPOINTS
from celadon.lab.api.endpoint import Call, Endpoint
from celadon.lab.memory import MemoryPlane
from celadon.lab.world import balancers, configs, domains, firewalls, instances, networks, nodes, profile
from celadon.lab.world.account import Account, State
from celadon.lab.world.objects import Job
from celadon.lab.world.problems import Problem

Json = dict[str, Any]
CHANGES = [endpoint for endpoint in ENDPOINTS if endpoint.method in ("POST", "PUT")]
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "shop",
        "us-ord",
        "g6-nanode-1",
        "linode/debian12",
        "http",
        "https",
        "tcp",
        "10.0.0.0/24",
        "192.168.128.2:80",
        "A",
        "master",
        KEY,
        "::/0",
        "x" * 300,
        "é\x00",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 400) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["ipv4", "label", "id", "purpose", "vpc", "address", "inbound", "subnet_id", "port", "nodes"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def world() -> tuple[Account, Json]:
    """One of each thing, and the parameters of every path."""
    account = Account(State(), lambda: 1_000_000.0)
    body = {
        "region": "us-ord",
        "type": "g6-nanode-1",
        "image": "linode/debian12",
        "authorized_keys": [KEY],
        "private_ip": True,
    }
    instance = instances.create(account, {**body, "label": "web-1"})
    account.drop_where(Job, lambda _: True)
    balancer = balancers.create(account, {"region": "us-ord", "label": "edge"})
    config = configs.create(account, balancer.id, {"port": 8080})
    node = nodes.create(account, balancer.id, config.id, {"label": "one", "address": f"{instance.private_address}:80"})
    wall = firewalls.create(account, {"label": "wall", "rules": {}})
    vpc = networks.create(account, {"label": "net", "region": "us-ord"})
    subnet = networks.create_subnet(account, vpc.id, {"label": "app", "ipv4": "10.1.0.0/24"})
    zone = domains.create(account, {"domain": "a.example.com", "type": "master", "soa_email": "a@b.com"})
    record = domains.create_record(account, zone.id, {"type": "A", "target": "192.0.2.1"})
    key = profile.add_key(account, {"label": "mine", "ssh_key": KEY})
    made: Json = {
        "instance": instance.id,
        "balancer": balancer.id,
        "config": config.id,
        "node": node.id,
        "firewall": wall.id,
        "vpc": vpc.id,
        "subnet": subnet.id,
        "domain": zone.id,
        "record": record.id,
        "key": key.id,
        "event": next(iter(account.state.events)),
        "address": instance.ipv4[0],
    }
    return account, made


START, PATH = world()
LINODE_CONFIG = next(iter(START.state.instance_configs))
LINODE_DISK = next(iter(START.state.disks))


def status_of(work: Callable[[], object]) -> int:
    try:
        work()
    except Problem as problem:
        return problem.status
    return 200


def send(endpoint: Endpoint, body: Json) -> None:
    account = Account(START.state, START.clock)
    of_linode = endpoint.path.startswith("/linode")
    path = {**PATH, "disk": LINODE_DISK, "config": LINODE_CONFIG if of_linode else PATH["config"]}
    plane = MemoryPlane()
    checked = bodies.check(endpoint.operation, body)
    call = Call(account, account.state, path, checked, plane.status, plane.totals)
    with account.change():
        endpoint.answer(call)


@pytest.mark.parametrize("endpoint", CHANGES, ids=lambda endpoint: endpoint.operation)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_body_is_done_or_refused(endpoint: Endpoint, data: st.DataObject) -> None:
    facts = bodies.operations().get(endpoint.operation, {})
    names = sorted({*facts.get("fields", {}), *facts.get("required", []), "label", "scopes"})
    body = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=4))
    for name in facts.get("required", []):
        body.setdefault(name, data.draw(VALUES))
    assert status_of(lambda: send(endpoint, body)) < 500


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["label", "id", "+or", "+and", "+order_by", "+order", "x"]), VALUES, max_size=3))
def test_a_filter_is_applied_or_refused(asked: Json) -> None:
    rows: list[Json] = [{"label": "a", "id": 1}, {"label": None, "id": 2}]
    assert status_of(lambda: filters.select(rows, json.dumps(asked), ("label", "id"))) in (200, 400)
