"""What `infra plan`, `apply` and `renew` share: the plan that is read is the plan that is applied."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from celadon.adapters import terraform
from celadon.adapters.scratch import scratch
from celadon.adapters.terraform_run import Terraform
from celadon.cli import infra_facts, infra_root, infra_told
from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.infra_ready import wait_ready
from celadon.cli.infra_told import Priced
from celadon.cli.output import Result
from celadon.config.terraform import TerraformHost, TerraformOutput, parse_output
from celadon.core.errors import CeladonError, Refused, Unavailable
from celadon.drive.lease import Lease
from celadon.infra.facts import Facts
from celadon.infra.guard import judge
from celadon.infra.plan import Plan, read_plan
from celadon.infra.refusal import Verdict

PATIENCE = 900.0  # seconds after a first Ctrl-C: a machine that is being made is made, and written down


class Read(msgspec.Struct, frozen=True):
    """A plan that was made, read and judged."""

    file: Path
    plan: Plan
    facts: Facts
    verdict: Verdict
    priced: Priced | None

    @property
    def balancer(self) -> str:
        """Whom the question names."""
        if self.facts.balancer is not None:
            return f"{self.facts.balancer.label} ({self.facts.balancer.address})"
        made = next((c.after.get("label") for c in self.plan.changes if c.type == "linode_nodebalancer"), None)
        return f"{made}, which is new" if made else "an account without a NodeBalancer"


def folder_of(call: Call) -> Path:
    named = call.project.config.hosts.terraform
    if named is None:
        hint = "celadon infra guard PLAN.json judges a plan of any folder · celadon init --terraform writes one"
        raise Refused("hosts.terraform names no folder, so there is no infrastructure of Celadon's", hint=hint)
    folder = call.project.root / named
    if not folder.is_dir():
        raise Refused(f"hosts.terraform: {named} is a saved output, and plans are made in Terraform's folder")
    return folder


@asynccontextmanager
async def terraform_in(call: Call, folder: Path) -> AsyncIterator[Terraform]:
    """Its plan files hold secrets: they are in a folder that nobody else can read, and go with it."""
    with scratch() as private:
        runner = Terraform(folder, call.environ, private)
        call.stop, call.patience = runner.stop, PATIENCE
        yield runner


async def read(call: Call, runner: Terraform, folder: Path, words: Sequence[str] = ()) -> Read:
    for name in infra_root.ensure_keys(folder):
        call.output.say(f"made the host key of {name}", "dim")
    call.output.say("terraform plan", "dim")
    file = await runner.plan(lambda line: call.output.say(f"  {line}", "dim"), words)
    plan = read_plan(await runner.show(file))
    facts = await infra_facts.gather(call, plan)
    verdict = judge(plan, facts, new_certificate=call.values.get("new_certificate", False))
    return Read(file, plan, facts, verdict, await infra_told.priced(call, plan))


def tell(call: Call, found: Read) -> None:
    call.output.data(infra_told.change_lines(found.plan))
    call.output.data(infra_told.cost_lines(found.priced))
    for note in found.verdict.notes:
        call.output.warn(note)


def refused(call: Call, found: Read) -> Result:
    call.output.error([*infra_told.refusal_lines(found.verdict), "Nothing was changed."])
    keys = infra_told.keys(found.plan, found.verdict, found.priced)
    return Result(result="refused", exit=2, keys=keys, next=("celadon status",))


async def apply(call: Call, runner: Terraform, folder: Path, found: Read) -> Result:
    """The plan that was read, after a last look at who serves; then the new machines, until they are ready."""
    before = await output_of(call, folder)
    async with _alone(call, found):
        facts = await infra_facts.gather(call, found.plan)
        verdict = judge(found.plan, facts, new_certificate=call.values.get("new_certificate", False))
        if verdict.refusals:
            return refused(call, msgspec.structs.replace(found, facts=facts, verdict=verdict))
        call.touched = True
        await runner.apply(found.file, lambda line: call.output.say(f"  {line}"))
    after = await output_of(call, folder)
    if after is not None:
        infra_root.prune_keys(folder, [host.machine for host in _hosts(after) if host.machine is not None])
    new = _new(before, after)
    if new:
        call.stop = None  # nothing is under way here that would have to end: only looking
        call.output.say(f"waiting for {', '.join(new)}")
        async with call.connected(Need(balancer=False)) as connected:
            await wait_ready(call, connected, new)
    keys = infra_told.keys(found.plan, found.verdict, found.priced) | {"made": new}
    return Result(keys=keys)


async def agreed(call: Call, found: Read) -> bool:
    """Ctrl-C at the question only leaves it."""
    stop, call.stop = call.stop, None
    answer = await call.confirm(f"Apply this to {found.balancer}?")
    call.stop = stop
    return answer


async def output_of(call: Call, folder: Path) -> TerraformOutput | None:
    """None where there is none yet; every other reason is told."""
    try:
        return parse_output(await terraform.output(folder, call.environ), file=folder.name)
    except Refused as error:
        if terraform.NO_OUTPUT not in error.message:
            raise
        return None


def _new(before: TerraformOutput | None, after: TerraformOutput | None) -> list[str]:
    """Labels of machines that were made: by id, as a machine may be made anew under its name."""
    old = {(host.label, host.id) for host in _hosts(before)}
    return [host.label for host in _hosts(after) if (host.label, host.id) not in old]


def _hosts(output: TerraformOutput | None) -> list[TerraformHost]:
    return [*output.hosts.blue, *output.hosts.green] if output is not None else []


@asynccontextmanager
async def _alone(call: Call, found: Read) -> AsyncIterator[None]:
    """Holds the app's lease meanwhile: no deploy begins on machines that are being made anew."""
    if not found.facts.home:
        yield  # nothing was ever deployed: there is no lease to take
        return
    from celadon.cli.compose import who  # noqa: PLC0415 - it imports every adapter, which are here by now

    async with AsyncExitStack() as stack:
        connected = await stack.enter_async_context(call.connected(Need(balancer=False)))
        world = connected.world
        lease = Lease(world.store, world.clock, f"{who(call.environ)} (infra)", connected.wanted.timing.lease)
        try:
            await lease.take()
        except CeladonError as error:
            raise Unavailable(
                f"a deploy may be under way: {error.message}", hint=error.hint, details=error.details
            ) from error
        try:
            yield
        finally:
            try:
                await lease.release()
            except CeladonError as error:
                call.output.warn(f"the lease lapses by itself: {error.message}")
