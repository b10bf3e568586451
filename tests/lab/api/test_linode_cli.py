"""linode-cli, unmodified: the story people come with, and every operation of the lab."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.api.running import DEADLINE_SECONDS, KEY, QUICK, TOKEN, RunningLab, lab_in_a_thread

from celadon.lab.api.app import Options

pytestmark = pytest.mark.slow  # linode-cli takes half a second to start

Json = dict[str, Any]
BATCH = Path(__file__).with_name("cli_batch.py")
ALWAYS = ("--json", "--suppress-warnings", "--no-defaults")


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with lab_in_a_thread(Options(timing=QUICK, rate_scale=100)) as lab:
        yield lab


@pytest.fixture(scope="module")
def environment(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """As a person would set it; HOME is empty, so that nobody's own configuration is read."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "LINODE_CLI_TOKEN": TOKEN,
        "LINODE_CLI_API_HOST": lab.url.removeprefix("http://"),
        "LINODE_CLI_API_SCHEME": "http",
        "LINODE_CLI_API_VERSION": "v4",
    }


class Process:
    """One process for each command, as people run it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def run(self, *arguments: str) -> list[Json]:
        done = subprocess.run(
            [sys.executable, "-m", "linodecli", *arguments, *ALWAYS],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS * 3,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        rows: list[Json] = json.loads(done.stdout) if done.stdout.strip() else []
        return rows


class Batch:
    """One process for many commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *arguments: str) -> Json:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([*arguments, *ALWAYS]) + "\n")
        self._process.stdin.flush()
        answer: Json = json.loads(self._process.stdout.readline())
        return answer

    def run(self, *arguments: str) -> list[Json]:
        answer = self.ask(*arguments)
        assert answer["code"] == 0, (arguments, answer)
        rows: list[Json] = json.loads(answer["out"]) if answer["out"].strip() else []
        return rows

    def made(self, *arguments: str) -> str:
        """The id of what a command made."""
        (row,) = self.run(*arguments)
        return str(row["id"])

    def until(self, status: str, linode_id: str) -> None:
        wait(lambda: bool(self.run("linodes", "view", linode_id)[0]["status"] == status))


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def batch(environment: dict[str, str]) -> Iterator[Batch]:
    with subprocess.Popen(
        [sys.executable, str(BATCH)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Batch(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(DEADLINE_SECONDS) == 0


def test_the_story_of_the_tutorial_with_the_right_verbs(environment: dict[str, str], lab: RunningLab) -> None:
    cli = Process(environment).run
    user_data = base64.b64encode(b"#cloud-config\n").decode()

    def instance(colour: str) -> Json:
        (made,) = cli(
            *("linodes", "create", "--label", f"{colour}-app-01", "--region", "us-ord", "--type", "g6-nanode-1"),
            *("--image", "linode/ubuntu22.04", "--authorized_keys", KEY, "--private_ip", "true"),
            *("--metadata.user_data", user_data, "--tags", "shop", "--tags", colour),
        )
        return made

    blue, green = instance("blue"), instance("green")
    addresses = [f"{each['ipv4'][1]}:5000" for each in (blue, green)]
    assert all(address.startswith("192.168.") for address in addresses)

    (edge,) = cli("nodebalancers", "create", "--region", "us-ord", "--label", "shop", "--client_conn_throttle", "10")
    here = str(edge["id"])
    (config,) = cli(
        *("nodebalancers", "config-create", here, "--port", "80", "--protocol", "http", "--check", "http"),
        *("--check_path", "/healthz", "--check_interval", "5", "--check_timeout", "3", "--check_passive", "false"),
    )
    port = str(config["id"])
    assert config["nodes_status"] == {"up": 0, "down": 0}

    def node(colour: str, address: str) -> str:
        label = f"{colour}-app-01"
        (made,) = cli("nodebalancers", "node-create", here, port, "--label", label, "--address", address)
        return str(made["id"])

    blue_node = node("blue", addresses[0])
    (domain,) = cli("domains", "create", "--domain", "shop.example.com", "--type", "master", "--soa_email", "a@b.com")
    (record,) = cli("domains", "records-create", str(domain["id"]), "--type", "A", "--target", edge["ipv4"])
    assert record["target"] == edge["ipv4"]

    # deploy.sh: the new version's instance joins, is seen well, and the old one leaves
    wait(lambda: not lab.account.state.jobs)
    (running,) = cli("linodes", "view", str(green["id"]))
    assert running["status"] == "running"
    green_node = node("green", addresses[1])
    lab.plane.statuses[int(green_node)] = "UP"
    assert {each["label"]: each["status"] for each in cli("nodebalancers", "nodes-list", here, port)} == {
        "blue-app-01": "Unknown",
        "green-app-01": "UP",
    }
    cli("nodebalancers", "node-update", here, port, blue_node, "--mode", "drain")
    cli("nodebalancers", "node-delete", here, port, blue_node)
    (left,) = cli("nodebalancers", "nodes-list", here, port)
    assert left["label"] == "green-app-01"

    # rollback: the same with the colours exchanged, in one request
    nodes = json.dumps([{"label": "blue-app-01", "address": addresses[0], "mode": "accept"}])
    cli("nodebalancers", "config-rebuild", here, port, "--port", "80", "--protocol", "http", "--nodes", nodes)
    assert [node.label for node in lab.account.state.nodes.values()] == ["blue-app-01"]


def test_catalogue_account_and_profile(batch: Batch) -> None:
    assert "us-ord" in [each["id"] for each in batch.run("regions", "list")]
    assert batch.run("regions", "view", "us-ord")[0]["country"] == "us"
    assert len(batch.run("linodes", "types")) > 30
    assert batch.run("linodes", "type-view", "g6-nanode-1")[0]["memory"] == 1024
    assert batch.run("images", "view", "linode/debian12")[0]["label"] == "Debian 12"
    assert len(batch.run("images", "list")) > 20
    assert batch.run("nodebalancers", "types")[0]["id"] == "nodebalancer"
    assert batch.run("profile", "view")[0]["username"] == "lab"
    assert batch.run("account", "view")
    assert batch.run("account", "settings")
    key = batch.made("sshkeys", "create", "--label", "cli", "--ssh_key", KEY)
    assert batch.run("sshkeys", "update", key, "--label", "cli-2")[0]["label"] == "cli-2"
    assert batch.run("sshkeys", "view", key)[0]["ssh_key"] == KEY
    assert "cli-2" in [each["label"] for each in batch.run("sshkeys", "list")]
    batch.run("sshkeys", "delete", key)
    token = batch.made("profile", "token-create", "--label", "cli", "--scopes", "domains:read_only")
    assert batch.run("profile", "token-view", token)[0]["scopes"] == "domains:read_only"
    assert batch.run("profile", "tokens-list")
    batch.run("profile", "token-delete", token)


def test_instances(batch: Batch) -> None:
    machine = batch.made(
        *("linodes", "create", "--label", "cli-one", "--region", "us-ord", "--type", "g6-nanode-1"),
        *("--image", "linode/debian12", "--root_pass", "a-Long-passw0rd", "--private_ip", "true"),
    )
    batch.until("running", machine)
    assert [each["id"] for each in batch.run("linodes", "list", "--label", "cli-one")] == [int(machine)]
    assert batch.run("linodes", "update", machine, "--tags", "cli-made")[0]["tags"] == ["cli-made"]
    batch.run("linodes", "shutdown", machine)
    batch.until("offline", machine)
    batch.run("linodes", "boot", machine)
    batch.until("running", machine)
    batch.run("linodes", "reboot", machine)
    batch.until("running", machine)
    assert batch.run("linodes", "ips-list", machine)[0]["ipv4"]["private"]
    (added,) = batch.run("linodes", "ip-add", machine, "--type", "ipv4", "--public", "true")
    assert batch.run("linodes", "ip-view", machine, added["address"])[0]["public"]
    batch.run("linodes", "ip-delete", machine, added["address"])
    (config,) = batch.run("linodes", "configs-list", machine)
    profile = str(config["id"])
    assert batch.run("linodes", "config-view", machine, profile)[0]["kernel"] == "linode/grub2"
    assert batch.run("linodes", "config-update", machine, profile, "--comments", "hello")[0]["comments"] == "hello"
    disks = batch.run("linodes", "disks-list", machine)
    assert {disk["filesystem"] for disk in disks} == {"ext4", "swap"}
    assert batch.run("linodes", "disk-view", machine, str(disks[0]["id"]))
    events = batch.run("events", "list", "--action", "linode_reboot")
    assert {event["status"] for event in events} == {"finished"}
    assert batch.run("events", "view", str(events[0]["id"]))[0]["entity"]["id"] == int(machine)
    batch.run("events", "mark-seen", str(events[0]["id"]))
    assert machine in {str(each["linode_id"]) for each in batch.run("networking", "ips-list")}
    batch.run("linodes", "rebuild", machine, "--image", "linode/ubuntu22.04", "--root_pass", "a-Long-passw0rd")
    batch.until("running", machine)
    assert batch.run("tags", "get-tagged-objects", "cli-made")
    batch.run("linodes", "delete", machine)
    assert batch.ask("linodes", "view", machine)["code"] != 0


def test_nodebalancers(batch: Batch) -> None:
    edge = batch.made("nodebalancers", "create", "--region", "us-ord", "--label", "cli-edge")
    assert batch.run("nodebalancers", "update", edge, "--label", "cli-edge-2")[0]["label"] == "cli-edge-2"
    assert batch.run("nodebalancers", "list", "--label", "cli-edge-2")[0]["id"] == int(edge)
    assert batch.run("nodebalancers", "view", edge)
    port = batch.made("nodebalancers", "config-create", edge, "--port", "8080")
    assert batch.run("nodebalancers", "config-update", edge, port, "--algorithm", "source")[0]["algorithm"] == "source"
    assert batch.run("nodebalancers", "config-view", edge, port)[0]["port"] == 8080
    assert len(batch.run("nodebalancers", "configs-list", edge)) == 1
    address = ("--address", "192.168.200.1:80", "--label", "one")
    node = batch.made("nodebalancers", "node-create", edge, port, *address, "--mode", "reject")
    assert batch.run("nodebalancers", "node-view", edge, port, node)[0]["mode"] == "reject"
    assert batch.run("nodebalancers", "node-update", edge, port, node, "--weight", "7")[0]["weight"] == 7
    assert batch.run("nodebalancers", "vpcs-list", edge) == []
    assert batch.ask("nodebalancers", "vpc-view", edge, "0")["code"] != 0
    batch.run("nodebalancers", "node-delete", edge, port, node)
    batch.run("nodebalancers", "config-delete", edge, port)
    batch.run("nodebalancers", "delete", edge)


def test_firewalls(batch: Batch) -> None:
    edge = batch.made("nodebalancers", "create", "--region", "us-ord", "--label", "cli-fenced")
    wall = batch.made(
        *("firewalls", "create", "--label", "cli-wall", "--rules.inbound_policy", "DROP"),
        *("--rules.outbound_policy", "ACCEPT"),
    )
    device = batch.made("firewalls", "device-create", wall, "--id", edge, "--type", "nodebalancer")
    assert batch.run("firewalls", "device-view", wall, device)
    assert len(batch.run("firewalls", "devices-list", wall)) == 1
    inbound = json.dumps(
        [{"protocol": "TCP", "action": "ACCEPT", "ports": "22", "addresses": {"ipv4": ["192.0.2.0/24"]}}]
    )
    changed = batch.run("firewalls", "rules-update", wall, "--inbound", inbound)[0]
    assert (changed["inbound"][0]["ports"], changed["inbound_policy"]) == ("22", "DROP")
    assert batch.run("firewalls", "rules-list", wall)
    assert batch.run("firewalls", "update", wall, "--status", "disabled")[0]["status"] == "disabled"
    assert batch.run("firewalls", "view", wall)
    assert batch.run("firewalls", "list")
    batch.run("firewalls", "device-delete", wall, device)
    batch.run("nodebalancers", "firewalls", edge, "--firewall_ids", wall)
    batch.run("firewalls", "delete", wall)


def test_networks_domains_and_tags(batch: Batch) -> None:
    vpc = batch.made("vpcs", "create", "--label", "cli-net", "--region", "us-ord")
    subnet = batch.made("vpcs", "subnet-create", vpc, "--label", "app", "--ipv4", "10.9.0.0/24")
    assert batch.run("vpcs", "subnet-update", vpc, subnet, "--label", "app-2")[0]["label"] == "app-2"
    assert batch.run("vpcs", "subnet-view", vpc, subnet)
    assert batch.run("vpcs", "subnets-list", vpc)
    assert batch.run("vpcs", "update", vpc, "--description", "mine")[0]["description"] == "mine"
    assert batch.run("vpcs", "list")
    batch.run("vpcs", "subnet-delete", vpc, subnet)
    batch.run("vpcs", "delete", vpc)
    zone = batch.made("domains", "create", "--domain", "cli.example.com", "--type", "master", "--soa_email", "a@b.com")
    record = batch.made("domains", "records-create", zone, "--type", "A", "--name", "www", "--target", "192.0.2.1")
    changed = batch.run("domains", "records-update", zone, record, "--target", "192.0.2.2")
    assert changed[0]["target"] == "192.0.2.2"
    assert batch.run("domains", "records-view", zone, record)
    assert batch.run("domains", "records-list", zone)
    assert batch.run("domains", "update", zone, "--ttl_sec", "300")[0]["ttl_sec"] == 300
    assert batch.run("domains", "list", "--domain", "cli.example.com")
    batch.run("domains", "records-delete", zone, record)
    batch.run("domains", "delete", zone)
    batch.run("tags", "create", "--label", "cli-tag")
    assert "cli-tag" in [each["label"] for each in batch.run("tags", "list")]
    batch.run("tags", "delete", "cli-tag")


def test_a_refusal_is_shown_with_field_and_reason(batch: Batch) -> None:
    answer = batch.ask("linodes", "create", "--region", "nowhere", "--type", "g6-nanode-1")
    assert answer["code"] != 0
    assert "region is not valid" in answer["out"]
