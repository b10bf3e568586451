"""Hosts from the config to machines and slots: what is asked of whom, and what is refused."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import pytest

from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_wire import Instance
from celadon.cli.inventory import Inventory, take
from celadon.cli.pace import at_lab, timing
from celadon.config.project import open_project
from celadon.core.errors import Refused
from celadon.core.intent import Timing
from celadon.core.release import Colour
from tests.cli.worlds import CONFIG

STATIC = CONFIG[CONFIG.index("[hosts]") : CONFIG.index("[balancer]")]


class Account:
    """The two questions that are asked of the API."""

    def __init__(self, *instances: Instance) -> None:
        self.by_label = {instance.label: instance for instance in instances}
        self.asked: list[str] = []

    async def instances(self, labels: dict[str, str]) -> dict[str, Instance]:
        self.asked += labels
        return {label: self.by_label[label] for label in labels}

    async def instances_tagged(self, tags: tuple[str, ...]) -> tuple[Instance, ...]:
        return tuple(one for one in self.by_label.values() if set(tags) <= set(one.tags))


def instance(label: str, last: int, *tags: str, private: bool = True) -> Instance:
    addresses = [IPv4Address(f"203.0.113.{last}"), *([IPv4Address(f"192.168.130.{last}")] if private else [])]
    return Instance(last, label, "running", ipv4=tuple(addresses), tags=tags)


async def inventory(root: Path, hosts: str, account: Account | None = None, output: str = "") -> Inventory:
    (root / "celadon.toml").write_text(CONFIG.replace(STATIC, f"[hosts]\n{hosts}\n"))

    def api() -> LinodeApi:
        if account is None:
            raise Refused("nothing may be asked of the API here")
        return cast("LinodeApi", account)

    async def outputs(folder: Path) -> str:
        assert folder == root / "infra"
        return output

    return await take(open_project(start=root), api, outputs=outputs)


async def test_written_addresses_need_no_token(tmp_path: Path) -> None:
    found = await inventory(tmp_path, STATIC.removeprefix("[hosts]\n"))
    assert [slot.node_address for slot in found.slots[Colour.GREEN]] == ["192.168.130.21:5000"]
    assert [(each.ssh_host, each.user) for each in found.addresses] == [("192.0.2.11", "root"), ("192.0.2.21", "root")]


async def test_labels_are_asked_of_the_api(tmp_path: Path) -> None:
    account = Account(instance("blue-1", 11), instance("green-1", 21))
    found = await inventory(tmp_path, 'blue = ["blue-1"]\ngreen = ["green-1"]', account)
    assert sorted(account.asked) == ["blue-1", "green-1"]
    assert found.home == "blue-1"
    assert [each.ssh_host for each in found.addresses] == ["203.0.113.11", "203.0.113.21"]
    assert found.slots[Colour.BLUE][0].node_address == "192.168.130.11:5000"


async def test_an_instance_without_a_private_address_is_refused_with_the_command(tmp_path: Path) -> None:
    account = Account(instance("blue-1", 11, private=False), instance("green-1", 21))
    with pytest.raises(Refused, match="no private address") as caught:
        await inventory(tmp_path, 'blue = ["blue-1"]\ngreen = ["green-1"]', account)
    assert "linode-cli linodes ip-add 11" in (caught.value.hint or "")


async def test_tags_name_the_hosts(tmp_path: Path) -> None:
    account = Account(instance("a-blue", 11, "app", "blue"), instance("a-green", 21, "app", "green"))
    found = await inventory(tmp_path, 'tags = { blue = ["app", "blue"], green = ["app", "green"] }', account)
    assert (found.slots[Colour.BLUE][0].host, found.slots[Colour.GREEN][0].host) == ("a-blue", "a-green")
    assert found.home == "a-blue"


async def test_tags_that_nobody_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"hosts\.tags\.blue"):
        await inventory(tmp_path, 'tags = { blue = ["app", "blue"], green = ["app", "green"] }', Account())


async def test_terraform_names_hosts_and_needs_no_api_where_it_gives_addresses(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    hosts = [f'{{"label": "{c}-1", "ssh": "203.0.113.{n}", "private": "192.168.130.{n}"}}' for c, n in
             (("blue", 11), ("green", 21))]  # fmt: skip
    output = f'{{"hosts": {{"blue": [{hosts[0]}], "green": [{hosts[1]}]}}, "nodebalancer": "nb-label"}}'
    found = await inventory(tmp_path, 'terraform = "infra"', None, output)
    assert [each.name for each in found.addresses] == ["blue-1", "green-1"]
    assert not found.config.balancer.add_nodes


def test_the_labs_pace_is_only_for_loopback() -> None:
    assert not at_lab({})
    assert at_lab({"CELADON_PACE": "lab", "LINODE_URL": "http://127.0.0.1:8080"})
    for url in ("", "https://api.linode.com", "http://127.0.0.1.example.com"):
        with pytest.raises(Refused):
            at_lab({"CELADON_PACE": "lab", "LINODE_URL": url})
    with pytest.raises(Refused):
        at_lab({"CELADON_PACE": "fast", "LINODE_URL": "http://127.0.0.1:8080"})


def test_the_labs_pace_is_what_it_says_and_leaves_the_application_its_time(tmp_path: Path) -> None:
    (tmp_path / "celadon.toml").write_text(CONFIG)
    config = open_project(start=tmp_path).config
    lab, full = timing(config, lab=True), timing(config, lab=False)
    assert full == Timing()
    assert (lab.settle, lab.bake, lab.quiet, lab.lease) == (2.0, 5.0, 1.0, 3.0)
    assert lab.start_within == full.start_within
    scaled = ("settle", "bake", "drain", "quiet", "fresh", "poll", "repeat", "lost", "retry", "verify_within", "lease")
    assert all(getattr(lab, name) < getattr(full, name) for name in scaled)
