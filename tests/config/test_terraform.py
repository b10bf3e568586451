"""Terraform's output: hosts and NodeBalancer, from all outputs or the one, saved or printed."""

import json
from pathlib import Path
from typing import Any

import pytest

from celadon.config import ConfigError, load, parse
from celadon.config.load import with_terraform
from celadon.config.terraform import parse_output
from celadon.config.values import SshAddress

VALUE: dict[str, Any] = {
    "hosts": {
        "blue": [{"label": "blue-app-01", "ssh": "203.0.113.11", "private": "192.168.130.11"}],
        "green": [
            {"label": "green-app-01", "ssh": "203.0.113.21", "private": "192.168.130.21"},
            {"label": "green-app-02"},
        ],
    },
    "nodebalancer": 4242,
    "known_hosts": "203.0.113.11 ssh-ed25519 AAAA\n",
}
ALL = {"celadon": {"sensitive": False, "type": "object", "value": VALUE}, "other": {"value": 1}}


@pytest.fixture
def terraform(smallest: str) -> str:
    text = smallest.replace('blue = ["blue-app-01", "blue-app-02"]', 'terraform = "infra"')
    return text.replace('green = ["green-app-01", "green-app-02"]\n', "").replace(
        'nodebalancer = "app-nodebalancer"\n', ""
    )


@pytest.mark.parametrize("tree", [VALUE, ALL], ids=["one output", "all outputs"])
def test_both_forms_are_read(tree: dict[str, Any]) -> None:
    output = parse_output(json.dumps(tree), file="infra")
    assert output.blue[0].ssh == SshAddress("203.0.113.11")
    assert output.green[1].private is None  # the API is asked
    assert output.nodebalancer == 4242
    assert output.known_hosts.startswith("203.0.113.11 ")


def test_a_folder_waits_for_terraform(terraform: str, root: Path) -> None:
    config = parse(terraform, file="celadon.toml", root=root)
    assert (config.hosts.terraform, config.hosts.blue, config.hosts.home) == ("infra", (), None)
    assert not config.balancer.add_nodes  # one owner
    known = with_terraform(config, parse_output(json.dumps(VALUE), file="infra"), file="celadon.toml", root=root)
    assert [host.name for host in known.hosts.green] == ["green-app-01", "green-app-02"]
    assert (known.hosts.home, known.balancer.nodebalancer) == ("blue-app-01", 4242)


def test_a_saved_output_is_read_with_the_config(terraform: str, root: Path) -> None:
    (root / "outputs.json").write_text(json.dumps(ALL))
    (root / "celadon.toml").write_text(terraform.replace('"infra"', '"outputs.json"'))
    config = load(root / "celadon.toml")
    assert config.hosts.blue[0].private == "192.168.130.11"
    assert config.balancer.nodebalancer == 4242


def test_what_the_file_says_about_the_balancer_stays(terraform: str, root: Path) -> None:
    config = parse(terraform + 'nodebalancer = "mine"\n', file="celadon.toml", root=root)
    known = with_terraform(config, parse_output(json.dumps(VALUE), file="infra"), file="celadon.toml", root=root)
    assert known.balancer.nodebalancer == "mine"


def test_the_module_says_where_testers_come_in(terraform: str, root: Path) -> None:
    made = VALUE | {"configs": {"http": {"id": 1, "port": 80}, "test": {"id": 2, "port": 8081}}}

    def port(more: str) -> int | None:
        config = parse(terraform + more, file="celadon.toml", root=root)
        output = parse_output(json.dumps(made), file="infra")
        return with_terraform(config, output, file="celadon.toml", root=root).balancer.test_port

    assert [port(""), port("test_port = 9000\n"), port("ports = [80, 8081]\n")] == [8081, 9000, None]


def test_hosts_from_terraform_keep_the_rules_of_hosts(terraform: str, root: Path) -> None:
    shared = VALUE | {"hosts": {"blue": [{"label": "web-1"}], "green": [{"label": "web-1"}]}}
    config = parse(terraform, file="celadon.toml", root=root)
    with pytest.raises(ConfigError, match=r"hosts\.ports: missing: both colours use web-1"):
        with_terraform(config, parse_output(json.dumps(shared), file="infra"), file="celadon.toml", root=root)


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("", "", "is not the JSON"),
        ("[" * 100_000, "", "is not the JSON"),
        ("[]", "", "must be a table"),
        ("{}", "celadon", "no output of this name"),
        (json.dumps({"celadon": 1}), "celadon", "no output of this name"),
        (json.dumps({"celadon": {"value": None}}), "celadon", "must be a table"),
        (json.dumps(VALUE | {"nodebalancer": None}), "nodebalancer", "must be a label or an id"),
        (json.dumps(VALUE | {"extra": 1}), "extra", "unknown key"),
        (json.dumps(VALUE | {"hosts": {"blue": [], "green": []}}), "hosts.blue", "is empty"),
        (
            json.dumps(
                {
                    "celadon": {
                        "value": VALUE
                        | {"hosts": {"blue": [{"label": "web", "ssh": "a"}], "green": [{"label": "web"}]}}
                    }
                }
            ),
            "celadon.hosts.blue[0]",
            "has one of ssh and private",
        ),
    ],
)
def test_a_wrong_output_is_one_clear_error(text: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_output(text, file="outputs.json")
    assert (caught.value.file, caught.value.key) == ("outputs.json", key)
    assert reason in caught.value.reason
    assert caught.value.hint
