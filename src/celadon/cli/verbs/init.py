"""`celadon init`: what the folder, or the account, shows becomes a first celadon.toml; on request infra/ too."""

from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.config import init as first
from celadon.core.errors import Refused


async def run(call: Call) -> Result:
    if call.values["nodebalancer"] and not call.values["from_linode"]:
        raise Refused("--nodebalancer belongs to --from-linode", hint="celadon init --from-linode --nodebalancer LABEL")
    if call.values["module"] and not call.values["terraform"]:
        raise Refused("--module belongs to --terraform", hint="celadon init --terraform --module SOURCE")
    found = first.looked(call.cwd)
    hosts = first.LABELS
    written: tuple[str, ...] = ()
    if call.values["from_linode"] or call.values["terraform"]:
        from celadon.cli import infra_adopt, infra_init  # noqa: PLC0415 - plain init must not pay for them

        adopted = None
        if call.values["from_linode"]:
            adopted = await infra_adopt.look(call, found)
            hosts = adopted.hosts
            for note in adopted.notes:
                call.output.warn(note)
        if call.values["terraform"]:
            about = adopted.terraform if adopted is not None else None
            about = about or infra_init.Root(name=found.app.value, port=found.port)
            written = infra_init.write(call.cwd, found, about, module=call.values["module"])
            hosts = hosts if adopted is not None else first.TERRAFORM.format(folder=infra_init.FOLDER)
    done = first.init(call.cwd, found, hosts=hosts)
    written = (*done.written, *written)
    call.output.say([f"found {what}: {value}" for what, value in done.detected.items()])
    call.output.data([f"wrote {name}" for name in written])
    for text in done.warnings:
        call.output.warn(text)
    call.output.say(_next(call))
    keys = {"written": list(written), "detected": done.detected, "warnings": list(done.warnings)}
    return Result(keys=keys, next=("celadon check --offline",))


def _next(call: Call) -> str:
    if call.values["terraform"]:
        return "next: read infra/terraform.tfvars · terraform -chdir=infra init · celadon check --infra"
    return "next: read celadon.toml · celadon check --offline · celadon lab up"
