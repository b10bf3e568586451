"""Waiting until new machines are made: reached by SSH with the key that was known before, and cloud-init *done*.

`running` in the API only means that the machine booted.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from celadon.adapters.host import Command
from celadon.cli.app import Connected, Reach
from celadon.cli.call import Call
from celadon.core.errors import CeladonError, Refused, Unavailable

WITHIN = 900.0  # seconds; packages of a small machine take two to four minutes
POLL, LAB_POLL = 5.0, 0.5
LOOK = """
import json, os
folder = "/run/cloud-init"
said = {"state": "absent" if not os.path.isdir(folder) else "running", "errors": []}
try:
    with open(folder + "/result.json") as file:
        found = json.load(file)["v1"]
    said = {"state": "done", "errors": [str(each)[:300] for each in found.get("errors") or []][:5]}
except (OSError, ValueError, KeyError):
    pass
print(json.dumps(said))
"""
"""Constant: nothing of ours is put into it. cloud-init writes result.json when its last stage has ended."""


async def wait_ready(call: Call, connected: Connected, hosts: Sequence[str], *, within: float = WITHIN) -> None:
    """Raises Unavailable past the deadline, with what was last seen; Refused where cloud-init ended with errors."""
    poll = LAB_POLL if connected.lab else POLL
    await asyncio.gather(*(_one(call, connected.reach, host, poll, within) for host in hosts))


async def _one(call: Call, reach: Reach, host: str, poll: float, within: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    told = ""
    while True:
        seen = await _look(reach, host)
        state = seen if isinstance(seen, str) else str(seen.get("state"))
        if not isinstance(seen, str) and state in ("done", "absent"):
            if seen.get("errors"):
                raise Refused(
                    f"{host}: cloud-init ended with errors",
                    details=[str(each) for each in seen["errors"]],
                    hint=f"ssh {host} cat /var/log/cloud-init-output.log · then: celadon infra renew",
                    where=host,
                )
            call.output.say(f"  {host} is ready")
            return
        if state != told:
            call.output.say(f"  {host}: {'cloud-init runs' if state == 'running' else state}", "dim")
            told = state
        if loop.time() > deadline:
            raise Unavailable(
                f"{host} was not ready within {within:.0f} s; last seen: {state}",
                hint=f"celadon check --host {host} · its console: Lish",
                where=host,
            )
        await asyncio.sleep(poll)


async def _look(reach: Reach, host: str) -> dict[str, Any] | str:
    """What cloud-init says; a text says why it could not be asked: the machine boots, or its key is not there yet."""
    out = bytearray()

    async def take(stream: int, data: bytes) -> None:
        if stream == 1:
            out.extend(data[:65536])

    try:
        await reach.run(host, Command(("python3", "-c", LOOK)), take=take)
        said = json.loads(bytes(out))
    except CeladonError as error:
        return error.message
    except ValueError:
        return "its answer was no JSON"
    return said if isinstance(said, dict) else "its answer was no object"
