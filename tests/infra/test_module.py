"""The module by the real Terraform, on a lab: from nothing to nothing, and what each change of it touches."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.infra.accounts import account, host_keys
from tests.infra.rig import MODULE, Tools
from tests.infra.terraform_stage import HEALTH, HTTPS, self_signed

from celadon.config.terraform import parse_output
from celadon.lab.facts import catalogue

pytestmark = pytest.mark.slow

EVERYTHING = f"""\
{HEALTH}{HTTPS}
  test_port            = 8081
  tester_cidrs         = ["203.0.113.9/32", "2001:db8::/48"]
  client_conn_throttle = 20
  domain               = "shop.example.com"
  soa_email            = "hostmaster@example.com"
  records              = ["", "www"]
  tags                 = ["team:shop"]
"""
SHARED = ("module.celadon.linode_nodebalancer.app", "module.celadon.linode_firewall")


async def test_everything_at_once_from_nothing_to_nothing(tools: Tools, tmp_path: Path) -> None:
    await everything_at_once(tools, tmp_path)


async def everything_at_once(tools: Tools, tmp_path: Path) -> None:
    """Init, fmt, validate, plan, apply, a second plan, destroy: all that the module can make."""
    async with account(tools, tmp_path) as here:
        terraform = here.terraform
        self_signed(terraform.folder / "tls")
        here.root(more=EVERYTHING)
        two = {"count": 2, "image": "linode/ubuntu24.04"}
        here.values(colours={"blue": two, "green": {}}, **host_keys("blue-g1-1", "blue-g1-2", "green-g1-1"))
        await terraform.good("init", "-no-color")
        await terraform.good("fmt", "-check", "-no-color", str(MODULE))
        await terraform.good("validate", "-no-color")
        await terraform.apply()
        await terraform.unchanged()
        said = (await terraform.good("output", "-json")).out
        output = parse_output(said, file="infra")
        assert [host.label for host in (*output.blue, *output.green)] == [
            "shop-blue-g1-1", "shop-blue-g1-2", "shop-green-g1-1",
        ]  # fmt: skip
        assert output.configs is not None
        ports = [each and each.port for each in (output.configs.http, output.configs.https, output.configs.test)]
        assert ports == [80, 443, 8081]
        values = {name: entry["value"] for name, entry in json.loads(said).items()}
        assert values["monthly_cost"] == 3 * 5 + 10
        await _what_the_account_holds(here, output, values)

        # Everything goes, and in an order that the account allows.
        await terraform.apply("-destroy")
        for path in ("/linode/instances", "/nodebalancers", "/networking/firewalls", "/domains"):
            assert (await here.ask("GET", f"/v4{path}"))["data"] == []


async def _what_the_account_holds(here: Any, output: Any, values: dict[str, Any]) -> None:
    balancer = f"/v4/nodebalancers/{output.nodebalancer}"
    seen = await here.ask("GET", balancer)
    assert (seen["label"], seen["client_conn_throttle"]) == ("shop-nb", 20)
    assert values["public_address"] == {name: seen[name] for name in ("ipv4", "ipv6", "hostname")}
    configs = sorted((await here.ask("GET", f"{balancer}/configs"))["data"], key=lambda each: int(each["port"]))
    assert [(each["port"], each["protocol"], each["stickiness"], each["check_passive"]) for each in configs] == [
        (80, "http", "none", False), (443, "https", "none", False), (8081, "http", "none", False),
    ]  # fmt: skip
    for config in configs:
        nodes = (await here.ask("GET", f"{balancer}/configs/{config['id']}/nodes"))["data"]
        assert {(node["mode"], node["weight"]) for node in nodes} == {("reject", 100)}
        assert {node["address"] for node in nodes} == {f"{h.private}:5000" for h in (*output.blue, *output.green)}
    walls = {each["label"]: each for each in (await here.ask("GET", "/v4/networking/firewalls"))["data"]}
    assert set(walls) == {"shop-app", "shop-edge"}
    inbound = {rule["label"]: rule for wall in walls.values() for rule in wall["rules"]["inbound"]}
    assert inbound["app-from-nodebalancer"]["ports"] == "5000"
    assert inbound["app-from-nodebalancer"]["addresses"] == {"ipv4": ["192.168.255.0/24"]}
    assert inbound["ssh-from-admins"]["addresses"] == {"ipv4": ["203.0.113.0/24"]}
    assert inbound["web"]["ports"] == "80, 443"
    assert inbound["test"]["ports"] == "8081"
    assert inbound["test"]["addresses"] == {"ipv4": ["203.0.113.9/32"], "ipv6": ["2001:db8::/48"]}
    assert {wall["rules"]["inbound_policy"] for wall in walls.values()} == {"DROP"}
    protected = {e["label"] for wall in walls.values() for e in wall["entities"]}
    assert protected == {"shop-nb", "shop-blue-g1-1", "shop-blue-g1-2", "shop-green-g1-1"}
    for instance in (await here.ask("GET", "/v4/linode/instances"))["data"]:
        assert instance["has_user_data"]
        assert {"shop", "celadon", "team:shop"} < set(instance["tags"])
    (domain,) = (await here.ask("GET", "/v4/domains"))["data"]
    assert domain["soa_email"] == "hostmaster@example.com"
    records = (await here.ask("GET", f"/v4/domains/{domain['id']}/records"))["data"]
    assert sorted((each["type"], each["name"], each["target"]) for each in records) == [
        ("A", "", seen["ipv4"]), ("A", "www", seen["ipv4"]), ("AAAA", "", seen["ipv6"]), ("AAAA", "www", seen["ipv6"]),
    ]  # fmt: skip


async def test_what_each_change_touches(tools: Tools, tmp_path: Path) -> None:
    keys = host_keys(*(f"{colour}-g{generation}-1" for colour in ("blue", "green") for generation in (1, 2)))
    async with account(tools, tmp_path) as here:
        here.root()
        here.values(**keys)
        await here.terraform.good("init", "-no-color")
        await here.terraform.apply()
        balancer = f"/v4/nodebalancers/{(await here.output())['nodebalancer']}"
        (config,) = (await here.ask("GET", f"{balancer}/configs"))["data"]
        nodes = f"{balancer}/configs/{config['id']}/nodes"

        # Traffic moves: modes and weights are Celadon's, and no plan undoes them.
        moved = {"blue-g1-1": {"mode": "accept", "weight": 7}, "green-g1-1": {"mode": "backup", "weight": 100}}
        for node in (await here.ask("GET", nodes))["data"]:
            await here.ask("PUT", f"{nodes}/{node['id']}", moved[node["label"]])
        await here.terraform.unchanged()

        # What a machine is made of holds from its next making on: nothing that runs is touched.
        here.values(colours={"blue": {"image": "linode/ubuntu24.04"}}, **keys | {"host_private_keys": {}})
        here.root(more='  runtime = "venv"\n')
        await here.terraform.unchanged()
        here.root()

        # A raised generation: that colour's machine and its node, and no other thing.
        here.values(colours={"green": {"generation": 2}}, **keys)
        assert await here.planned() == {
            'module.celadon.linode_instance.app["green-g1-1"]': ["delete"],
            'module.celadon.linode_instance.app["green-g2-1"]': ["create"],
            'module.celadon.linode_nodebalancer_node.http["green-g1-1"]': ["delete"],
            'module.celadon.linode_nodebalancer_node.http["green-g2-1"]': ["create"],
        }
        await here.terraform.good("apply", "-no-color", "plan")
        await here.terraform.unchanged()
        modes = {node["label"]: node["mode"] for node in (await here.ask("GET", nodes))["data"]}
        assert modes == {"blue-g1-1": "accept", "green-g2-1": "reject"}

        # A machine without a host key is not made, and the plan says so.
        here.values(colours={"green": {"generation": 3}}, **keys)
        ran = await here.terraform.run("plan", "-no-color")
        assert ran.exit == 1
        assert "green-g3-1 is to be made and has no host key" in ran.text

        # An instance deleted by hand takes its node along; the next apply makes both again.
        here.values(colours={"green": {"generation": 2}}, **keys)
        gone = next(each for each in (await here.output())["hosts"]["green"])
        await here.ask("DELETE", f"/v4/linode/instances/{gone['id']}")
        assert await here.planned() == {
            'module.celadon.linode_instance.app["green-g2-1"]': ["create"],
            'module.celadon.linode_nodebalancer_node.http["green-g2-1"]': ["create"],
        }
        await here.terraform.good("apply", "-no-color", "plan")

        # Made anew under the same name: its node is made anew with it, and no update meets a node that is gone.
        replaced = await here.planned("-replace", 'module.celadon.linode_instance.app["green-g2-1"]')
        assert replaced == {
            'module.celadon.linode_instance.app["green-g2-1"]': ["delete", "create"],
            'module.celadon.linode_nodebalancer_node.http["green-g2-1"]': ["delete", "create"],
        }
        await here.terraform.good("apply", "-no-color", "plan")
        await here.terraform.unchanged()

        # An idle colour may have no machine at all.
        here.values(colours={"green": {"count": 0}}, **keys)
        assert await here.planned() == {
            'module.celadon.linode_instance.app["green-g2-1"]': ["delete"],
            'module.celadon.linode_nodebalancer_node.http["green-g2-1"]': ["delete"],
        }


async def test_in_a_vpc_of_its_own(tools: Tools, tmp_path: Path) -> None:
    async with account(tools, tmp_path) as here:
        here.root(more='  network = "vpc"\n')
        here.values(**host_keys("blue-g1-1", "green-g1-1"))
        await here.terraform.good("init", "-no-color")
        await here.terraform.apply()
        await here.terraform.unchanged()
        output = await here.output()
        balancer = f"/v4/nodebalancers/{output['nodebalancer']}"
        (joined,) = (await here.ask("GET", f"{balancer}/vpcs"))["data"]
        assert joined["ipv4_range"] == "10.20.0.248/30"
        rules = [
            rule
            for wall in (await here.ask("GET", "/v4/networking/firewalls"))["data"]
            for rule in wall["rules"]["inbound"]
        ]
        assert next(r for r in rules if r["label"] == "app-from-nodebalancer")["addresses"] == {
            "ipv4": ["10.20.0.248/30"]
        }
        hosts = [host for colour in output["hosts"].values() for host in colour]
        assert all(host["private"].startswith("10.20.0.") and host["ssh"].startswith("127.") for host in hosts)
        await here.terraform.apply("-destroy")


def test_the_facts_are_those_of_the_lab() -> None:
    """Prices and regions in the module are the recorded ones; `facts.json` is made from them."""
    facts = json.loads((MODULE / "facts.json").read_text())

    def prices(entry: dict[str, Any]) -> dict[str, float]:
        return {"*": entry["price"]["monthly"], **{each["id"]: each["monthly"] for each in entry["region_prices"]}}

    assert facts["types"] == {each["id"]: prices(each) for each in catalogue.table("types").values()}
    regions = catalogue.table("regions").values()
    for key, capability in (("regions_without_nodebalancers", "NodeBalancers"), ("regions_without_vpc", "VPCs")):
        assert facts[key] == sorted(each["id"] for each in regions if capability not in each["capabilities"])


def test_the_module_is_formatted(tools: Tools) -> None:
    ran = subprocess.run(
        [tools.terraform, "fmt", "-check", "-diff", str(MODULE)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")
