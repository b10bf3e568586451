"""`celadon rollback [RELEASE]`: in the bake by the balancer alone; later it starts the kept release. Asks nothing."""

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.driving import drive
from celadon.cli.output import Result
from celadon.core.errors import Refused
from celadon.drive.app import Each, Ending


async def run(call: Call) -> Result:
    wanted: str | None = call.values["release"]
    # A kept release has its settings on its hosts: no secrets command runs, because going back never asks.
    need = Need(secrets=True, secrets_must=False, secrets_command=False)
    async with call.connected(need) as connected:
        intent = await connected.app.intent()
        in_bake = intent is not None and not intent.finished
        if in_bake and intent is not None and wanted is not None:
            stable = intent.rollout.stable
            if stable is None or wanted not in (stable.id, stable.version):
                raise Refused(
                    f"rollout {intent.rollout.number} is open: it can only go back to its own stable",
                    hint="celadon rollback, then celadon rollback RELEASE",
                )

        async def begin(each: Each) -> Ending:
            return await connected.app.rollback(None if in_bake else wanted, each=each)

        return await drive(call, connected, begin, "back" if in_bake else "forward")
