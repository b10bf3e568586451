"""NodeBalancers, configs and nodes, with the edges that a deploy tool can cut itself on."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.lab.api.running import RunningLab, running_lab

from celadon.lab.switches import Switches

Json = dict[str, Any]
CHECKED: Json = {"check": "http", "check_path": "/healthz", "check_interval": 5, "check_timeout": 3}


def node(label: str, last: int = 2, **more: Any) -> Json:
    return {"label": label, "address": f"192.168.128.{last}:5000", **more}


async def ids(lab: RunningLab, config: str) -> dict[str, int]:
    return {each["label"]: each["id"] for each in (await lab.get(f"{config}/nodes"))["data"]}


async def test_defaults_are_those_recorded(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    config = await lab.config(balancer)
    assert await lab.get(config) == {
        "id": int(config.rpartition("/")[2]),
        "nodebalancer_id": int(balancer.rpartition("/")[2]),
        "port": 80,
        "protocol": "http",
        "algorithm": "roundrobin",
        "stickiness": "none",
        "check": "none",
        "check_interval": 31,
        "check_timeout": 30,
        "check_attempts": 3,
        "check_path": "",
        "check_body": "",
        "check_passive": True,
        "proxy_protocol": "none",
        "cipher_suite": "recommended",
        "udp_check_port": 80,
        "udp_session_timeout": 16,
        "ssl_cert": None,
        "ssl_key": None,
        "ssl_commonname": "",
        "ssl_fingerprint": "",
        "nodes_status": {"up": 0, "down": 0},
    }
    made = await lab.post(f"{config}/nodes", node("blue-1"))
    assert (made["weight"], made["mode"], made["status"], made["vpc_config_id"]) == (50, "accept", "Unknown", None)
    shown = await lab.get(balancer)
    assert shown["hostname"] == f"{shown['ipv4']}.ip.linodeusercontent.com"
    assert shown["transfer"] == {"in": None, "out": None, "total": None}
    assert shown["tags"] == []


async def test_a_node_not_yet_checked_counts_as_down(lab: RunningLab) -> None:
    config = await lab.config(await lab.balancer())
    first = await lab.post(f"{config}/nodes", node("blue-1"))
    await lab.post(f"{config}/nodes", node("blue-2", 3))
    assert (await lab.get(config))["nodes_status"] == {"up": 0, "down": 2}
    lab.plane.statuses[first["id"]] = "UP"
    assert (await lab.get(config))["nodes_status"] == {"up": 1, "down": 1}
    assert (await lab.get(f"{config}/nodes/{first['id']}"))["status"] == "UP"


async def test_changes_are_partial(lab: RunningLab) -> None:
    config = await lab.config(await lab.balancer(), **CHECKED)
    before = await lab.get(config)
    assert await lab.put(config, {"algorithm": "leastconn"}) == {**before, "algorithm": "leastconn"}
    made = await lab.post(f"{config}/nodes", node("blue-1", weight=100, mode="reject"))
    path = f"{config}/nodes/{made['id']}"
    assert await lab.put(path, {"mode": "accept"}) == {**made, "mode": "accept"}
    assert await lab.put(path, {"weight": 1}) == {**made, "mode": "accept", "weight": 1}


async def test_the_plane_is_told_before_the_answer(lab: RunningLab) -> None:
    balancer = await lab.balancer(client_conn_throttle=7)
    config = await lab.config(balancer, port=8080, **CHECKED)
    await lab.post(f"{config}/nodes", node("blue-1", mode="backup", weight=9))
    told = lab.plane.balancers[int(balancer.rpartition("/")[2])]
    assert told.client_conn_throttle == 7
    assert (told.configs[0].port, told.configs[0].check_path) == (8080, "/healthz")
    (only,) = told.configs[0].nodes
    assert (only.address, only.mode, only.weight) == ("192.168.128.2:5000", "backup", 9)
    changes = len(lab.plane.applied)
    await lab.put(balancer, {"label": "renamed"})
    assert len(lab.plane.applied) == changes  # a label is none of the plane's business
    await lab.delete(balancer)
    assert not lab.plane.balancers


async def test_everything_in_one_request(lab: RunningLab) -> None:
    configs = [
        {"port": 80, **CHECKED, "nodes": [node("blue-1", mode="reject")]},
        {"port": 81, "nodes": [node("b-2", 3)]},
    ]
    balancer = await lab.balancer(configs=configs)
    made = (await lab.get(f"{balancer}/configs"))["data"]
    assert [each["port"] for each in made] == [80, 81]
    assert (await lab.get(f"{balancer}/configs/{made[0]['id']}/nodes"))["data"][0]["mode"] == "reject"


async def test_a_failure_halfway_leaves_nothing(lab: RunningLab) -> None:
    configs = [{"port": 80, "nodes": [node("blue-1")]}, {"port": 80, "nodes": [node("blue-1")]}]
    body = {"region": "us-ord", "label": "twice", "configs": configs}
    assert (await lab.refused("POST", "/v4/nodebalancers", body))[:2] == (400, "port")
    assert (await lab.get("/v4/nodebalancers"))["results"] == 0
    assert not lab.account.state.configs
    assert not lab.account.state.nodes


async def test_rebuild_keeps_named_nodes_makes_nameless_ones_and_drops_the_rest(lab: RunningLab) -> None:
    config = await lab.config(await lab.balancer(), **CHECKED)
    for number, label in enumerate(("blue-1", "blue-2", "blue-3"), 2):
        await lab.post(f"{config}/nodes", node(label, number, weight=100))
    before = await ids(lab, config)
    nodes = [node("blue-1", 2, id=before["blue-1"], mode="drain"), node("blue-2", 3)]
    answer = await lab.post(f"{config}/rebuild", {"port": 80, "protocol": "http", "nodes": nodes})
    assert "nodes" not in answer
    assert answer["check_path"] == "/healthz"
    after = await ids(lab, config)
    assert after.keys() == {"blue-1", "blue-2"}
    assert after["blue-1"] == before["blue-1"]
    assert after["blue-2"] != before["blue-2"]
    kept = await lab.get(f"{config}/nodes/{before['blue-1']}")
    assert (kept["mode"], kept["weight"]) == ("drain", 100)
    remade = await lab.get(f"{config}/nodes/{after['blue-2']}")
    assert (remade["mode"], remade["weight"]) == ("accept", 50)


async def test_rebuild_may_reset_what_is_left_out(lab: RunningLab) -> None:
    config = await lab.config(await lab.balancer(), **CHECKED)
    await lab.put("/lab/switches", {"rebuild_resets": True})
    answer = await lab.post(f"{config}/rebuild", {"nodes": []})
    assert (answer["check"], answer["check_path"], answer["check_interval"]) == ("none", "", 31)


async def test_rebuild_refuses_nodes_of_elsewhere_and_a_missing_list(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    config, other = await lab.config(balancer), await lab.config(balancer, port=81)
    stranger = await lab.post(f"{other}/nodes", node("other"))
    body = {"nodes": [node("other", id=stranger["id"])]}
    assert (await lab.refused("POST", f"{config}/rebuild", body))[:2] == (400, "nodes.id")
    assert (await lab.refused("POST", f"{config}/rebuild", {}))[:2] == (400, "nodes")
    assert (await lab.get(f"{other}/nodes"))["results"] == 1


async def test_ids_must_belong_together(lab: RunningLab) -> None:
    one, two = await lab.balancer("one"), await lab.balancer("two")
    config = (await lab.config(one)).rpartition("/")[2]
    made = await lab.post(f"{one}/configs/{config}/nodes", node("blue-1"))
    assert (await lab.refused("GET", f"{two}/configs/{config}"))[0] == 404
    assert (await lab.refused("DELETE", f"{two}/configs/{config}/nodes/{made['id']}"))[0] == 404
    assert (await lab.refused("PUT", f"{one}/configs/{config}/nodes/{config}", {"mode": "drain"}))[0] == 404


async def test_a_node_outside_a_vpc_asks_for_vpc_zero(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    reply = await lab.ask("GET", f"{balancer}/vpcs/0")
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/json")
    assert reply.error == {"reason": "Not found"}
    assert (await lab.get(f"{balancer}/vpcs"))["data"] == []
    assert (await lab.get(f"{balancer}/firewalls"))["data"] == []


async def test_stats_come_only_with_traffic(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    refused = (400, None, "Stats are unavailable at this time.")
    assert await lab.refused("GET", f"{balancer}/stats") == refused
    lab.plane.carried[int(balancer.rpartition("/")[2])] = (3, 1000, 2000)
    data = (await lab.get(f"{balancer}/stats"))["data"]
    assert data["connections"][0][1] == 3
    assert (data["traffic"]["in"][0][1], data["traffic"]["out"][0][1]) == (1000, 2000)


IMPOSSIBLE: list[tuple[Json, str]] = [
    ({"port": 0}, "port"),
    ({"port": "80"}, "port"),
    ({"port": True}, "port"),
    ({"protocol": "udp"}, "protocol"),
    ({"protocol": "https"}, "ssl_cert"),
    ({"ssl_cert": "x", "ssl_key": "y"}, "ssl_cert"),
    ({"algorithm": "random"}, "algorithm"),
    ({"check_interval": 1}, "check_interval"),
    ({"check_interval": 3, "check_timeout": 3}, "check_timeout"),
    ({"check_interval": 5}, "check_timeout"),
    ({"check_path": "/a_b"}, "check_path"),
    ({"check": "http_body"}, "check_body"),
    ({"check_attempts": 31}, "check_attempts"),
    ({"proxy_protocol": "v1"}, "proxy_protocol"),
]


async def test_a_config_that_cannot_be(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    for fields, named in IMPOSSIBLE:
        status, field, _ = await lab.refused("POST", f"{balancer}/configs", fields)
        assert (status, field) == (400, named), fields
    assert (await lab.get(f"{balancer}/configs"))["results"] == 0


async def test_nodes_that_cannot_be(lab: RunningLab) -> None:
    config = await lab.config(await lab.balancer())
    for wrong, named in (
        ({"label": "ab"}, "label"),
        ({"label": "with space"}, "label"),
        ({"label": "x" * 33}, "label"),
        ({"weight": 0}, "weight"),
        ({"weight": 256}, "weight"),
        ({"mode": "none"}, "mode"),
        ({"address": "192.168.128.2"}, "address"),
        ({"address": "192.168.128.2:0"}, "address"),
        ({"address": "192.168.1.1:80"}, "address"),
        ({"address": "8.8.8.8:80"}, "address"),
        ({"address": "[2001:db8::1]:80"}, "address"),
        ({"subnet_id": 5}, "subnet_id"),
    ):
        status, field, _ = await lab.refused("POST", f"{config}/nodes", {**node("blue-1"), **wrong})
        assert (status, field) == (400, named), wrong
    for missing in ("label", "address"):
        body = {name: value for name, value in node("blue-1").items() if name != missing}
        assert await lab.refused("POST", f"{config}/nodes", body) == (400, missing, f"{missing} is required")


async def test_labels_are_unique_for_balancers_and_not_for_nodes(lab: RunningLab) -> None:
    balancer = await lab.balancer("same")
    body = {"region": "us-ord", "label": "same"}
    assert await lab.refused("POST", "/v4/nodebalancers", body) == (400, "label", "Label must be unique")
    other = await lab.balancer("other")
    assert (await lab.refused("PUT", other, {"label": "same"}))[0] == 400
    config = await lab.config(balancer)
    for _ in range(2):
        await lab.post(f"{config}/nodes", node("twin"))
    assert (await lab.get(f"{config}/nodes"))["results"] == 2


async def test_a_port_is_taken_once_and_may_stay_taken_for_a_while() -> None:
    moment = [1_000_000.0]
    async with running_lab(clock=lambda: moment[0], switches=Switches(port_held_seconds=5)) as lab:
        balancer = await lab.balancer()
        config = await lab.config(balancer, port=80)
        taken = await lab.refused("POST", f"{balancer}/configs", {"port": 80})
        assert taken[:2] == (400, "port")
        assert "already using port 80" in taken[2]
        other = await lab.config(balancer, port=81)
        assert (await lab.refused("PUT", other, {"port": 80}))[:2] == (400, "port")
        await lab.delete(config)
        assert (await lab.refused("POST", f"{balancer}/configs", {"port": 80}))[:2] == (400, "port")
        moment[0] += 6
        await lab.config(balancer, port=80)


async def test_regions_without_nodebalancers_refuse_them(lab: RunningLab) -> None:
    body = {"region": "us-den-edge-1", "label": "edge"}
    assert (await lab.refused("POST", "/v4/nodebalancers", body))[:2] == (400, "region")
    assert (await lab.refused("POST", "/v4/nodebalancers", {"label": "edge"}))[1:] == ("region", "region is required")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder: Path = tmp_path_factory.mktemp("tls")
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "key", "-out", "cert"]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=shop.example.com", *made]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "cert").read_text(), (folder / "key").read_text()


async def test_https_hides_its_secrets_and_wants_both_at_once(lab: RunningLab, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    config = await lab.config(await lab.balancer(), port=443, protocol="https", ssl_cert=cert, ssl_key=key)
    shown = await lab.get(config)
    assert (shown["ssl_cert"], shown["ssl_key"]) == ("<REDACTED>", "<REDACTED>")
    assert shown["ssl_commonname"] == "shop.example.com"
    assert len(shown["ssl_fingerprint"].split(":")) == 20
    (told,) = next(iter(lab.plane.balancers.values())).configs
    assert (told.ssl_cert, told.ssl_key) == (cert, key)

    assert (await lab.put(config, {"check_passive": False}))["protocol"] == "https"
    for body in ({"protocol": "https"}, {"ssl_cert": cert}, {"ssl_key": key}, shown):
        assert (await lab.refused("PUT", config, body))[0] == 400, body
    assert (await lab.refused("POST", f"{config}/rebuild", {"nodes": []}))[:2] == (400, "ssl_cert")
    secrets = {"ssl_cert": cert, "ssl_key": key}
    assert (await lab.post(f"{config}/rebuild", {"nodes": [], **secrets}))["protocol"] == "https"
    plain = await lab.put(config, {"protocol": "http", "port": 80})
    assert (plain["ssl_cert"], plain["ssl_fingerprint"]) == (None, "")


async def test_https_without_the_switch_rebuilds_without_secrets(lab: RunningLab, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    config = await lab.config(await lab.balancer(), port=443, protocol="https", ssl_cert=cert, ssl_key=key)
    await lab.put("/lab/switches", {"rebuild_needs_certificate": False})
    assert (await lab.post(f"{config}/rebuild", {"nodes": []}))["ssl_commonname"] == "shop.example.com"


async def test_a_key_that_does_not_fit_is_refused(lab: RunningLab, certificate: tuple[str, str]) -> None:
    balancer = await lab.balancer()
    cert, key = certificate
    for wrong in ({"ssl_cert": "no", "ssl_key": key}, {"ssl_cert": cert, "ssl_key": "no"}):
        body = {"port": 443, "protocol": "https", **wrong}
        assert (await lab.refused("POST", f"{balancer}/configs", body))[0] == 400


async def test_events_tell_what_happened(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    config = await lab.config(balancer)
    made = await lab.post(f"{config}/nodes", node("blue-1"))
    await lab.put(f"{config}/nodes/{made['id']}", {"mode": "drain"})
    await lab.delete(f"{config}/nodes/{made['id']}")
    await lab.delete(config)
    await lab.delete(balancer)
    events = (await lab.get("/v4/account/events"))["data"]
    assert [event["action"] for event in events] == [
        "nodebalancer_delete",
        "nodebalancer_config_delete",
        "nodebalancer_node_delete",
        "nodebalancer_node_update",
        "nodebalancer_node_create",
        "nodebalancer_config_create",
        "nodebalancer_create",
    ]
    assert {event["status"] for event in events} == {"notification"}
    assert {event["entity"]["type"] for event in events} == {"nodebalancer"}


async def test_a_plane_that_fails_is_not_hidden(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    lab.plane.failing = OSError("no port left")
    status, _, reason = await lab.refused("POST", f"{balancer}/configs", {})
    assert (status, "no port left" in reason) == (500, True)
    lab.plane.failing = None
    await lab.put(balancer, {"label": "again"})
    assert lab.plane.balancers[int(balancer.rpartition("/")[2])].configs  # the next change brings it up to date
