"""F1 and F14: deploys and rollbacks with nothing against them, and a load with no deploy at all."""

import asyncio
import statistics
import time
from typing import Any

from benchmarks.scoreboard.ground import Ground, Seen
from benchmarks.scoreboard.results import Cell

from celadon.core.bound import upper_bound
from celadon.core.errors import Unavailable

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
        took.append(await _back(ground, before, seen))
    text = f"{statistics.median(took):.0f} s, {seen.harmed} failed"
    facts: dict[str, Any] = {"seconds": took, "failures": seen.failures}
    held = ground.contender.held(ground, ground.fresh())
    if held is not None:
        warm = Seen()
        await ground.run(held)
        facts["seconds_in_the_bake"] = await _back(ground, ground.live, warm)
        facts["failures_in_the_bake"] = warm.harmed
        text += f"; in the bake {facts['seconds_in_the_bake']:.0f} s, {warm.harmed} failed"
        seen.join(warm)
    return {"F14": Cell(text=text, good=seen.harmed == 0, facts=facts)}


async def _back(ground: Ground, before: str, seen: Seen) -> float:
    """Seconds until users get nothing but the version before. Raises when they do not."""
    mine = Seen()
    async with ground.watched(mine):
        began = time.monotonic()
        ran = await ground.run(ground.contender.rollback(ground, before))
        await ground.until_served(before)
        took = time.monotonic() - began
    wrong = await ground.wrong(before)
    if ran.exit or wrong:
        raise Unavailable(f"the rollback to {before} ended with {ran.exit}", details=tuple(wrong))
    ground.live = before
    seen.join(mine)
    return took


def _requests(seen: Seen, per: list[int], took: list[float], remark: str) -> Cell:
    facts = {
        "sent": seen.sent, "harmed": seen.harmed, "per_deploy": per, "kinds": seen.kinds, "seconds": took,
        "bound": upper_bound(seen.harmed, seen.sent), "failures": seen.failures, "late": seen.latest,
    }  # fmt: skip
    good = seen.harmed == 0 and not remark
    return Cell(text=f"{seen.harmed} of {seen.sent:,}", good=good, remark=remark, facts=facts)
