"""`celadon completion SHELL`: prints the script."""

from celadon.cli.call import Call
from celadon.cli.completion import script
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    text = script(call.values["shell"])
    if not call.output.json:
        call.output.raw(text.strip() + "\n")
    return Result(keys={"script": text})
