"""`celadon abort`: stable gets all traffic back. Asks nothing, needs no secret, waits for no preflight."""

from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.errors import Refused


async def run(call: Call) -> Result:
    if call.values["keep_colour"] is not None:
        raise Refused(
            "--keep-colour, for a lost home, is not in this version",
            hint="with the home there: celadon abort · by hand: linode-cli nodebalancers node-update … --mode accept",
        )
    async with call.connected() as connected:
        return await drive(call, connected, connected.app.go_back, "back")
