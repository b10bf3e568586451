"""`celadon check --infra`: what would stop `infra apply`, found before anything is made; and drift from the state."""

from collections.abc import Iterator, Mapping

from celadon.adapters.linode_account import LinodeAccount
from celadon.adapters.terraform_run import program
from celadon.cli import infra_run, infra_told
from celadon.cli.account import open_account
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.figures import many
from celadon.cli.infra_run import Read
from celadon.cli.losses import Finding
from celadon.cli.situation import tried
from celadon.core.errors import CeladonError, Refused
from celadon.infra.plan import Plan

NEEDS = {"linode_nodebalancer": ("NodeBalancers", "a NodeBalancer"), "linode_vpc": ("VPCs", "a VPC")}


async def look(call: Call) -> list[Finding]:
    """The token first: without it Terraform itself says something less clear."""
    try:
        folder = infra_run.folder_of(call)
        found = [Finding("terraform", "ok", program(call.environ))]
        async with open_account(call.environ) as account:
            found.append(_token(await tried(account.balancers())))
            if found[-1].grade == "failed":
                return found
            async with infra_run.terraform_in(call, folder) as runner:
                read = await infra_run.read(call, runner, folder)
            found += await _regions(account, read.plan)
    except CeladonError as error:
        return [_failed("infra", error)]
    return [*found, *_verdict(read)]


def _token(answer: object) -> Finding:
    return _failed("token", answer) if isinstance(answer, CeladonError) else Finding("token", "ok", "works")


async def _regions(account: LinodeAccount, plan: Plan) -> list[Finding]:
    """Of what is to be made: does its region have that?"""
    made = {change.address for change in plan.changes if change.kind in ("create", "replace")}
    wanted = {
        (str(known.values.get("region")), *NEEDS[known.type])
        for known in plan.after
        if known.type in NEEDS and known.address in made
    }
    found = []
    for name, capability, word in sorted(wanted):
        region = await account.region(name)
        if region is None:
            found.append(Finding("region", "failed", f"there is no region {name}", "linode-cli regions list"))
        elif capability not in region.capabilities:
            hint = 'network = "private_ip", or another region' if capability == "VPCs" else "another region"
            found.append(Finding("region", "failed", f"{name} has no {capability}, and {word} is to be made", hint))
        else:
            found.append(Finding("region", "ok", f"{name} has {capability}"))
    return found


def _verdict(read: Read) -> Iterator[Finding]:
    for refusal in read.verdict.refusals:
        name = "taken" if refusal.code == "taken" else "guard"
        yield Finding(name, "failed", refusal.message, refusal.way_out)
    for note in read.verdict.notes:
        yield Finding("guard", "warning", note)
    changes = sum(change.kind != "nothing" for change in read.plan.changes)
    if not read.verdict.refusals:
        yield Finding("plan", "ok", f"{many(changes, 'change')}, none hurts who serves")
    first, *_ = infra_told.cost_lines(read.priced)
    yield Finding("cost", "ok", first.removeprefix("cost: "))


async def drift(connected: Connected, environ: Mapping[str, str]) -> list[Finding]:
    """Machines that Terraform's state has and the account has not."""
    names = [host.name for host in connected.hosts]
    try:
        async with open_account(environ) as account:
            there = await account.taken("linode_instance", names)
    except Refused as error:
        return [Finding("state", "warning", f"whether all machines are there was not asked: {error.message}")]
    except CeladonError as error:
        return [_failed("state", error)]
    gone = [name for name in names if name not in there]
    if not gone:
        return [Finding("state", "ok", f"{many(len(names), 'machine')} of Terraform's output, all in the account")]
    text = f"{', '.join(gone)}: Terraform's state has it, the account has not; its nodes went along with it"
    return [Finding("state", "failed", text, "celadon infra apply makes it anew, and its nodes")]


def _failed(name: str, error: CeladonError) -> Finding:
    text = "; ".join([error.message, *error.details])
    return Finding(name, "failed", text, error.hint or "")
