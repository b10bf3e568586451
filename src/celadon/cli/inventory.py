"""From the config's hosts to machines: labels and tags asked of the API, Terraform of its state. Reads only."""

import re
from collections.abc import Awaitable, Callable

import msgspec

from celadon.adapters import terraform
from celadon.adapters.http import quoted
from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_wire import Instance
from celadon.adapters.ssh import HostAddress
from celadon.config.kinds import At
from celadon.config.load import read_text, with_terraform
from celadon.config.model import Config
from celadon.config.project import Project
from celadon.config.rules import check_hosts
from celadon.config.terraform import MOST_OUTPUT, TerraformOutput, parse_output
from celadon.config.values import LINODE_LABEL, Host, SshAddress
from celadon.core.errors import Refused
from celadon.core.release import Colour, Slot

LABEL = re.compile(LINODE_LABEL)
AskApi = Callable[[], LinodeApi]
"""The client; raises Refused where there is no token. Only called when the config leaves something to ask."""


class Inventory(msgspec.Struct, frozen=True):
    """Every host with its addresses, and the config with its hosts filled in."""

    config: Config
    addresses: tuple[HostAddress, ...]
    slots: dict[Colour, tuple[Slot, ...]]
    known_hosts: str = ""
    """Lines of known_hosts that Terraform gives: it made these machines with keys that were known before them."""

    @property
    def home(self) -> str:
        home = self.config.hosts.home
        assert home is not None  # noqa: S101 - filled in with the hosts; for the type checker
        return home


async def take(
    project: Project, api: AskApi, *, outputs: Callable[..., Awaitable[str]] = terraform.output
) -> Inventory:
    output = await _terraform(project, outputs)
    config = await _named(project, api, output)
    hosts = {host.name: host for colour in Colour for host in config.hosts.of(colour)}
    asked = {host.label: name for name, host in hosts.items() if host.ssh is None and host.label is not None}
    if asked:
        for label, instance in (await api().instances(asked)).items():
            hosts[asked[label]] = _placed(hosts[asked[label]], instance)
    placed = msgspec.structs.replace(
        config.hosts, **{c.value: tuple(hosts[host.name] for host in config.hosts.of(c)) for c in Colour}
    )
    whole = msgspec.structs.replace(config, hosts=placed)
    check_hosts(whole, At(project.file.name, project.root, set()))
    addresses = tuple(_address(host) for host in hosts.values())
    slots = {colour: _slots(whole, colour) for colour in Colour}
    return Inventory(whole, addresses, slots, output.known_hosts if output is not None else "")


async def _terraform(project: Project, outputs: Callable[..., Awaitable[str]]) -> TerraformOutput | None:
    named = project.config.hosts.terraform
    if named is None:
        return None
    path = project.root / named
    text = read_text(path, MOST_OUTPUT) if path.is_file() else await outputs(path)
    return parse_output(text, file=named)


async def _named(project: Project, api: AskApi, output: TerraformOutput | None) -> Config:
    """The config with the names of its hosts, wherever they come from."""
    config = project.config
    if config.hosts.blue:
        return config
    if output is not None:
        return with_terraform(config, output, file=project.file.name, root=project.root)
    tags = config.hosts.tags
    assert tags is not None  # noqa: S101 - a rule of the config: one of three ways; for the type checker
    found = {Colour.BLUE: tags.blue, Colour.GREEN: tags.green}
    named = {}
    for colour, its in found.items():
        instances = await api().instances_tagged(its)
        for each in instances:
            if LABEL.fullmatch(each.label) is None:  # it becomes a host's name: in hints, in journals, on hosts
                raise Refused(f"Linode {each.id} has a label that Linode gives nobody: {quoted(each.label)!r}")
        if not instances:
            raise Refused(
                f"no Linode has all of the tags {', '.join(its)} (hosts.tags.{colour})",
                hint="linode-cli linodes list --format label,tags",
                where=f"hosts.tags.{colour}",
            )
        named[colour.value] = tuple(_placed(Host(each.label, each.label), each) for each in instances)
    home = config.hosts.home or named["blue"][0].name
    return msgspec.structs.replace(config, hosts=msgspec.structs.replace(config.hosts, **named, home=home))


def _placed(host: Host, instance: Instance) -> Host:
    if instance.private is None:
        raise Refused(
            f"{instance.label} has no private address, and a NodeBalancer reaches no other",
            hint=f"linode-cli linodes ip-add {instance.id} --type ipv4 --public false   (then reboot it)",
            where=instance.label,
        )
    if instance.public is None:
        raise Refused(f"{instance.label} has no public address to reach it by", hint="give its ssh and private address")
    return msgspec.structs.replace(host, ssh=SshAddress(instance.public), private=instance.private)


def _address(host: Host) -> HostAddress:
    assert host.ssh is not None  # noqa: S101 - placed above; for the type checker
    return HostAddress(host.name, host.ssh.host, host.ssh.user, host.ssh.port)


def _slots(config: Config, colour: Colour) -> tuple[Slot, ...]:
    port = config.slot_port(colour)
    return tuple(Slot(host.name, host.private or "", port) for host in config.hosts.of(colour))
