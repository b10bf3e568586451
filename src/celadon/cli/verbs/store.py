"""`celadon store move|adopt`: the home goes to another host, or a lost one is replaced. Neither touches traffic."""

from celadon.cli.app import Connected, Need
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.cli.situation import see
from celadon.drive.moving import Moved, adopt, move


async def run(call: Call) -> Result:
    if call.verb.name == "store move":
        async with call.connected(Need(balancer=False)) as connected:
            return await _move(call, connected)
    async with call.connected() as connected:
        return await _adopt(call, connected)


async def _move(call: Call, connected: Connected) -> Result:
    moved = await move(connected.home, connected.world, connected.wanted, who=connected.app.who, to=call.values["host"])
    app, home = connected.wanted.app, moved.seat.home
    call.output.data(f"the home of {app} is {home}" + ("" if moved.changed else " already"))
    _say_untold(call, moved)
    _say_config(call, connected, moved)
    return Result(keys=_keys(moved))


async def _adopt(call: Call, connected: Connected) -> Result:
    dead = frozenset(name.strip() for name in (call.values["dead"] or "").split(",") if name.strip())
    moved = await adopt(
        connected.home,
        connected.world,
        connected.wanted,
        who=connected.app.who,
        to=call.values["host"],
        dead=dead,
    )
    app, seat = connected.wanted.app, moved.seat
    if not moved.changed:
        call.output.data(f"{seat.home} is the home of {app} and is there: nothing was changed")
        _say_config(call, connected, moved)
        return Result(keys=_keys(moved))
    call.output.data(f"the home of {app} is {seat.home}: epoch {seat.epoch} begins; no traffic was moved")
    _say_untold(call, moved)
    live = (await see(connected)).live
    next_: tuple[str, ...] = ("celadon status",)
    if live is not None and live.kind == "ambiguous":
        call.output.warn(f"which colour is live cannot be told: {live.because}")
        next_ = ("celadon abort", "celadon abort --keep-colour COLOUR")
    elif live is not None and live.colour is not None:
        call.output.data(f"  {live.colour} is live: {live.because}")
    return Result(keys={**_keys(moved), "live_colour": live.colour if live is not None else None}, next=next_)


def _say_config(call: Call, connected: Connected, moved: Moved) -> None:
    if moved.seat.home != connected.wanted.home:
        call.output.say(f'hint: in celadon.toml: hosts.home = "{moved.seat.home}"')


def _say_untold(call: Call, moved: Moved) -> None:
    if moved.untold:
        call.output.warn(f"not told, because it does not answer: {', '.join(moved.untold)}")


def _keys(moved: Moved) -> dict[str, object]:
    return {"home": moved.seat.home, "epoch": moved.seat.epoch, "changed": moved.changed, "untold": moved.untold}
