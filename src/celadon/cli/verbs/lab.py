"""`celadon lab up|down|status`: a local Linode in a process of its own, with the labels that the config names."""

import asyncio
import shlex
from collections.abc import Sequence

from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.config.model import Config
from celadon.core.errors import Refused
from celadon.core.release import Colour
from celadon.lab import background
from celadon.lab.api.admin import LIMITS
from celadon.lab.estate import Estate, furnish
from celadon.lab.lab import LabFacts


async def run(call: Call) -> Result:
    match call.verb.name.split()[1]:
        case "up":
            return await _up(call)
        case "down":
            gone = await asyncio.to_thread(background.down, background.folder())
            call.output.say("the lab is gone, with all its processes and files" if gone else "there was no lab")
            return Result()
        case _:
            return _status(call)


async def _up(call: Call) -> Result:
    estate = _estate(call)
    lab = await asyncio.to_thread(background.up, background.folder(), state=call.values.get("state"))
    found = await furnish(lab, estate)
    exports = {
        "LINODE_URL": lab.url,
        "LINODE_TOKEN": lab.token,
        "CELADON_SSH_CONFIG": lab.ssh_config,
        "CELADON_PACE": "lab",
    }
    call.output.data([f"export {name}={shlex.quote(value)}" for name, value in exports.items()])
    call.output.say(f"lab: API {lab.url}, {len(found.instances)} instances, NodeBalancer {found.url}")
    call.output.say('these lines are for: eval "$(celadon lab up)" · afterwards: celadon lab down', "dim")
    return Result(keys=_facts(lab, list(found.instances), found.url))


def _status(call: Call) -> Result:
    lab = background.find(background.folder())
    if lab is None:
        raise Refused("no lab is running", hint='eval "$(celadon lab up)"')
    call.output.data([f"API       {lab.url}", f"folder    {lab.root}", f"log       {lab.root}/log"])
    call.output.say("what it does not imitate:", "dim")
    for limit in LIMITS:
        call.output.say(f"  {limit}", "dim")
    return Result(keys=_facts(lab, [], ""))


def _facts(lab: LabFacts, instances: Sequence[str], door: str) -> dict[str, object]:
    """For --json; the token stays in the export lines."""
    return {"api_url": lab.url, "instances": list(instances), "nodebalancer": door, "limits": list(LIMITS)}


def _estate(call: Call) -> Estate:
    """The labels of the project here, if there is one: the lab then is this project's Linode."""
    here = (call.cwd, *call.cwd.parents)
    if call.values.get("config") is None and not any((folder / "celadon.toml").is_file() for folder in here):
        return Estate()
    return estate_of(call.project.config)


def estate_of(config: Config) -> Estate:
    blue, green = _labels(config, Colour.BLUE), _labels(config, Colour.GREEN)
    if not blue or not green:
        return Estate()
    return Estate(
        balancer=str(config.balancer.nodebalancer or Estate().balancer),
        blue=blue,
        green=green,
        blue_port=config.slot_port(Colour.BLUE),
        green_port=config.slot_port(Colour.GREEN),
        ports=config.balancer.ports or (80,),
        test_port=config.balancer.test_port,
        health_path=config.health.path,
    )


def _labels(config: Config, colour: Colour) -> tuple[str, ...]:
    hosts = config.hosts.of(colour)
    if any(host.ssh is not None for host in hosts):
        raise Refused(
            "hosts with addresses of their own are not the lab's", hint="name them by label, or use another -c"
        )
    return tuple(host.label or host.name for host in hosts)
