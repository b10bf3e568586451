"""What happens to the world: links, hosts, the API and its token; in each step of a deploy."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from tests.end_to_end.commands import Command
from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome
from tests.torture.steps import IDLE, SERVING, STEPS, begins

from celadon.cli.stage import Ran
from celadon.lab.estate import furnish

Play = Callable[[Bench, Outcome], Awaitable[None]]
CUT = 5.0  # 30 s at the lab's pace, where what waits for hosts and requests is a sixth
LONG_CUT = 30.0
ANY = 10**6  # requests that a dead host may cost: not Celadon's, and told
API = {
    "429": {"kind": "status", "status": 429, "retry_after": 1, "path": "/nodebalancers/*", "count": 8},
    "500": {"kind": "status", "status": 500, "path": "/nodebalancers/*", "count": 8},
    "503": {"kind": "status", "status": 503, "maintenance": True, "path": "/nodebalancers/*", "count": 8},
    "lost-puts": {"kind": "lost", "method": "PUT", "path": "/nodebalancers/*", "count": 4},
    "slow-puts": {"kind": "slow", "method": "PUT", "path": "/nodebalancers/*", "count": 3, "seconds": 30},
    "slow-gets": {"kind": "slow", "method": "GET", "path": "/nodebalancers/*", "count": 2, "seconds": 30},
    "stale": {"kind": "stale", "method": "GET", "path": "/nodebalancers/*", "seconds": 5},
}
API_STEPS = ("open", "warm-up", "pilot", "lower", "bake", "retire")


def cases() -> Iterator[Case]:
    yield from _links()
    for name in API:
        for step in API_STEPS:
            yield Case(f"api-{name}/{step}", _api(name, step))
    for step in ("open", "start", "pilot", "lower", "bake", "retire", "stop"):
        yield Case(f"token-revoked/{step}", _token_revoked(step), ci=step == "pilot")


def _links() -> Iterator[Case]:
    for step in STEPS:
        yield Case(f"ssh-cut/{step}", _ssh_cut(step, CUT), ci=step == "start")
    for step in ("release", "lower", "bake"):
        yield Case(f"ssh-cut-30s/{step}", _ssh_cut(step, LONG_CUT))
    for step in (*IDLE, "pilot", *SERVING):
        yield Case(f"reboot-candidate/{step}", _reboot(step, candidate=True), ci=step == "start")
    for step in STEPS:
        if step not in (*IDLE, "pilot", "raise"):
            yield Case(f"reboot-stable/{step}", _reboot(step, candidate=False))
    yield Case("host-replaced/before", _replaced(None), ci=True)
    for step in ("settings", "start"):
        yield Case(f"host-replaced/{step}", _replaced(step))


async def ended(bench: Bench, outcome: Outcome, command: Command, version: str) -> Ran:
    """A deploy through a fault ends in one of two ways, if need be by being run again: forward, or back."""
    began = time.monotonic()
    ran = await command.end()
    outcome.exits.append(ran.exit)
    if ran.exit == 4:
        if "hint:" not in ran.err:
            outcome.message_true = False
            outcome.problems.append(f"exit 4 without a hint: {ran.err[-500:]}")
        ran = await bench.again(outcome, "deploy", version, "--yes")
    outcome.seconds = round(time.monotonic() - began, 1)
    assert ran.exit in (0, 3), f"exit {ran.exit}: {ran.err[-3000:]}"
    if ran.exit == 0:
        bench.live = version
    elif bench.live not in ran.err:
        outcome.message_true = False
    reason = next((line for line in ran.err.splitlines() if line.startswith("rolled back: ")), "")
    outcome.note = "forward" if ran.exit == 0 else f"back: {reason.removeprefix('rolled back: ')[:120]}"
    return ran


# -- links and hosts


def _ssh_cut(step: str, seconds: float) -> Play:
    """Every connection to every host is reset, again and again: nobody can get a word through."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        ids = [int(row["id"]) for row in (await bench.call("GET", "/lab/status"))["instances"]]
        command = await bench.begin("deploy", version, "--yes")
        assert await command.until(begins(step)), command.said[-2000:]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.gather(
                *(bench.call("POST", f"/lab/instances/{id_}/faults", {"kind": "cut_ssh"}) for id_ in ids)
            )
            await asyncio.sleep(0.15)
        await ended(bench, outcome, command, version)

    return play


def _reboot(step: str, *, candidate: bool) -> Play:
    """The plug of one host is pulled, and it boots again. With users on it, the host's death is theirs too."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        idle = bench.idle_hosts(await bench.status())
        serving = [host for host in (*bench.stage.estate.blue, *bench.stage.estate.green) if host not in idle]
        host = (idle if candidate else serving)[1]  # the first may be the home
        version = await bench.fresh()
        command = await bench.begin("deploy", version, "--yes")
        assert await command.until(begins(step)), command.said[-2000:]
        id_ = await bench.instance(host)
        await bench.call("POST", f"/lab/instances/{id_}/faults", {"kind": "die"})
        await bench.call("POST", f"/v4/linode/instances/{id_}/boot", {})
        users = (candidate and step not in IDLE) or (not candidate and step == "lower")
        outcome.allowed = ANY if users else 0
        await ended(bench, outcome, command, version)

    return play


def _replaced(step: str | None) -> Play:
    """As Terraform replaces it: the idle host is deleted, its nodes with it, and an empty one has its name."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        host = bench.idle_hosts(await bench.status())[1]
        version = await bench.fresh()
        command = None
        if step is not None:
            command = await bench.begin("deploy", version, "--yes")
            assert await command.until(begins(step)), command.said[-2000:]
        await bench.call("DELETE", f"/v4/linode/instances/{await bench.instance(host)}")
        bench.stage.found = await furnish(bench.stage.lab, bench.stage.estate)
        if command is not None:
            ran = await command.end()
            outcome.exits.append(ran.exit)
            outcome.note = "the deploy went back" if ran.exit == 3 else f"exit {ran.exit}"
            assert ran.exit in (0, 3, 4), ran.err[-3000:]
        ran = await bench.again(outcome, "deploy", version, "--yes")
        assert ran.exit == 0, ran.err[-3000:]
        bench.live = version

    return play


# -- the API


def _api(name: str, step: str) -> Play:
    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        command = await bench.begin("deploy", version, "--yes")
        assert await command.until(begins(step)), command.said[-2000:]
        await bench.call("POST", "/lab/faults", API[name])
        try:
            await ended(bench, outcome, command, version)
        finally:
            await bench.call("DELETE", "/lab/faults")

    return play


def _token_revoked(step: str) -> Play:
    """The token dies under the deploy. A new one, and the same command: that is what the message must say."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        body = {"label": "deploy", "scopes": "nodebalancers:read_write linodes:read_only"}
        token = await bench.call("POST", "/v4/profile/tokens", body)
        version = await bench.fresh()
        command = await bench.begin("deploy", version, "--yes", environ={"LINODE_TOKEN": token["token"]})
        assert await command.until(begins(step)), command.said[-2000:]
        await bench.call("DELETE", f"/v4/profile/tokens/{token['id']}")
        ran = await command.end()
        outcome.exits.append(ran.exit)
        if ran.exit != 0:
            outcome.note = f"exit {ran.exit}; a new token, and the same command"
            if "token" not in ran.err.lower():
                outcome.message_true = False
                outcome.problems.append(f"it did not name the token: {ran.err[-800:]}")
        ran = await bench.again(outcome, "deploy", version, "--yes")
        assert ran.exit == 0, ran.err[-3000:]
        bench.live = version

    return play
