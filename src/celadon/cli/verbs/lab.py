"""`celadon lab up|down|status`: the local Linode, furnished with the hosts and NodeBalancer that the project names."""

import asyncio
import shlex

from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.config.errors import ConfigError
from celadon.config.model import Config
from celadon.config.project import find as find_config
from celadon.core.errors import Refused
from celadon.core.release import Colour
from celadon.lab import background
from celadon.lab.estate import Estate, furnish
from celadon.lab.lab import LabFacts

LIMITS = "it imitates API, NodeBalancer and SSH hosts on this machine; what it does not is in docs/explanation"


async def run(call: Call) -> Result:
    match call.verb.name.split()[1]:
        case "up":
            return await _up(call)
        case "down":
            return await _down(call)
        case _:
            return _status(call)


async def _up(call: Call) -> Result:
    estate = _estate(call)
    facts = await asyncio.to_thread(background.up, background.folder())
    found = await furnish(facts, estate)
    exports = _exports(facts)
    call.output.data([f"export {name}={shlex.quote(value)}" for name, value in exports.items()])
    call.output.say(
        [
            f"lab: {len(found.instances)} instances, NodeBalancer {estate.balancer} at {found.url}",
            "next: celadon deploy VERSION · afterwards: celadon lab down",
        ]
    )
    keys = {
        "api_url": facts.url,
        "instances": {label: {"ssh": ssh, "private": private} for label, (ssh, private) in found.instances.items()},
        "nodebalancer": {"id": found.balancer_id, "label": estate.balancer, "url": found.url},
        "limits": LIMITS,
        "exports": exports,
    }
    return Result(keys=keys, next=("celadon deploy", "celadon lab down"))


def _exports(facts: LabFacts) -> dict[str, str]:
    return {
        "LINODE_URL": facts.url,
        "LINODE_TOKEN": facts.token,
        "CELADON_SSH_CONFIG": facts.ssh_config,
        "CELADON_PACE": "lab",
    }


def _estate(call: Call) -> Estate:
    """What the project's config names; without a project, what the examples name."""
    if call.values["config"] is None:
        try:
            find_config(call.cwd)
        except ConfigError:
            return Estate()
    return estate_of(call.project.config)


def estate_of(config: Config) -> Estate:
    """Raises Refused for hosts that are not labels: their addresses are somebody's real machines."""
    plain = Estate()
    blue, green = (tuple(host.label or "" for host in config.hosts.of(colour)) for colour in Colour)
    if not blue:
        return plain  # Terraform or tags will name them; the lab has the usual ones until then
    if "" in blue + green:
        raise Refused(
            "hosts with written addresses are real machines, which a lab does not imitate",
            hint="name hosts by their Linode labels, or use another config: celadon lab up -c lab.toml",
            where="hosts",
        )
    return Estate(
        balancer=str(config.balancer.nodebalancer),
        blue=blue,
        green=green,
        blue_port=config.slot_port(Colour.BLUE),
        green_port=config.slot_port(Colour.GREEN),
        ports=config.balancer.ports or plain.ports,
        health_path=config.health.path,
    )


async def _down(call: Call) -> Result:
    was_there = await asyncio.to_thread(background.down, background.folder())
    call.output.say("the lab is gone, with its processes and files" if was_there else "there was no lab")
    call.output.say(
        "hint: this shell still points to it: unset LINODE_URL LINODE_TOKEN CELADON_SSH_CONFIG CELADON_PACE"
    )
    return Result(keys={"was_running": was_there})


def _status(call: Call) -> Result:
    facts = background.find(background.folder())
    if facts is None:
        call.output.data("no lab runs")
        return Result(keys={"running": False}, next=("celadon lab up",))
    call.output.data([f"API {facts.url}", f"SSH {facts.ssh_config}", f"folder {facts.root}"])
    return Result(keys={"running": True, "api_url": facts.url, "ssh_config": facts.ssh_config, "root": facts.root})
