"""What every verb that drives shares: the screen, Ctrl-C, and how the end is told."""

from collections.abc import Awaitable, Callable

from celadon.cli import ending as endings
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.ending import Wish
from celadon.cli.live import Screen
from celadon.cli.output import Result
from celadon.core.action import Decision
from celadon.core.intent import Intent
from celadon.core.scene import Observed
from celadon.drive.app import Each, Ending


async def drive(
    call: Call, connected: Connected, begin: Callable[[Each], Awaitable[Ending]], wish: Wish = "forward"
) -> Result:
    """Drive until it ends, shown all the while; then tell the end. `begin` gets who hears another driver's events."""
    screen = Screen(call.output, connected.world.clock)
    connected.watched(screen)

    def touched(observed: Observed, intent: Intent, decision: Decision, now: float) -> None:
        del observed, intent, decision, now
        call.touched = True

    connected.watched(touched)
    call.stop = connected.app.stop
    if connected.lab:
        from celadon.cli.pace import LAB  # noqa: PLC0415 - imports the API client, which a lab has by now

        call.output.say(f"at {LAB}", "dim")
    async with screen.shown():
        ending = await begin(screen.heard)
    return endings.tell(call.output, ending, wish, stays=screen.stays)
