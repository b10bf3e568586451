"""Terraform's output `celadon`: hosts, host keys and the NodeBalancer, parsed from JSON that was printed or saved.

Running `terraform output -json` is an adapter's work. Its text, or that of `terraform output -json celadon`, comes
here. The value:

    {"hosts": {"blue": [{"label": "blue-app-01", "ssh": "203.0.113.11", "private": "192.168.130.11"}], "green": […]},
     "nodebalancer": "app-nodebalancer", "known_hosts": "203.0.113.11 ssh-ed25519 AAAA…"}

`ssh` and `private` are optional together (then the API is asked for the addresses), `known_hosts` always is. Celadon's
own module says more (what a machine is called in the module, its generation, ids, ports): for the guard of plans.
"""

import json
from pathlib import Path
from typing import Annotated

import msgspec

from celadon.config.errors import ConfigError
from celadon.config.kinds import At, Text, Whole, matching
from celadon.config.special import NODEBALANCER
from celadon.config.tables import ListOf, Table
from celadon.config.values import LINODE_LABEL, Host, SshAddress, private_address
from celadon.core.errors import Refused
from celadon.core.release import Colour

MOST_OUTPUT = 4 * 1024 * 1024  # characters
PORT = Whole(1, 65_535, "5000")
ID = Whole(1, 2**53, "123456")
MACHINE = matching(r"(blue|green)-g[1-9][0-9]{0,4}-[1-9][0-9]?", "a machine of the module", '"blue-g1-1"')
HOST_KEY = matching(r"(ssh-ed25519 [A-Za-z0-9+/]{68})?", "an ed25519 host key", '"ssh-ed25519 AAAA…"')


class TerraformHost(msgspec.Struct, frozen=True, kw_only=True):
    label: Annotated[str, matching(LINODE_LABEL, "a Linode label", '"blue-app-01"'), "the instance's label"]
    ssh: Annotated[SshAddress | None, Text(SshAddress.parse, '"203.0.113.11"', most=300), "where SSH knocks"] = None
    private: Annotated[str | None, Text(private_address, '"192.168.130.11"', most=64), "its private address"] = None
    id: Annotated[int | None, ID, "the instance's id"] = None
    machine: Annotated[str | None, MACHINE, "the module's name for it"] = None
    generation: Annotated[int | None, Whole(1, 99_999, "1"), "which making of its colour it is"] = None
    host_key: Annotated[str, HOST_KEY, "the host key that it was made with"] = ""


ENTRIES = ListOf(Table(TerraformHost))


class TerraformHosts(msgspec.Struct, frozen=True, kw_only=True):
    blue: Annotated[tuple[TerraformHost, ...], ENTRIES, "blue's instances"]
    green: Annotated[tuple[TerraformHost, ...], ENTRIES, "green's instances"]

    def of(self, colour: Colour) -> tuple[TerraformHost, ...]:
        return self.blue if colour is Colour.BLUE else self.green


class TerraformPort(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[int, ID, "the config's id"]
    port: Annotated[int, PORT, "where it listens"]


class TerraformPorts(msgspec.Struct, frozen=True, kw_only=True):
    http: Annotated[TerraformPort | None, Table(TerraformPort), "the config for http"] = None
    https: Annotated[TerraformPort | None, Table(TerraformPort), "the config for https"] = None
    test: Annotated[TerraformPort | None, Table(TerraformPort), "the config for testers"] = None


def _known_hosts(text: str) -> str:
    if "\0" in text:
        raise Refused("holds a NUL", hint="it has the lines of an OpenSSH known_hosts file")
    return text


KNOWN_HOSTS = Text(_known_hosts, '"203.0.113.11 ssh-ed25519 AAAA…"', most=MOST_OUTPUT)


class TerraformOutput(msgspec.Struct, frozen=True, kw_only=True):
    hosts: Annotated[TerraformHosts, Table(TerraformHosts), "the instances of both colours"]
    nodebalancer: Annotated[str | int, NODEBALANCER, "the NodeBalancer's label or id"]
    known_hosts: Annotated[str, KNOWN_HOSTS, "the instances' host keys, as OpenSSH writes them"] = ""
    region: Annotated[str | None, matching(r"[a-z0-9-]{2,50}", "a region", '"us-ord"'), "where everything is"] = None
    app_port: Annotated[int | None, PORT, "the application's port"] = None
    configs: Annotated[TerraformPorts | None, Table(TerraformPorts), "the NodeBalancer's configs"] = None

    @property
    def blue(self) -> tuple[Host, ...]:
        return tuple(_host(entry) for entry in self.hosts.blue)

    @property
    def green(self) -> tuple[Host, ...]:
        return tuple(_host(entry) for entry in self.hosts.green)


def _host(entry: TerraformHost) -> Host:
    return Host(name=entry.label, label=entry.label, ssh=entry.ssh, private=entry.private)


OUTPUT = Table(TerraformOutput)


def parse_output(text: str, *, file: str) -> TerraformOutput:
    """All outputs (`-json`) or only `celadon` (`-json celadon`). `file` names the text in errors."""
    if len(text) > MOST_OUTPUT:
        raise ConfigError(file, "", f"is longer than {MOST_OUTPUT:,} characters", hint="terraform output -json celadon")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        hint = "make it with: terraform output -json > FILE"
        raise ConfigError(file, "", "is not the JSON of `terraform output -json`", hint=hint) from None
    at = At(file, Path(), set())
    if isinstance(tree, dict) and "hosts" not in tree:
        if not isinstance(tree.get("celadon"), dict) or "value" not in tree["celadon"]:
            hint = 'add to the root module: output "celadon" { value = module.celadon.celadon }'
            raise ConfigError(file, "celadon", "Terraform has no output of this name", hint=hint)
        tree, at = tree["celadon"]["value"], at.child("celadon")
    output = OUTPUT.read(tree, at)
    for colour, entries in (("blue", output.hosts.blue), ("green", output.hosts.green)):
        for index, entry in enumerate(entries):
            if (entry.ssh is None) is not (entry.private is None):
                where = at.child("hosts").child(colour).item(index)
                raise where.refuse("has one of ssh and private", "give both, or neither: then the API is asked")
    return output
