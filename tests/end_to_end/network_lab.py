"""A lab without instances of its own: the API and the NodeBalancer, for hosts that somebody else runs.

    python -m tests.end_to_end.network_lab FOLDER OWN_ADDRESS/PREFIX

Run inside the network of those hosts (`Lab.enter`), where it has an address: private addresses are dialled as they
stand, and no others. Checks are at their real pace: a lab's quarter of a second is less than two Engines and their
containers may keep two cores busy, and every node would be DOWN at once. Prints one line,
`{"url": …, "token": …}`, and ends with its standard input.
"""

import asyncio
import ipaddress
import json
import secrets
import sys
from pathlib import Path

from celadon.lab.api.app import create_app, open_account
from celadon.lab.api.serve import serve
from celadon.lab.blocks import claim_block
from celadon.lab.loopback import Link
from celadon.lab.memory import MemoryMachines
from celadon.lab.parts import LabPaths
from celadon.lab.plane.plane import HaproxyPlane
from celadon.lab.store import StateFile


async def run(folder: Path, here: ipaddress.IPv4Interface) -> None:
    link = Link(here.network, str(here.ip))
    claim = claim_block(folder)
    token = secrets.token_hex(16)
    account = open_account(StateFile(None), token, claim.block)
    plane = HaproxyPlane(LabPaths(folder), lambda address: address, account.state.switches, link=link)
    served = await serve(create_app(account, plane, MemoryMachines(), on_switches=plane.set_switches))
    try:
        sys.stdout.write(json.dumps({"url": served.url, "token": token}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await served.close()
        await plane.close()
        claim.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), ipaddress.IPv4Interface(sys.argv[2])))
