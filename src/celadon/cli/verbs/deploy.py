"""`celadon deploy [VERSION]`: the question, then the rollout. Run again, it goes on where it stopped."""

import asyncio

from celadon.cli import plans
from celadon.cli.app import Connected, Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.errors import Refused, Unavailable
from celadon.core.release import Release
from celadon.core.wanted import Options
from celadon.drive.app import Each, Ending
from celadon.drive.forecast import Forecast


async def run(call: Call) -> Result:
    options = _options(call)
    if call.values["fresh"] and (failed := await _fresh(call)) is not None:
        return failed
    async with call.connected(Need(secrets=True)) as connected:
        release = await connected.release(call.values["version"])
        for note in connected.notes():
            call.output.warn(note)

        async def confirm(forecast: Forecast) -> bool:
            call.output.say(plans.question(forecast, connected))
            where = f"{forecast.balancer} ({forecast.address})"
            stop, call.stop = call.stop, None  # Ctrl-C at the question only leaves it
            agreed = await call.confirm(f"Deploy to {where}?")
            call.stop, call.touched = stop, agreed
            return agreed

        async def begin(each: Each) -> Ending:
            del each  # a deploy never follows: another's rollout is refused, or waited for
            if call.values["queue"] is not None:
                await _queue(call, connected)
            return await connected.app.deploy(release, options, confirm)

        _say_release(call, release)
        return await drive(call, connected, begin)


async def _fresh(call: Call) -> Result | None:
    """New machines first; not where a rollout is open: then this is the same command again, and it goes on."""
    from celadon.cli.infra_renew import renew  # noqa: PLC0415 - only --fresh runs Terraform

    async with call.connected(Need(balancer=False)) as connected:
        intent = await connected.app.intent()
    if intent is not None and not intent.finished:
        return None
    result = await renew(call)
    call.stop, call.touched = None, False
    return result if result.exit else None


def _options(call: Call) -> Options:
    until = call.values["until"]
    if until not in (None, "commit"):
        raise Refused(f"--until {until}: a deploy can end early only at `commit`", hint="--until commit")
    return Options(
        hold=call.values["hold"],
        until_commit=until == "commit",
        repair=call.values["repair"],
        plan_id=call.values["plan"] or "",
    )


def _say_release(call: Call, release: Release) -> None:
    if call.output.verbose:
        call.output.say(f"release {release.id}: {release.artifact}", "dim")


async def _queue(call: Call, connected: Connected) -> None:
    """Let the rollout that another drives end first."""
    within = call.values["queue"].total_seconds()
    try:
        async with asyncio.timeout(within):
            while (intent := await connected.app.intent()) is not None and not intent.finished:
                if intent.rollout.candidate.version == call.values["version"]:
                    return  # it is this one: deploy goes on with it
                call.output.say(f"queued behind rollout {intent.rollout.number} ({intent.rollout.candidate.version})")
                await connected.app.follow()
    except TimeoutError:
        raise Unavailable(
            f"another rollout was still open after {within:.0f} s", hint="celadon status · celadon deploy --queue 30m"
        ) from None
