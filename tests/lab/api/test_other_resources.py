"""Firewalls, VPCs, domains, keys, tags, locks, events and the account, over HTTP."""

from typing import Any

from tests.lab.api import documented
from tests.lab.api.running import KEY, RunningLab

from celadon.lab.api.app import ENDPOINTS

Json = dict[str, Any]
RULE: Json = {
    "label": "web-in",
    "action": "ACCEPT",
    "protocol": "TCP",
    "ports": "80, 443",
    "addresses": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]},
}


async def test_a_firewall_as_the_provider_makes_it(lab: RunningLab) -> None:
    balancer = int((await lab.balancer()).rpartition("/")[2])
    rules = {"inbound": [RULE], "inbound_policy": "DROP", "outbound": None, "outbound_policy": "ACCEPT"}
    made = await lab.post("/v4/networking/firewalls", {"label": "wall", "rules": rules, "tags": None})
    path = f"/v4/networking/firewalls/{made['id']}"
    kept = await lab.get(f"{path}/rules")
    assert kept == made["rules"]
    assert kept["outbound"] == []
    assert (kept["inbound"][0]["ports"], kept["inbound_policy"], kept["version"]) == ("80, 443", "DROP", 1)
    device = await lab.post(f"{path}/devices", {"id": balancer, "type": "nodebalancer"})
    assert device["entity"]["url"] == f"/v4/nodebalancers/{balancer}"
    assert (await lab.get(f"/v4/nodebalancers/{balancer}/firewalls"))["data"][0]["id"] == made["id"]
    twice = await lab.refused("POST", f"{path}/devices", {"id": balancer, "type": "nodebalancer"})
    assert twice[0] == 400
    changed = await lab.put(f"{path}/rules", {"inbound": [], "outbound": []})
    assert (changed["inbound"], changed["inbound_policy"], changed["version"]) == ([], "DROP", 2)
    assert changed["fingerprint"] != kept["fingerprint"]
    await lab.delete(f"{path}/devices/{device['id']}")
    await lab.delete(path)
    assert (await lab.refused("GET", f"{path}/rules"))[0] == 404


async def test_a_firewall_at_creation_and_by_list(lab: RunningLab) -> None:
    walls = [
        (await lab.post("/v4/networking/firewalls", {"label": label, "rules": {}}))["id"]
        for label in ("wall-1", "wall-2")
    ]
    balancer = await lab.balancer(firewall_id=walls[0])
    assert [each["id"] for each in (await lab.get(f"{balancer}/firewalls"))["data"]] == [walls[0]]
    answer = await lab.put(f"{balancer}/firewalls", {"firewall_ids": [walls[1]]})
    assert [each["id"] for each in answer["data"]] == [walls[1]]
    await lab.delete(balancer)
    assert (await lab.get(f"/v4/networking/firewalls/{walls[1]}/devices"))["results"] == 0


async def test_firewalls_that_cannot_be(lab: RunningLab) -> None:
    for change, named in (
        ({"protocol": "SCTP"}, "rules.inbound[0].protocol"),
        ({"action": "REJECT"}, "rules.inbound[0].action"),
        ({"label": "ab"}, "rules.inbound[0].label"),
        ({"ports": "http"}, "rules.inbound[0].ports"),
        ({"protocol": "ICMP"}, "rules.inbound[0].ports"),
        ({"addresses": {"ipv4": ["300.0.0.0/8"]}}, "rules.inbound[0].addresses.ipv4"),
    ):
        body = {"label": "wall", "rules": {"inbound": [{**RULE, **change}]}}
        assert (await lab.refused("POST", "/v4/networking/firewalls", body))[:2] == (400, named)
    body = {"label": "wall", "rules": {"inbound": [RULE] * 26}}
    assert (await lab.refused("POST", "/v4/networking/firewalls", body))[:2] == (400, "rules")
    await lab.post("/v4/networking/firewalls", {"label": "wall", "rules": {}})
    twice = await lab.refused("POST", "/v4/networking/firewalls", {"label": "wall", "rules": {}})
    assert twice == (400, "label", "Label must be unique among your Cloud Firewalls")


async def test_a_vpc_with_a_balancer_and_an_instance_in_it(lab: RunningLab) -> None:
    vpc = await lab.post(
        "/v4/vpcs", {"label": "net", "region": "us-ord", "subnets": [{"label": "app", "ipv4": "10.20.0.0/24"}]}
    )
    (subnet,) = vpc["subnets"]
    balancer = await lab.balancer(vpcs=[{"subnet_id": subnet["id"], "ipv4_range": "10.20.0.248/30"}])
    (joined,) = (await lab.get(f"{balancer}/vpcs"))["data"]
    assert await lab.get(f"{balancer}/vpcs/{joined['id']}") == joined
    assert joined["ipv4_range"] == "10.20.0.248/30"
    wanted = [{"purpose": "vpc", "primary": True, "subnet_id": subnet["id"], "ipv4": {"nat_1_1": "any"}}]
    instance = await lab.instance("web-1", private_ip=False, interfaces=wanted)
    (config,) = (await lab.get(f"/v4/linode/instances/{instance['id']}/configs"))["data"]
    address = config["interfaces"][0]["ipv4"]["vpc"]
    assert address == "10.20.0.2"
    addresses = await lab.get(f"/v4/linode/instances/{instance['id']}/ips")
    assert addresses["ipv4"]["vpc"][0]["address"] == address
    assert addresses["ipv4"]["public"][0]["vpc_nat_1_1"]["address"] == address
    port = await lab.config(balancer)
    node = await lab.post(f"{port}/nodes", {"label": "blue-1", "address": f"{address}:80", "subnet_id": subnet["id"]})
    assert node["vpc_config_id"] == joined["id"]
    shown = await lab.get(f"/v4/vpcs/{vpc['id']}/subnets/{subnet['id']}")
    assert [each["id"] for each in shown["linodes"]] == [instance["id"]]
    in_use = await lab.refused("DELETE", f"/v4/vpcs/{vpc['id']}/subnets/{subnet['id']}")
    assert in_use[0] == 400
    await lab.delete(balancer)
    await lab.delete(f"/v4/linode/instances/{instance['id']}")
    await lab.delete(f"/v4/vpcs/{vpc['id']}")


async def test_vpcs_that_cannot_be(lab: RunningLab) -> None:
    assert (await lab.refused("POST", "/v4/vpcs", {"label": "net", "region": "us-east"}))[:2] == (400, "region")
    text = "Must only use ASCII letters, numbers, and underscores"
    assert await lab.refused("POST", "/v4/vpcs", {"label": "a_b", "region": "us-ord"}) == (400, "label", text)
    vpc = await lab.post("/v4/vpcs", {"label": "net", "region": "us-ord"})
    assert (await lab.refused("POST", "/v4/vpcs", {"label": "net", "region": "us-ord"}))[:2] == (400, "label")
    path = f"/v4/vpcs/{vpc['id']}/subnets"
    await lab.post(path, {"label": "app", "ipv4": "10.0.0.0/24"})
    for body, named in (
        ({"label": "app", "ipv4": "10.0.1.0/24"}, "label"),
        ({"label": "two", "ipv4": "10.0.0.128/25"}, "ipv4"),
        ({"label": "two", "ipv4": "8.8.8.0/24"}, "ipv4"),
        ({"label": "two", "ipv4": "10.0.1.1/24"}, "ipv4"),
        ({"label": "two"}, "ipv4"),
    ):
        assert (await lab.refused("POST", path, body))[:2] == (400, named), body


async def test_a_domain_and_its_records(lab: RunningLab) -> None:
    wanted = {"domain": "shop.example.com", "type": "master"}
    demanded = await lab.refused("POST", "/v4/domains", wanted)
    assert demanded == (400, "soa_email", "soa_email required when type=master")
    domain = await lab.post("/v4/domains", {**wanted, "soa_email": "a@example.com", "ttl_sec": 200})
    assert domain["ttl_sec"] == 300
    path = f"/v4/domains/{domain['id']}"
    assert (await lab.refused("POST", "/v4/domains", {**wanted, "soa_email": "a@example.com"}))[:2] == (400, "domain")
    record = await lab.post(f"{path}/records", {"type": "A", "name": "www", "target": "192.0.2.1"})
    assert (record["priority"], record["weight"], record["port"], record["service"]) == (0, 0, 0, None)
    apex = await lab.post(f"{path}/records", {"type": "AAAA", "name": "", "target": "2001:db8::1"})
    assert apex["name"] == ""
    full = await lab.post(f"{path}/records", {"type": "TXT", "name": "x.shop.example.com", "target": "hello"})
    assert full["name"] == "x"
    service = {"type": "SRV", "service": "sip", "protocol": "tcp", "target": "a.example.com", "port": 5060}
    assert (await lab.post(f"{path}/records", service))["name"] == "_sip._tcp"
    for wrong, named in (
        ({"type": "A", "name": "www", "target": "2001:db8::1"}, "target"),
        ({"type": "A", "name": "www"}, "target"),
        ({"type": "CNAME", "target": "a.example.com"}, "name"),
        ({"type": "SRV", "target": "a.example.com"}, "service"),
        ({"type": "SPF", "target": "x"}, "type"),
        ({"type": "A", "name": "no spaces", "target": "192.0.2.1"}, "name"),
    ):
        assert (await lab.refused("POST", f"{path}/records", wrong))[:2] == (400, named), wrong
    await lab.delete(path)
    assert not lab.account.state.records


async def test_keys_must_be_keys(lab: RunningLab) -> None:
    made = await lab.post("/v4/profile/sshkeys", {"label": "mine", "ssh_key": f"{KEY}\n"})
    assert made["ssh_key"] == KEY
    wrong = await lab.refused("POST", "/v4/profile/sshkeys", {"label": "mine", "ssh_key": "hello"})
    assert wrong[:2] == (400, "ssh_key")


async def test_tags_live_on_objects(lab: RunningLab) -> None:
    balancer = await lab.balancer(tags=["Shop"])
    made = await lab.post("/v4/tags", {"label": "blue", "nodebalancers": [int(balancer.rpartition("/")[2])]})
    assert made == {"label": "blue"}
    assert (await lab.get(balancer))["tags"] == ["Shop", "blue"]
    assert [each["type"] for each in (await lab.get("/v4/tags/shop"))["data"]] == ["nodebalancer"]
    assert (await lab.refused("POST", "/v4/tags", {"label": "BLUE"}))[:2] == (400, "label")
    await lab.delete("/v4/tags/Shop")
    assert (await lab.get(balancer))["tags"] == ["blue"]
    assert (await lab.refused("DELETE", "/v4/tags/nothing"))[0] == 404


async def test_locks_refuse_what_they_name(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    config = await lab.config(balancer)
    number = int(balancer.rpartition("/")[2])
    body = {"entity_id": number, "entity_type": "nodebalancer", "lock_type": "cannot_delete_with_subresources"}
    lock = await lab.post("/v4beta/locks", body)
    assert (await lab.get(balancer))["locks"] == ["cannot_delete_with_subresources"]
    refused = await lab.refused("POST", "/v4beta/locks", {**body, "lock_type": "cannot_delete"})
    assert f"(Lock ID: {lock['id']}) needs to be removed to add cannot_delete" in refused[2]
    for method, path, sent in (
        ("DELETE", balancer, None),
        ("DELETE", config, None),
        ("POST", f"{config}/rebuild", {"nodes": []}),
    ):
        assert (await lab.refused(method, path, sent))[0] == 400
    wrong = await lab.refused("POST", "/v4beta/locks", {**body, "entity_id": 1})
    assert wrong == (400, "entity_id", "entity_id is not valid")
    await lab.delete(f"/v4beta/locks/{lock['id']}")
    await lab.delete(balancer)


async def test_the_account_can_be_described(lab: RunningLab) -> None:
    assert (await lab.put("/v4/account", {"company": "Celadon", "balance": -1000}))["company"] == "Celadon"
    shown = await lab.get("/v4/account")
    assert (shown["company"], shown["balance"]) == ("Celadon", 0)


async def test_every_read_is_as_documented(lab: RunningLab) -> None:
    """One of each thing, then every GET that the lab has; each answer is checked against the facts on the way."""
    instance = await lab.instance("web-1")
    machine = f"/v4/linode/instances/{instance['id']}"
    balancer = await lab.balancer()
    lab.plane.carried[int(balancer.rpartition("/")[2])] = (1, 1, 1)
    config = await lab.config(balancer)
    node = await lab.post(f"{config}/nodes", {"label": "blue-1", "address": f"{instance['ipv4'][1]}:80"})
    wall = await lab.post("/v4/networking/firewalls", {"label": "wall", "rules": {"inbound": [RULE]}})
    firewall = f"/v4/networking/firewalls/{wall['id']}"
    device = await lab.post(f"{firewall}/devices", {"id": instance["id"], "type": "linode"})
    vpc = await lab.post("/v4/vpcs", {"label": "net", "region": "us-ord"})
    subnet = await lab.post(f"/v4/vpcs/{vpc['id']}/subnets", {"label": "app", "ipv4": "10.0.0.0/24"})
    domain = await lab.post("/v4/domains", {"domain": "a.example.com", "type": "master", "soa_email": "a@b.com"})
    record = await lab.post(f"/v4/domains/{domain['id']}/records", {"type": "A", "target": "192.0.2.1"})
    key = await lab.post("/v4/profile/sshkeys", {"label": "mine", "ssh_key": KEY})
    token = await lab.post("/v4/profile/tokens", {"label": "ci"})
    await lab.post("/v4/tags", {"label": "shop", "linodes": [instance["id"]]})
    body = {"entity_id": instance["id"], "entity_type": "linode", "lock_type": "cannot_delete"}
    lock = await lab.post("/v4beta/locks", body)
    (profile,), disks = (await lab.get(f"{machine}/configs"))["data"], (await lab.get(f"{machine}/disks"))["data"]
    event = (await lab.get("/v4/account/events"))["data"][0]
    paths = [
        *(
            "/v4/regions/us-ord",
            "/v4/linode/types/g6-nanode-1",
            "/v4/images/linode/debian12",
            "/v4/regions",
            "/v4/images",
        ),
        *("/v4/linode/types", "/v4/linode/kernels", "/v4/linode/kernels/linode/grub2", "/v4/nodebalancers/types"),
        *("/v4/linode/instances", machine, f"{machine}/ips", f"{machine}/ips/{instance['ipv4'][0]}"),
        *(f"{machine}/configs", f"{machine}/configs/{profile['id']}", f"{machine}/disks/{disks[0]['id']}"),
        *(f"{machine}/disks", f"{machine}/firewalls", f"{machine}/nodebalancers", f"{machine}/volumes"),
        *("/v4/networking/ips", f"/v4/networking/ips/{instance['ipv4'][0]}", "/v4/networking/firewalls", firewall),
        *(f"{firewall}/rules", f"{firewall}/devices", f"{firewall}/devices/{device['id']}"),
        *("/v4/nodebalancers", balancer, f"{balancer}/stats", f"{balancer}/firewalls", f"{balancer}/vpcs"),
        *(f"{balancer}/configs", config, f"{config}/nodes", f"{config}/nodes/{node['id']}"),
        *("/v4/vpcs", f"/v4/vpcs/{vpc['id']}", f"/v4/vpcs/{vpc['id']}/subnets"),
        *(f"/v4/vpcs/{vpc['id']}/subnets/{subnet['id']}", "/v4/domains", f"/v4/domains/{domain['id']}"),
        *(f"/v4/domains/{domain['id']}/records", f"/v4/domains/{domain['id']}/records/{record['id']}"),
        *("/v4/account", "/v4/account/settings", "/v4/account/events", f"/v4/account/events/{event['id']}"),
        *("/v4/profile", "/v4/profile/sshkeys", f"/v4/profile/sshkeys/{key['id']}", "/v4/profile/tokens"),
        *(f"/v4/profile/tokens/{token['id']}", "/v4/tags", "/v4/tags/shop", "/v4beta/locks"),
        *(f"/v4beta/locks/{lock['id']}", "/v4/databases/instances"),
    ]
    for path in paths:
        await lab.get(path)
    asked = {documented.operation("GET", path) for path in paths}
    served = {endpoint.operation for endpoint in ENDPOINTS if endpoint.method == "GET"}
    assert served - asked == {"GET /nodebalancers/{}/vpcs/{}"}  # the other VPC test reads it
