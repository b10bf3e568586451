"""`celadon store move|adopt`: reserved words."""

from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.core.errors import Refused


async def run(call: Call) -> Result:
    raise Refused(
        f"celadon {call.verb.name} is not in this version",
        hint="the home is hosts.home in celadon.toml; it must be there",
    )
