"""`celadon abort`: stable gets all traffic back. Asks nothing, needs no secret, waits for no preflight."""

from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.cli.situation import colour_of
from celadon.drive.app import Each, Ending


async def run(call: Call) -> Result:
    keep = colour_of(call.values["keep_colour"])
    async with call.connected() as connected:

        async def begin(each: Each) -> Ending:
            return await connected.app.abort(keep, each=each)

        return await drive(call, connected, begin, "back")
