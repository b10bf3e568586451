"""`celadon rollback [RELEASE]`: in the bake by the balancer alone; later it starts the kept release. Asks nothing."""

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.again import goes_on
from celadon.drive.app import Each, Ending


async def run(call: Call) -> Result:
    wanted: str | None = call.values["release"]
    # A kept release has its settings on its hosts: no secrets command runs, because going back never asks.
    need = Need(secrets=True, secrets_must=False, secrets_command=False)
    async with call.connected(need) as connected:
        intent = await connected.app.intent()
        back = intent is not None and not intent.finished and not goes_on(intent, wanted)

        async def begin(each: Each) -> Ending:
            return await connected.app.rollback(wanted, each=each)

        return await drive(call, connected, begin, "back" if back else "forward")
