"""`celadon plan [VERSION]`: what a deploy would do. Reads only."""

from typing import Any

import msgspec

from celadon.cli import plans
from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.core.wanted import Options


async def run(call: Call) -> Result:
    async with call.connected(Need(secrets=True)) as connected:
        release = await connected.release(call.values["version"])
        for note in connected.notes():
            call.output.warn(note)
        forecast = await connected.app.foresee(release, Options())
        call.output.data(plans.question(forecast, connected))
        call.output.data(["", *plans.steps(forecast), "", f"plan {forecast.plan_id}"])
        if connected.lab:
            from celadon.cli.pace import LAB  # noqa: PLC0415 - only a lab's plan says it

            call.output.data(f"at {LAB}")
        cost = None
        if call.values["infra"]:
            from celadon.cli import infra_told  # noqa: PLC0415 - only --infra asks for prices

            cost = await infra_told.cost_of(call, connected)
            call.output.data(infra_told.cost_now(cost))
        typed = call.values["version"] or ""
        again = " ".join(["celadon deploy", *([typed] if typed else []), f"--plan {forecast.plan_id}"])
        keys: dict[str, Any] = {
            "plan_id": forecast.plan_id,
            "from": forecast.current.version if forecast.current is not None else None,
            "to": forecast.candidate.version,
            "changes": msgspec.to_builtins(forecast.changes),
            "steps": msgspec.to_builtins(forecast.steps),
            "seconds": round(forecast.seconds),
            "pace": "lab" if connected.lab else "full",
            "warnings": list(forecast.warnings),
        }
        if cost is not None:
            keys["monthly_cost"] = {"now": cost.total}
        return Result(keys=keys, next=(again,))
