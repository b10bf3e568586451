"""`celadon resume`: unpauses and drives the open rollout, from any machine."""

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    async with call.connected(Need(secrets=True, secrets_must=False)) as connected:
        return await drive(call, connected, connected.app.resume)
