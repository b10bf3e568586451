"""`celadon init`: what the folder shows becomes a first celadon.toml."""

from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.config.init import init


async def run(call: Call) -> Result:
    done = init(call.cwd)
    call.output.say([f"found {name}: {value}" for name, value in done.detected.items()])
    call.output.data([f"wrote {name}" for name in done.written])
    for text in done.warnings:
        call.output.warn(text)
    call.output.say("next: read celadon.toml · celadon check --offline · celadon lab up")
    keys = {"written": list(done.written), "detected": done.detected, "warnings": list(done.warnings)}
    return Result(keys=keys, next=("celadon check --offline",))
