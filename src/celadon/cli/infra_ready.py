"""Waiting until new machines are made: reached by SSH with the key that was known before, and cloud-init *done*.

`running` in the API only means that the machine booted. What cloud-init says comes with every look at a host.
"""

import asyncio
from collections.abc import Sequence

from celadon.agent.first_boot import AT_WORK
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.situation import tried
from celadon.core.errors import CeladonError, Refused, Unavailable

WITHIN = 900.0  # seconds; packages of a small machine take two to four minutes
POLL, LAB_POLL = 5.0, 0.5


async def wait_ready(call: Call, connected: Connected, hosts: Sequence[str], *, within: float = WITHIN) -> None:
    """Raises Unavailable past the deadline, with what was last seen; Refused where cloud-init ended with errors."""
    poll = LAB_POLL if connected.lab else POLL
    await asyncio.gather(*(_one(call, connected, host, poll, within) for host in hosts))


async def _one(call: Call, connected: Connected, host: str, poll: float, within: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    told = ""
    while True:
        facts = await tried(connected.world.hosts.look(host, connected.wanted.question(host)))
        # Not reached: the machine boots, or its key is not there yet.
        state = facts.message if isinstance(facts, CeladonError) else facts.first_boot
        if not state:
            call.output.say(f"  {host} is ready")
            return
        if not isinstance(facts, CeladonError) and state != AT_WORK:
            raise Refused(
                f"{host}: {state}",
                hint=f"ssh {host} cat /var/log/cloud-init-output.log · then: celadon infra renew",
                where=host,
            )
        if state != told:
            call.output.say(f"  {host}: {state}", "dim")
            told = state
        if loop.time() > deadline:
            raise Unavailable(
                f"{host} was not ready within {within:.0f} s; last seen: {state}",
                hint=f"celadon check --host {host} · its console: Lish",
                where=host,
            )
        await asyncio.sleep(poll)
