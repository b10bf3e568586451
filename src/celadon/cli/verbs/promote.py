"""`celadon promote [--full]`: approves what the rollout waits for. `--full` is asked about: it drops every pause."""

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.errors import Refused
from celadon.drive.app import Each, Ending


async def run(call: Call) -> Result:
    full: bool = call.values["full"]
    async with call.connected(Need(secrets=True, secrets_must=False)) as connected:
        if full:
            question = f"Drop all pauses and approvals of {connected.wanted.app} on {connected.wanted.balancer}?"
            if not await call.confirm(question):
                raise Refused("not confirmed", hint="celadon promote approves one gate")

        async def begin(each: Each) -> Ending:
            return await connected.app.promote(full=full, each=each)

        return await drive(call, connected, begin)
