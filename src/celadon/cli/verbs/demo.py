"""`celadon demo`: calls `celadon.lab.demo.run`, which tells its acts as they happen and returns the scoreboard."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

from celadon.cli.call import Call
from celadon.cli.output import Result


class Demo(Protocol):
    """The module `celadon.lab.demo`."""

    async def run(
        self, *, case: str | None, leave_running: bool, say: Callable[[str], None], environ: dict[str, str]
    ) -> dict[str, Any]:
        """`acts`, `requests`, `failed`. `say` takes one line of the scoreboard."""


async def run(call: Call) -> Result:
    demo = cast("Demo", import_module("celadon.lab.demo"))
    found = await demo.run(
        case=call.values["break"],
        leave_running=call.values["leave_running"],
        say=call.output.data,
        environ=dict(call.environ),
    )
    return Result(result="done" if not found["failed"] else "failed", exit=3 if found["failed"] else 0, keys=found)
