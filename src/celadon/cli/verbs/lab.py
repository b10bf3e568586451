"""`celadon lab up|down|status`: calls into `celadon.lab.commands`, prints what it returns."""

import shlex
from importlib import import_module
from typing import Any, Protocol, cast

from celadon.cli.call import Call
from celadon.cli.output import Result


class LabCommands(Protocol):
    """The module `celadon.lab.commands`. Values are plain JSON values; errors are CeladonErrors."""

    async def up(self, environ: dict[str, str]) -> dict[str, Any]:
        """`exports` (name to value, for the shell), `api_url`, `instances`, `nodebalancer`, `limits`."""

    async def down(self, environ: dict[str, str]) -> dict[str, Any]: ...

    async def status(self, environ: dict[str, str]) -> dict[str, Any]: ...


async def run(call: Call) -> Result:
    commands = cast("LabCommands", import_module("celadon.lab.commands"))
    environ = dict(call.environ)
    match call.verb.name.split()[1]:
        case "up":
            found = await commands.up(environ)
            exports: dict[str, str] = found["exports"]
            call.output.data([f"export {name}={shlex.quote(value)}" for name, value in exports.items()])
            call.output.say(f"lab: {found.get('api_url')} · next: celadon deploy · afterwards: celadon lab down")
        case "down":
            found = await commands.down(environ)
            call.output.say("the lab is gone, with all its processes and files")
        case _:
            found = await commands.status(environ)
            call.output.data([f"{name}: {value}" for name, value in found.items()])
    return Result(keys=found)
