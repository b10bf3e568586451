"""`celadon infra plan|apply|renew|guard`: Terraform, with a guard that lets no plan hurt who serves."""

import sys
from pathlib import Path

from celadon.cli import infra_facts, infra_renew, infra_run, infra_told
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.core.errors import Refused
from celadon.infra.guard import judge
from celadon.infra.plan import LARGEST, read_plan


async def run(call: Call) -> Result:
    match call.verb.name.split()[1]:
        case "guard":
            return await _guard(call)
        case "plan":
            return await _plan(call)
        case "apply":
            return await _apply(call)
        case _:
            return await infra_renew.renew(call)


async def _guard(call: Call) -> Result:
    """A plan from anybody's pipeline: nothing is run, and nothing is changed."""
    name, text = _text(call)
    plan = read_plan(text, name=name)
    facts = await infra_facts.gather(call, plan)
    verdict = judge(plan, facts, new_certificate=call.values["new_certificate"])
    for note in verdict.notes:
        call.output.warn(note)
    keys = infra_told.keys(plan, verdict)
    if verdict.refusals:
        call.output.error([*infra_told.refusal_lines(verdict), "Nothing was changed."])
        return Result(result="refused", exit=2, keys=keys, next=("celadon status",))
    known = sum(change.kind != "nothing" for change in plan.changes)
    call.output.data(f"{name}: {known} changes, none hurts who serves")
    return Result(keys=keys)


def _text(call: Call) -> tuple[str, bytes]:
    given = str(call.values["plan"])
    if given == "-":
        return "the plan", sys.stdin.buffer.read(LARGEST + 1)
    path = call.cwd / Path(given)
    try:
        with path.open("rb") as file:
            return path.name, file.read(LARGEST + 1)
    except OSError as error:
        raise Refused(f"{given}: cannot be read: {error.strerror}", where=given) from None


async def _plan(call: Call) -> Result:
    folder = infra_run.folder_of(call)
    async with infra_run.terraform_in(call, folder) as runner:
        found = await infra_run.read(call, runner, folder, call.values["words"])
        infra_run.tell(call, found)
        if found.verdict.refusals:
            return infra_run.refused(call, found)
    keys = infra_told.keys(found.plan, found.verdict, found.priced)
    return Result(keys=keys, next=("celadon infra apply",) if found.plan.applyable else ())


async def _apply(call: Call) -> Result:
    folder = infra_run.folder_of(call)
    async with infra_run.terraform_in(call, folder) as runner:
        found = await infra_run.read(call, runner, folder, call.values["words"])
        infra_run.tell(call, found)
        if found.verdict.refusals:
            return infra_run.refused(call, found)
        if not found.plan.applyable:
            return Result(keys=infra_told.keys(found.plan, found.verdict, found.priced))
        if not await infra_run.agreed(call, found):
            raise Refused("not confirmed", hint="celadon infra plan shows it again")
        result = await infra_run.apply(call, runner, folder, found)
    if result.exit == 0:
        call.output.say("next: celadon check · celadon deploy VERSION")
    return result
