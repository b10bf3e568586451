"""The requests that the Terraform provider makes, in its order and with its bodies (research: linode.md, section 5).

The provider itself is not in the registries that tests can reach. Go clients send `null` for empty lists and zero for
numbers that nobody set; they read answers with fixed types, and some fields without asking whether they are there.
"""

import json
from typing import Any

from tests.lab.api.running import KEY, RunningLab

Json = dict[str, Any]
NEWEST = {"+order": "desc", "+order_by": "created"}


async def test_an_instance_from_apply_to_destroy(lab: RunningLab) -> None:
    body = {
        "region": "us-ord",
        "type": "g6-nanode-1",
        "label": "shop-blue",
        "group": "",
        "root_pass": "Generated-0-password",
        "authorized_keys": [KEY],
        "authorized_users": None,
        "stackscript_id": 0,
        "backup_id": 0,
        "image": "linode/debian12",
        "interfaces": None,
        "backups_enabled": False,
        "private_ip": True,
        "tags": ["shop", "colour:blue"],
        "metadata": {"user_data": "I2Nsb3VkLWNvbmZpZwo="},
        "firewall_id": 0,
        "swap_size": 512,
        "booted": True,
        "placement_group": None,
        "interface_generation": "legacy_config",
    }
    made = await lab.post("/v4/linode/instances", {key: value for key, value in body.items() if value != 0})
    path = f"/v4/linode/instances/{made['id']}"
    assert (await lab.settled(made["id"]))["status"] == "running"
    addresses = (await lab.get(f"{path}/ips"))["ipv4"]
    assert addresses["private"][0]["address"] == made["ipv4"][1]
    assert addresses["shared"] == []
    (config,) = (await lab.get(f"{path}/configs?page=1"))["data"]
    disks = (await lab.get(f"{path}/disks?page=1"))["data"]
    assert len({disk["label"] for disk in disks}) == len(disks)
    assert set(config["devices"]) == {f"sd{letter}" for letter in "abcdefgh"}

    # A changed tag puts the instance and every config.
    assert (await lab.put(path, {"label": "shop-blue", "tags": ["shop"], "backups": {"schedule": {}}}))["tags"] == [
        "shop"
    ]
    put = {
        "label": config["label"],
        "comments": "",
        "devices": config["devices"],
        "helpers": config["helpers"],
        "interfaces": [],
        "memory_limit": 0,
        "kernel": config["kernel"],
        "run_level": config["run_level"],
        "virt_mode": config["virt_mode"],
        "root_device": config["root_device"],
    }
    assert await lab.put(f"{path}/configs/{config['id']}", put) == config
    assert (await lab.get("/v4/linode/types/g6-nanode-1"))["memory"] == 1024

    # Destroy: look at the events, delete, wait for a new event, wait until it is finished.
    about = {"entity.id": made["id"], "entity.type": "linode", "action": "linode_delete", **NEWEST}
    assert (await lab.get("/v4/account/events?page=1", where=json.dumps(about)))["results"] == 0
    await lab.delete(path)
    (event,) = (await lab.get("/v4/account/events?page=1", where=json.dumps(about)))["data"]
    await lab.eventually(lambda: lab.account.state.events[event["id"]].status == "finished")
    finished = await lab.get(f"/v4/account/events/{event['id']}")
    assert (finished["status"], finished["percent_complete"]) == ("finished", 100)


async def test_a_balancer_config_and_node(lab: RunningLab) -> None:
    machine = await lab.instance("shop-blue")
    body = {
        "label": "shop-nb",
        "region": "us-ord",
        "client_conn_throttle": 0,
        "client_udp_sess_throttle": 0,
        "configs": None,
        "tags": None,
        "vpcs": None,
    }
    made = await lab.post("/v4/nodebalancers", body)
    path = f"/v4/nodebalancers/{made['id']}"
    for part in ("firewalls", "vpcs"):
        assert (await lab.get(f"{path}/{part}?page=1"))["data"] == []
    change = {"label": "shop-nb", "client_conn_throttle": 3, "client_udp_sess_throttle": 0, "tags": []}
    assert (await lab.put(path, change))["client_conn_throttle"] == 3

    fields = {
        "port": 80,
        "protocol": "http",
        "proxy_protocol": "none",
        "algorithm": "roundrobin",
        "stickiness": "none",
        "check": "http",
        "check_interval": 5,
        "check_timeout": 3,
        "check_attempts": 2,
        "check_path": "/healthz",
        "check_body": "",
        "check_passive": False,
        "udp_check_port": 80,
        "ssl_cert": "",
        "ssl_key": "",
        "nodes": None,
    }
    config = await lab.post(f"{path}/configs", fields)
    port = f"{path}/configs/{config['id']}"
    assert {name: config[name] for name in fields if name not in ("ssl_cert", "ssl_key", "nodes")} == {
        name: value for name, value in fields.items() if name not in ("ssl_cert", "ssl_key", "nodes")
    }
    assert await lab.get(port) == config
    assert await lab.put(port, {**fields, "check_attempts": 3}) == {**config, "check_attempts": 3}

    wanted = {
        "address": f"{machine['ipv4'][1]}:5000",
        "label": "blue-1",
        "weight": 100,
        "mode": "reject",
        "subnet_id": 0,
    }
    node = await lab.post(f"{port}/nodes", wanted)
    assert {name: node[name] for name in ("address", "label", "weight", "mode")} == {
        name: wanted[name] for name in ("address", "label", "weight", "mode")
    }
    assert (await lab.refused("GET", f"{path}/vpcs/{node['vpc_config_id'] or 0}")) == (404, None, "Not found")
    assert await lab.put(f"{port}/nodes/{node['id']}", {"label": "blue-one"}) == {**node, "label": "blue-one"}
    for gone in (f"{port}/nodes/{node['id']}", port, path):
        await lab.delete(gone)
        assert (await lab.refused("GET", gone))[0] == 404


async def test_a_firewall_a_domain_and_a_key(lab: RunningLab) -> None:
    rules: Json = {"inbound": None, "inbound_policy": "DROP", "outbound": None, "outbound_policy": "ACCEPT"}
    devices: Json = {"linodes": None, "nodebalancers": None, "linode_interfaces": None}
    wall = await lab.post(
        "/v4/networking/firewalls", {"label": "wall", "rules": rules, "tags": None, "devices": devices}
    )
    path = f"/v4/networking/firewalls/{wall['id']}"
    assert (await lab.get(f"{path}/devices?page=1"))["data"] == []
    assert (await lab.get(f"{path}/rules"))["inbound_policy"] == "DROP"
    assert (await lab.put(path, {"label": "wall", "status": "disabled", "tags": []}))["status"] == "disabled"

    zone = {"domain": "shop.example.com", "type": "master", "soa_email": "a@example.com", "ttl_sec": 300}
    empty: Json = {
        "group": "",
        "status": "active",
        "description": "",
        "master_ips": None,
        "axfr_ips": None,
        "tags": None,
    }
    domain = await lab.post("/v4/domains", {**zone, **{name: value for name, value in empty.items() if value != ""}})
    assert (domain["master_ips"], domain["axfr_ips"], domain["tags"]) == ([], [], [])
    sent = {"type": "A", "name": "www", "target": "192.0.2.1", "ttl_sec": 300, "priority": 0, "weight": 0, "port": 0}
    record = await lab.post(
        f"/v4/domains/{domain['id']}/records", {**sent, "service": None, "protocol": None, "tag": None}
    )
    assert {name: record[name] for name in sent} == sent

    key = await lab.post("/v4/profile/sshkeys", {"label": "admin", "ssh_key": KEY})
    assert (await lab.put(f"/v4/profile/sshkeys/{key['id']}", {"label": "boss"}))["label"] == "boss"
