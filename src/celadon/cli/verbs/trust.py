"""`celadon hosts trust [HOST…]`: shows the key that a host offers, asks, and writes it to .celadon/known_hosts."""

from typing import Any

from celadon.adapters.known_hosts import KnownHosts
from celadon.cli.app import Connected, Need
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.core.errors import Refused


async def run(call: Call) -> Result:
    async with call.connected(Need(balancer=False)) as connected:
        names = _names(call, connected)
        expected: str | None = call.values["fingerprint"]
        if expected is not None and len(names) != 1:
            raise Refused("--fingerprint belongs to one host", hint="celadon hosts trust HOST --fingerprint SHA256:…")
        file = KnownHosts(connected.project.known_hosts)
        trusted = [await _trust(call, connected, file, name, expected) for name in names]
        call.output.say("commit .celadon/known_hosts: teammates then know the host before first contact")
        return Result(keys={"hosts": trusted})


def _names(call: Call, connected: Connected) -> list[str]:
    known = [host.name for host in connected.hosts]
    names = list(call.values["host"]) or [host.name for host in connected.hosts if not host.key]
    for name in names:
        if name not in known:
            raise Refused(f"no host is named {name}", hint=f"the config has {', '.join(known)}")
    return names


async def _trust(call: Call, connected: Connected, file: KnownHosts, name: str, expected: str | None) -> dict[str, Any]:
    line, fingerprint = await connected.reach.scan_host_key(name)
    if expected is not None and expected != fingerprint:
        raise Refused(
            f"{name}: offers {fingerprint}, not the key that was expected; nothing was written",
            details=[f"expected: {expected}"],
            hint="compare in Lish: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            where=name,
        )
    if expected is None:
        call.output.say(f"{name} offers {line.split()[1]} {fingerprint}")
        call.output.say("compare in Lish: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        await _ask(call, name)
    file.trust(line)
    call.output.data(f"{name}  {fingerprint}")
    return {"name": name, "fingerprint": fingerprint, "line": line}


async def _ask(call: Call, name: str) -> None:
    """`--yes` is no answer to this: whoever says it must have seen the key."""
    if not call.stdin.isatty():
        raise Refused(
            "nobody is here to compare the key",
            hint=f"celadon hosts trust {name} --fingerprint SHA256:…   (the fingerprint that you know)",
            where=name,
        )
    if not await call.ask(f"Is it the same, and do you trust {name}?"):
        raise Refused(f"{name} is not trusted", hint="its key comes with cloud-init or `terraform output known_hosts`")
