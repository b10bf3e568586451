"""`celadon hosts`: each host, how it is reached, and by which key it is known."""

import msgspec

from celadon.cli.app import Need
from celadon.cli.call import Call
from celadon.cli.figures import table
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    async with call.connected(Need(balancer=False)) as connected:
        home = connected.wanted.home
        rows = [
            (
                host.name + (" (home)" if host.name == home else ""),
                ",".join(host.colours),
                host.ssh,
                host.private,
                host.key or "not in .celadon/known_hosts",
            )
            for host in connected.hosts
        ]
        call.output.data(table(("host", "colour", "ssh", "private", "key"), rows))
        return Result(keys={"hosts": msgspec.to_builtins(connected.hosts), "home": home})
