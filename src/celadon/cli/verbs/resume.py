"""`celadon resume`: unpauses and drives the open rollout to its end, from any machine."""

import msgspec

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.intent import Requests
from celadon.drive.app import Ending


async def run(call: Call) -> Result:
    async with call.connected(Need(secrets=True, secrets_must=False)) as connected:

        async def begin() -> Ending:
            # `--until commit` was a wish of the deploy's: who resumes wants the end.
            await connected.app.request(_to_the_end)
            return await connected.app.resume()

        return await drive(call, connected, begin)


def _to_the_end(requests: Requests) -> Requests:
    return msgspec.structs.replace(requests, until_commit=False)
