"""`celadon infra renew [COLOUR]` and `deploy --fresh`: the idle colour's machines made anew, one generation on."""

import msgspec

from celadon.cli import infra_facts, infra_root, infra_run
from celadon.cli.call import Call
from celadon.cli.infra_root import Wanted
from celadon.cli.output import Result
from celadon.cli.situation import colour_of
from celadon.config.terraform import TerraformOutput
from celadon.core.errors import Refused
from celadon.core.release import Colour
from celadon.infra.facts import Facts
from celadon.infra.plan import Plan


async def renew(call: Call) -> Result:
    """Checks before Terraform is asked; the generation is put back where nothing was applied."""
    folder = infra_run.folder_of(call)
    colours = infra_root.read_colours(folder)
    if colours is None:
        raise Refused(
            f"{folder.name}/{infra_root.COLOURS} is not there, so Celadon cannot raise a colour's generation",
            hint="raise `generation` of the idle colour yourself, then: celadon infra apply",
            where=folder.name,
        )
    output = await infra_run.output_of(call, folder)
    if output is None:
        raise Refused("there are no machines yet", hint="celadon infra apply")
    facts = await infra_facts.gather(call, Plan((), (), ()))
    colour = _colour(call.values.get("colour"), facts, output)
    raised = colours if _pending(colours[colour], colour, output) else _raised(colours, colour)
    infra_root.write_colours(folder, raised)
    call.output.say(f"renewing {colour.value}: generation {raised[colour].generation}")
    try:
        async with infra_run.terraform_in(call, folder) as runner:
            found = await infra_run.read(call, runner, folder)
            infra_run.tell(call, found)
            if found.verdict.refusals:
                return infra_run.refused(call, found)
            _only(colour, found.plan, output)
            if not await infra_run.agreed(call, found):
                raise Refused("not confirmed", hint="celadon infra renew")
            result = await infra_run.apply(call, runner, folder, found)
    finally:
        if not call.touched:
            infra_root.write_colours(folder, colours)
    if result.exit == 0:
        call.output.data(f"{colour.value} is new: {', '.join(result.keys['made'])}")
        call.output.say("next: celadon deploy VERSION")
        return msgspec.structs.replace(result, keys={**result.keys, "colour": colour.value})
    return result


def _colour(asked: str | None, facts: Facts, output: TerraformOutput) -> Colour:
    wanted = colour_of(asked)
    idle = [colour for colour in Colour if colour not in facts.busy]
    if wanted is None and not idle:
        raise Refused("no colour is idle", details=list(facts.busy.values()), hint="celadon status")
    if wanted is None and len(idle) == 2:
        raise Refused("both colours are idle: say which", hint="celadon infra renew green")
    colour = wanted if wanted is not None else idle[0]
    if colour in facts.busy:
        raise Refused(facts.busy[colour], hint="celadon status · only an idle colour is renewed")
    its = {host.label for host in output.hosts.of(colour)}
    if facts.home in its:
        other = output.hosts.of(colour.other)
        to = other[0].label if other else "HOST"
        raise Refused(
            f"{facts.home} is the home: it keeps lease, intent and journal, and would go with {colour.value}",
            hint=f"celadon store move {to}   then run this again",
            where=facts.home,
        )
    return colour


def _pending(wanted: Wanted, colour: Colour, output: TerraformOutput) -> bool:
    """A renewal that was begun and did not get through: going on with it is enough."""
    return not any(host.generation == wanted.generation for host in output.hosts.of(colour))


def _raised(colours: dict[Colour, Wanted], colour: Colour) -> dict[Colour, Wanted]:
    its = colours[colour]
    return {**colours, colour: msgspec.structs.replace(its, generation=its.generation + 1)}


def _only(colour: Colour, plan: Plan, output: TerraformOutput) -> None:
    """A renewal touches no machine of the other colour: whatever else has piled up is applied by itself, and seen."""
    labels = {host.label for host in output.hosts.of(colour.other)}
    for change in plan.changes:
        if change.type == "linode_instance" and change.kind != "nothing" and change.before.get("label") in labels:
            raise Refused(
                f"{change.address} would change too, and it is of the other colour",
                hint="first: celadon infra apply",
                where=change.address,
            )
