"""`celadon demo`: plays the acts and prints the scoreboard as it becomes true."""

import msgspec

from celadon.cli import demo
from celadon.cli.call import Call
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    case = call.values["break"]
    score = await demo.run(lambda line: call.output.data([line]), case=case, leave_running=call.values["leave_running"])
    for reason in score.reasons[:5]:
        call.output.say(f"  {reason}", "dim")
    lost = score.failed and case is None
    return Result(result="failed" if lost else "done", exit=3 if lost else 0, keys=msgspec.to_builtins(score))
