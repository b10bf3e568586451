"""F4, F5 and F6: what happens to the world in the middle of a deploy: the API, the SSH link, a host's Docker."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from benchmarks.scoreboard.ground import Ground, Seen
from benchmarks.scoreboard.results import Cell
from tests.rig.netns_hosts import DockerHost

from celadon.core.errors import Unavailable

API: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500, "path": "/nodebalancers/*", "count": 4},
    "429": {"kind": "status", "status": 429, "retry_after": 1, "path": "/nodebalancers/*", "count": 4},
    "lost answers": {"kind": "lost", "method": "PUT", "path": "/nodebalancers/*", "count": 2},
}
CUT = 10.0  # seconds without SSH
SSH = ("-p", "tcp", "--dport", "22", "-j", "DROP")
Fault = Callable[[], AbstractAsyncContextManager[None]]


async def api(ground: Ground) -> dict[str, Cell]:
    """F4: from half-way on, the API fails so many requests."""

    def fault(body: dict[str, Any]) -> Fault:
        @asynccontextmanager
        async def armed() -> AsyncIterator[None]:
            await asyncio.to_thread(ground.call, "POST", "/lab/faults", body)
            try:
                yield
            finally:
                await asyncio.to_thread(ground.call, "DELETE", "/lab/faults")

        return armed

    return {"F4": await _through(ground, {name: fault(body) for name, body in API.items()})}


async def link(ground: Ground) -> dict[str, Cell]:
    """F5: packets of SSH, and only these, are dropped for a while; established connections hang."""

    @asynccontextmanager
    async def cut() -> AsyncIterator[None]:
        await _program(*ground.lab.enter, "iptables", "-I", "OUTPUT", *SSH)
        try:
            await asyncio.sleep(CUT)
        finally:
            await _program(*ground.lab.enter, "iptables", "-D", "OUTPUT", *SSH)
        yield

    return {"F5": await _through(ground, {"half-way": cut})}


async def host(ground: Ground) -> dict[str, Cell]:
    """F6: a host's Docker goes down with its containers, and comes back with them; each host in turn."""

    def fault(each: DockerHost) -> Fault:
        @asynccontextmanager
        async def restarted() -> AsyncIterator[None]:
            await asyncio.to_thread(each.restart_engine)
            yield

        return restarted

    return {"F6": await _through(ground, {each.name: fault(each) for each in ground.lab.hosts})}


async def host_alone(ground: Ground) -> dict[str, Cell]:
    """The control of F6: the same, and nobody deploys."""
    seen = Seen()
    for each in ground.lab.hosts:
        async with ground.watched(seen):
            await asyncio.to_thread(each.restart_engine)
            wrong = await ground.wrong(ground.live, within=60)
        if wrong:
            raise Unavailable(f"{each.name} does not come back", details=tuple(wrong))
    text = f"{seen.harmed} of {seen.sent:,}"
    return {"F6": Cell(text=text, good=seen.harmed == 0, facts={"failures": seen.failures})}


async def _through(ground: Ground, faults: dict[str, Fault]) -> Cell:
    """One deploy through each fault, from half-way on, run again until it says that all is well."""
    total, by_hand, runs, told = Seen(), 0, 0, list[str]()
    for name, fault in faults.items():
        version, seen = ground.fresh(), Seen()
        length = ground.seconds
        async with ground.watched(seen):
            began = time.monotonic()
            running = await ground.begin(ground.contender.deploy(ground, version))
            await asyncio.sleep(length / 2)
            async with fault():
                ran = await running.ended()
            again = 0
            if ran.exit:
                again, _ = await ground.again(version)
            else:
                ground.live = version
            wrong = await ground.wrong(version)
            took = time.monotonic() - began
        then = ", ".join(wrong) or "whole"
        told.append(f"{name}: {seen.harmed} failed; exit {ran.exit}, run again {again} x, {took:.0f} s; then {then}")
        runs += again
        total.join(seen)
        if wrong:
            by_hand += await ground.mended()
        else:
            await ground.deployed()  # where colours are hosts, the next fault finds them the other way round
    text = f"{total.harmed} of {total.sent:,}; run again {runs}; by hand {by_hand}"
    return Cell(text=text, good=total.harmed == by_hand == 0, facts={"faults": told, "failures": total.failures})


async def _program(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 20)
    if process.returncode:
        raise Unavailable(f"{words[-1]}: {said.decode()[-200:]}")
