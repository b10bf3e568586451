"""F2, F3 and F10: the deployer killed, cancelled, or not alone."""

import asyncio
import signal
import statistics

from benchmarks.scoreboard.ground import Ground, Seen
from benchmarks.scoreboard.results import Cell
from benchmarks.scoreboard.tree import end, family

KILLS = 4
RACES = 2
NOTICED = 3.0  # seconds until somebody runs it again
GRACE = 10.0  # seconds from SIGTERM to SIGKILL, as CI services have it


async def kills(ground: Ground) -> dict[str, Cell]:
    """F2 and F3: SIGKILL at evenly spaced times of the length of a clean deploy; then the same command again."""
    seen, took, by_hand = Seen(), list[float](), 0
    facts: list[str] = []
    length = ground.seconds
    for number in range(1, KILLS + 1):
        version, before = ground.fresh(), ground.live
        mine = Seen()
        async with ground.watched(mine):
            running = await ground.begin(ground.contender.deploy(ground, version))
            await asyncio.sleep(length * number / (KILLS + 1))
            running.kill()
            await running.ended()
            await asyncio.sleep(NOTICED)
            left = await ground.wrong(before, version, within=0)
            times, seconds = await ground.again(version)
            wrong = await ground.wrong(version)
        took.append(seconds)
        seen.join(mine)
        facts.append(
            f"{number}/{KILLS + 1}: {mine.harmed} failed; left: {', '.join(left) or 'nothing amiss'}; "
            f"run again {times} x, {seconds:.0f} s; then {', '.join(wrong) or 'whole'}"
        )
        if wrong:
            by_hand += await ground.mended()
    text = f"{seen.harmed} of {seen.sent:,}; by hand: {by_hand} of {KILLS}"
    good = seen.harmed == by_hand == 0
    recovery = f"{statistics.median(took):.0f} s (longest {max(took):.0f} s)"
    return {
        "F2": Cell(text=text, good=good, facts={"kills": facts, "failures": seen.failures}),
        "F3": Cell(text=recovery, facts={"seconds": took}),
    }


async def not_alone(ground: Ground) -> dict[str, Cell]:
    """F10: two deployers at once with a version each, and a deploy that CI cancels half-way."""
    seen, agreed, said = Seen(), 0, list[str]()
    async with ground.watched(seen):
        for _ in range(RACES):
            one, two = ground.fresh(), ground.fresh()
            first = await ground.begin(ground.contender.deploy(ground, one))
            await asyncio.sleep(0.5)
            second = await ground.begin(ground.contender.deploy(ground, two))
            ran = await asyncio.gather(first.ended(), second.ended())
            exits = [each.exit for each in ran]
            winners = [version for version, code in zip((one, two), exits, strict=True) if code == 0]
            wrong = await ground.wrong(*(winners or (ground.live,)))
            agreed += len(winners) <= 1 and not wrong
            said.append(f"exits {exits[0]} and {exits[1]}; then {', '.join(wrong) or 'whole'}")
            await ground.mended()
        version = ground.fresh()
        running = await ground.begin(ground.contender.deploy(ground, version))
        await asyncio.sleep(ground.seconds / 2)
        all_of_it = family(running.process.pid)
        end(all_of_it[:1], signal.SIGTERM)
        cancelled = await running.ended(GRACE)
        end(all_of_it)
        times, seconds = await ground.again(version)
        wrong = await ground.wrong(version)
        then = ", ".join(wrong) or "whole"
        said.append(f"cancelled: exit {cancelled.exit}; run again {times} x, {seconds:.0f} s; then {then}")
        stuck = bool(wrong) and await ground.mended()
    text = f"{agreed} of {RACES} races right; cancelled: {'stuck' if stuck else 'goes on'}; {seen.harmed} failed"
    good = agreed == RACES and not stuck and seen.harmed == 0
    return {"F10": Cell(text=text, good=good, facts={"races": said, "failures": seen.failures})}
