"""`celadon demo [--break CASE]`: plays `celadon.cli.demo` and turns its score into an exit code."""

import msgspec

from celadon.cli import demo
from celadon.cli.call import Call
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    case, leave = call.values["break"], call.values["leave_running"]
    score = await demo.run(call.output.data, case=case, leave_running=leave)
    keys = {
        "acts": msgspec.to_builtins(score.acts),
        "requests": score.requests,
        "failed": score.failed,
        "bound": score.bound,
        "reasons": list(score.reasons),
    }
    if score.failed and case is None:  # a bad release that serves may harm whom it serves; a good demo may not
        return Result(result="failed", exit=3, keys=keys)
    return Result(keys=keys, next=("celadon init",))
