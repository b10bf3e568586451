"""`celadon init --from-linode`: what the account has becomes [hosts], [balancer] and Terraform's `import` blocks.

Reads only. Colours are guessed from names, else from who serves now; every guess is said.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from celadon.adapters.linode_wire import Config, Instance, Node, NodeBalancer
from celadon.cli.account import open_account
from celadon.cli.call import Call
from celadon.cli.infra_init import FOLDER, Root
from celadon.cli.infra_root import Wanted
from celadon.config.detect import Detected
from celadon.config.errors import quoted, show_list
from celadon.core.errors import Refused
from celadon.core.release import Colour

PAGE = 80  # the module's http port


class Member(msgspec.Struct, frozen=True):
    """An instance behind the NodeBalancer, with its nodes."""

    instance: Instance
    nodes: tuple[Node, ...]

    @property
    def serves(self) -> bool:
        return any(node.mode != "reject" for node in self.nodes)


class Adopted(msgspec.Struct, frozen=True):
    """`hosts`: tables for celadon.toml. `terraform`: what Terraform's folder is written with."""

    hosts: str
    notes: tuple[str, ...]
    terraform: Root | None = None


async def look(call: Call, found: Detected) -> Adopted:
    async with open_account(call.environ) as account:
        balancer = _one(await account.balancers(), call.values["nodebalancer"])
        configs = await account.configs(balancer.id)
        lists = await asyncio.gather(*(account.nodes(balancer.id, c.id) for c in configs if c.protocol != "udp"))
        nodes = [node for its in lists for node in its]
        members, strangers = _members(await account.instances(), nodes)
    colours, notes = _colours(members)
    notes += [f"no Linode of this account has the node's address {address}" for address in strangers]
    ports = sorted({node.address.rpartition(":")[2] for node in nodes})
    if len(ports) > 1:
        raise Refused(f"the nodes have several ports ({show_list(ports)}), and an app has one", where=balancer.label)
    if ports and ports[0] != str(found.port):
        notes.append(f"the nodes are on port {ports[0]}: set port = {ports[0]} in celadon.toml")
    if not call.values["terraform"]:
        return Adopted(_tables(balancer, colours), tuple(notes))
    infra, more = _terraform(balancer, configs, colours)
    infra = msgspec.structs.replace(infra, port=int(ports[0]) if ports else found.port)
    hosts = f'[hosts]\nterraform = "{FOLDER}"  # hosts and the NodeBalancer: Terraform\'s output `celadon`\n'
    return Adopted(hosts, (*notes, *more), infra)


def _one(balancers: Sequence[NodeBalancer], asked: str | None) -> NodeBalancer:
    ours = [each for each in balancers if not each.owned_by_kubernetes]
    if asked is not None:
        named = [each for each in ours if asked in (each.label, str(each.id))]
        if not named:
            raise Refused(f"no NodeBalancer {asked!r}", hint=f"there are: {show_list(b.label for b in ours) or 'none'}")
        return named[0]
    if not ours:
        raise Refused("this account has no NodeBalancer", hint="celadon init --terraform makes one")
    if len(ours) > 1:
        labels = show_list(each.label for each in ours)
        raise Refused(
            f"there are several NodeBalancers: {labels}", hint="celadon init --from-linode --nodebalancer LABEL"
        )
    return ours[0]


def _members(instances: Iterable[Instance], nodes: Sequence[Node]) -> tuple[list[Member], list[str]]:
    by_address = {str(address): instance for instance in instances for address in instance.ipv4}
    found: dict[int, Member] = {}
    strangers = []
    for node in nodes:
        instance = by_address.get(node.address.rpartition(":")[0])
        if instance is None:
            strangers.append(node.address)
            continue
        before = found.get(instance.id, Member(instance, ()))
        found[instance.id] = Member(instance, (*before.nodes, node))
    for instance in by_address.values():  # made by hand or the tutorial, and not behind the NodeBalancer yet
        if instance.id not in found and instance.private is not None and _named(instance) is not None:
            found[instance.id] = Member(instance, ())
    return sorted(found.values(), key=lambda member: member.instance.label), sorted(set(strangers))


def _named(instance: Instance) -> Colour | None:
    words = {
        *instance.label.lower().replace("_", "-").replace(".", "-").split("-"),
        *(t.lower() for t in instance.tags),
    }
    said = [colour for colour in Colour if colour.value in words]
    return said[0] if len(said) == 1 else None


def _colours(members: Sequence[Member]) -> tuple[dict[Colour, list[Member]], list[str]]:
    colours: dict[Colour, list[Member]] = {colour: [] for colour in Colour}
    notes = []
    for member in members:
        colour = _named(member.instance)
        if colour is None:
            colour = Colour.BLUE if member.serves else Colour.GREEN
            why = "it gets traffic" if member.serves else "it gets no traffic"
            notes.append(f"{member.instance.label} is taken for {colour.value}: {why}")
        colours[colour].append(member)
    for colour, its in colours.items():
        if not its:
            label = f"{colour.value}-app-01"
            notes.append(f"{colour.value} has no machine: make one like {label}, and name it in [hosts]")
    return colours, notes


def _tables(balancer: NodeBalancer, colours: Mapping[Colour, Sequence[Member]]) -> str:
    lines = ["[hosts]  # read from the account"]
    for colour, its in colours.items():
        labels = [member.instance.label for member in its] or [f"{colour.value}-app-01"]
        lines.append(f"{colour.value} = [{', '.join(quoted(label) for label in labels)}]")
    return "\n".join([*lines, "", "[balancer]", f"nodebalancer = {quoted(balancer.label)}", ""])


def _terraform(
    balancer: NodeBalancer,
    configs: Sequence[Config],
    colours: Mapping[Colour, Sequence[Member]],
) -> tuple[Root, list[str]]:
    """The folder's contents so that the first plan makes nothing anew."""
    http = next((config for config in configs if config.port == PAGE and config.protocol == "http"), None)
    if http is None:
        raise Refused(f"{balancer.label} has no http config on port {PAGE}, which the module is made around")
    blocks = [_import("linode_nodebalancer.app", str(balancer.id))]
    blocks.append(_import("linode_nodebalancer_config.http", f"{balancer.id},{http.id}"))
    wanted, notes = {}, []
    for colour, its in colours.items():
        kinds = sorted({member.instance.type or "?" for member in its})
        if len(kinds) > 1:
            raise Refused(
                f"{colour.value} has machines of several types ({', '.join(kinds)}), and the module knows one"
            )
        wanted[colour] = Wanted(count=len(its), type=kinds[0] if kinds else None)
        for number, member in enumerate(its, 1):
            blocks += _machine(f"{colour.value}-g1-{number}", member, balancer.id, http.id)
            if member.instance.region != balancer.region or not _legacy(member):
                notes.append(f"{member.instance.label} is not reached by a private address: the plan will say more")
    others = [str(config.port) for config in configs if config.id != http.id]
    if others:
        notes.append(f"ports {', '.join(others)} stay as they are: Terraform does not know them")
    notes.append("host keys of these machines: celadon hosts trust   (those that Terraform makes later are known)")
    name = balancer.label.lower().removesuffix("-nb").replace("_", "-").strip("-")
    return Root(imports="\n".join(blocks), colours=wanted, region=balancer.region, name=name, port=0), notes


def _machine(name: str, member: Member, balancer_id: int, config_id: int) -> list[str]:
    blocks = [_import(f'linode_instance.app["{name}"]', str(member.instance.id))]
    mine = [node for node in member.nodes if node.config_id == config_id]
    return blocks + [
        _import(f'linode_nodebalancer_node.http["{name}"]', f"{balancer_id},{config_id},{node.id}") for node in mine[:1]
    ]


def _legacy(member: Member) -> bool:
    return member.instance.private is not None and all(
        ipaddress.ip_address(node.address.rpartition(":")[0]).is_private for node in member.nodes
    )


def _import(address: str, identity: str) -> str:
    return f'import {{\n  to = module.celadon.{address}\n  id = "{identity}"\n}}\n'
