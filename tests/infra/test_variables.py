"""Every variable with a wrong value is refused by Terraform in our words, with what is allowed; right ones pass."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.infra.accounts import Account, account
from tests.infra.rig import MODULE, Tools

pytestmark = pytest.mark.slow

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvC2Z2gkU0ggb1kRz2QXlb4m8Qx3b8y0sJtQ4z1L0pE"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SECRET = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
SECRETS = ("host_private_keys", "tls_private_key")
MESSAGE = re.compile(r'error_message = "(.*)"\n')
GOOD: dict[str, Any] = {
    "name": "shop",
    "region": "us-ord",
    "ssh_keys": [KEY],
    "admin_cidrs": ["203.0.113.0/24"],
    "colours": {"blue": {"count": 0}, "green": {"count": 0}},
}

# variable, wrong values, and what the refusal must say besides the variable's name.
WRONG: list[tuple[str, list[Any], str]] = [
    ("name", ["", "ab", "Shop", "1shop", "shop_one", "shop--one", "shop-", "s" * 25], "3 to 24 of a-z"),
    ("region", ["", "US-ORD", "chicago", "us-den-edge-1", "us-ord; rm"], "linode-cli regions list"),
    ("colours", [{"blue": {"count": -1}}, {"green": {"count": 51}}, {"green": {"count": 1.5}}], "from 0 to 50"),
    ("colours", [{"blue": {"generation": 0}}, {"green": {"generation": 1.5}}], "from 1 to 99999"),
    ("colours", [{"blue": {"type": "nanode"}}, {"green": {"type": ""}}], "g6-standard-2"),
    ("colours", [{"blue": {"image": "linode/debian11"}}, {"green": {"image": "debian12"}}], "linode/ubuntu24.04"),
    ("host_keys", [{"web-1": KEY}, {"blue-g1-1": f"{KEY} comment"}, {"blue-g1-1": "ssh-rsa AAAA"}], "ssh-ed25519"),
    ("host_private_keys", [{"blue-g1-1": "secret-that-nobody-prints"}], "BEGIN OPENSSH PRIVATE KEY"),
    ("ssh_keys", [[], [SECRET], [f"{KEY}\n{KEY}"], ["~/.ssh/id_ed25519.pub"]], "never a private one"),
    ("admin_cidrs", [[], ["203.0.113.7"], ["anywhere"], ["203.0.113.0/33"]], "203.0.113.7/32"),
    ("runtime", ["", "podman"], '"docker" or "venv"'),
    ("app_port", [0, 80, 65536, 5000.5], "1024 to 65535"),
    ("health", [{"path": "healthz"}, {"path": "/a_b"}, {"path": "/ä"}], "path begins with /"),
    ("health", [{"interval": 1}, {"interval": 3601}, {"interval": 5.5}], "2 to 3600"),
    ("health", [{"timeout": 0}, {"timeout": 5}, {"timeout": 31, "interval": 60}], "below interval"),
    ("health", [{"attempts": 0}, {"attempts": 31}], "1 to 30"),
    ("client_conn_throttle", [-1, 21, 0.5], "0 (no limit) to 20"),
    ("tls_certificate", ["", "tls/fullchain.pem", SECRET], "PEM"),
    ("tls_private_key", ["", "tls/privkey.pem", SECRET.replace("PRIVATE", "ENCRYPTED PRIVATE")], "PEM"),
    ("test_port", [0, 65536, 80, 443, 8081.5], "not 80 and not 443"),
    ("tester_cidrs", [["203.0.113.7"], ["everybody"]], "203.0.113.7/32"),
    ("network", ["", "public"], '"private_ip" or "vpc"'),
    ("vpc_ipv4", ["", "10.20.0.1/24", "10.20.0.0/28", "10.0.0.0/8", "203.0.113.0/24"], "/16 to /27"),
    ("domain", ["", "Example.com", "example", "https://example.com", "example.com."], "example.com"),
    ("soa_email", ["", "hostmaster", "a@b"], "hostmaster@example.com"),
    ("domain_id", [0, -1, 1.5], "linode-cli domains list"),
    ("records", [["www", "www"], ["www."], ["WWW"]], "without the domain"),
    ("record_ttl", [0, 60, 301], "30, 120, 300"),
    ("tags", [["ab"], ["Team"], ["t" * 51]], "3 to 50 characters"),
]

# Values that are right one by one and wrong together, or wrong in this region.
WRONG_TOGETHER: list[tuple[str, dict[str, Any]]] = [
    ("region: ap-west has no VPCs", {"region": "ap-west", "network": "vpc"}),
    ("tls_private_key: tls_certificate is given", {"tls_certificate": PEM}),
    ("tester_cidrs: test_port is given", {"test_port": 8081}),
    ("soa_email: domain is given", {"domain": "example.com"}),
    ("domain_id: give domain", {"domain": "example.com", "soa_email": "a@example.com", "domain_id": 7}),
]

RIGHT: list[dict[str, Any]] = [
    {},
    {"name": "shop-staging-2", "region": "de-fra-2", "tags": ["team:shop"], "record_ttl": 30},
    {"colours": {"blue": {"type": "g6-dedicated-4", "count": 0}, "green": {"type": "g7-premium-2", "count": 0}}},
    {
        "colours": {
            "blue": {"type": "g2-gpu-rtx4000a1-s", "image": "linode/debian12", "count": 0},
            "green": {"count": 0},
        }
    },
    {"ssh_keys": [f"{KEY} me@laptop\n", "ecdsa-sha2-nistp256 AAAAE2VjZHNh me"], "admin_cidrs": ["2001:db8::/48"]},
    {"test_port": 8081, "tester_cidrs": ["203.0.113.7/32"], "client_conn_throttle": 20, "app_port": 65535},
    {"tls_certificate": PEM, "tls_private_key": SECRET.replace("PRIVATE", "RSA PRIVATE")},
    {"domain": "shop.example.co.uk", "soa_email": "a@example.com", "records": ["", "www", "*", "a.b"]},
    {"domain_id": 7, "health": {"path": "/health/live?deep=1", "interval": 60, "timeout": 30, "attempts": 30}},
    {"network": "vpc", "vpc_ipv4": "172.16.0.0/16", "region": "us-ord"},
]


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return blocks()


def blocks() -> dict[str, str]:
    """Name to the text of its block."""
    text = (MODULE / "variables.tf").read_text()
    return dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL))


def test_every_variable_is_typed_described_and_tried_with_wrong_values(variables: dict[str, str]) -> None:
    tried = {name for name, _, _ in WRONG}
    assert set(variables) == tried
    for name, block in variables.items():
        assert re.search(r"^  type +=", block, re.MULTILINE), name
        assert re.search(r'^  description += ".{20,}"', block, re.MULTILINE), name
        assert "validation {" in block, name
        for message in MESSAGE.findall(block):
            assert message.startswith(f"{name}: "), message
    marked = {name for name, block in variables.items() if re.search(r"^  sensitive +=", block, re.MULTILINE)}
    assert marked == set(SECRETS)


async def test_wrong_values_are_refused_in_our_words(tools: Tools, tmp_path: Path, variables: dict[str, str]) -> None:
    await refused_in_our_words(tools, tmp_path, variables)


async def refused_in_our_words(tools: Tools, tmp_path: Path, variables: dict[str, str]) -> None:
    """Terraform tells all that is wrong at once, so a round has one wrong value of each variable."""
    waiting: dict[str, list[tuple[Any, str]]] = {}
    for name, values, says in WRONG:
        waiting.setdefault(name, []).extend((value, says) for value in values)
    async with account(tools, tmp_path) as here:
        await _alone(here)
        heard: set[str] = set()
        while waiting:
            now = {name: cases.pop() for name, cases in waiting.items()}
            waiting = {name: cases for name, cases in waiting.items() if cases}
            text = await _refused(here, {name: value for name, (value, _) in now.items()})
            assert "secret-that-nobody-prints" not in text
            for name, (value, says) in now.items():
                said = _sentences(text, name)
                assert any(says in sentence for sentence in said), (name, value, said)
            heard |= {m for block in variables.values() for m in MESSAGE.findall(block) if _plain(m) in text}
        every = {message for block in variables.values() for message in MESSAGE.findall(block)}
        assert heard == every  # no rule that no value meets
        for says, together in WRONG_TOGETHER:
            assert says in await _refused(here, together), says


async def test_right_values_pass(tools: Tools, tmp_path: Path) -> None:
    async with account(tools, tmp_path) as here:
        await _alone(here)
        for values in RIGHT:
            here.values(**GOOD | values)
            ran = await here.terraform.run("plan", "-no-color", "-refresh=false")
            assert ran.exit == 0, (values, ran.text)


async def test_a_missing_token_is_said_by_the_provider(tools: Tools, tmp_path: Path) -> None:
    async with account(tools, tmp_path, token="") as here:
        await _alone(here)
        assert "LINODE_TOKEN" in await _refused(here, {})


async def _alone(here: Account) -> None:
    """The module as its own root: then its variables are Terraform's to ask for."""
    for file in MODULE.iterdir():
        (here.terraform.folder / file.name).symlink_to(file)
    await here.terraform.good("init", "-no-color")


async def _refused(here: Account, values: dict[str, Any]) -> str:
    """Secrets come by the environment, as `celadon` gives them: of a file Terraform would print the line."""
    here.values(**GOOD | {name: value for name, value in values.items() if name not in SECRETS})
    secrets = {f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
               for name, value in values.items() if name in SECRETS}  # fmt: skip
    ran = await here.terraform.run("plan", "-no-color", "-refresh=false", more=secrets)
    assert ran.exit == 1, (values, ran.out)
    return ran.text


def _sentences(text: str, name: str) -> list[str]:
    """What was said about one variable: from its name to where the rule is."""
    return [part.partition(" This was checked by")[0] for part in text.split(f" {name}: ")[1:]]


def _plain(message: str) -> str:
    unescaped: str = msgspec.json.decode(f'"{message}"'.encode())
    return " ".join(unescaped.split())
