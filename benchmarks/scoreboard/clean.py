"""F1 and F14: deploys and rollbacks with nothing against them, and a load with no deploy at all."""

import asyncio
import statistics
import time

from benchmarks.scoreboard.ground import Ground, Seen
from benchmarks.scoreboard.results import Cell

from celadon.core.bound import upper_bound

DEPLOYS = 3
ROLLBACKS = 2
CALM = 60.0  # seconds of the control


async def clean_deploys(ground: Ground) -> dict[str, Cell]:
    """F1: one after the other, each under a load of its own."""
    seen, took, problems = Seen(), [], 0
    per = []
    for _ in range(DEPLOYS):
        version = ground.fresh()
        mine = Seen()
        async with ground.watched(mine):
            began = time.monotonic()
            ran = await ground.deploy(version)
            took.append(time.monotonic() - began)
        problems += bool(ran.exit or await ground.wrong(version))
        per.append(mine.harmed)
        seen.join(mine)
    remark = f"{problems} of {DEPLOYS} deploys did not end well" if problems else ""
    return {"F1": _requests(seen, per, took, remark)}


async def nothing(ground: Ground) -> dict[str, Cell]:
    """The control of F1: the same load, and nobody deploys."""
    seen = Seen()
    async with ground.watched(seen):
        await asyncio.sleep(CALM)
    return {"F1": _requests(seen, [seen.harmed], [], "")}


async def rollbacks(ground: Ground) -> dict[str, Cell]:
    """F14: from the command to the last of twelve answers in a row by the version before."""
    seen, took = Seen(), []
    for _ in range(ROLLBACKS):
        before = ground.live
        await ground.deployed()
        async with ground.watched(seen):
            began = time.monotonic()
            ran = await ground.run(ground.contender.rollback(ground, before))
            await ground.until_served(before)
            took.append(time.monotonic() - began)
        if ran.exit or await ground.wrong(before):
            return {"F14": Cell(text="did not go back", good=False, remark=f"exit {ran.exit}")}
        ground.live = before
    text = f"{statistics.median(took):.0f} s, {seen.harmed} failed"
    return {"F14": Cell(text=text, good=seen.harmed == 0, facts={"seconds": took, "failures": seen.failures})}


def _requests(seen: Seen, per: list[int], took: list[float], remark: str) -> Cell:
    facts = {
        "sent": seen.sent, "harmed": seen.harmed, "per_deploy": per, "kinds": seen.kinds, "seconds": took,
        "bound": upper_bound(seen.harmed, seen.sent), "failures": seen.failures, "late": seen.latest,
    }  # fmt: skip
    good = seen.harmed == 0 and not remark
    return Cell(text=f"{seen.harmed} of {seen.sent:,}", good=good, remark=remark, facts=facts)
