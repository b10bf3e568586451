"""F7: bad releases. Is one noticed, how soon, whom does it harm, and does the one before serve again by itself?"""

import asyncio
import time

import msgspec
from benchmarks.scoreboard.ground import Ground, Seen
from benchmarks.scoreboard.results import Cell
from tests.rig.app_images import Variant

LATER = 6.0  # seconds after the command's end, in which what dies after five shows


class Kind(msgspec.Struct, frozen=True):
    name: str
    variant: Variant
    environ: dict[str, str] = {}
    lasting: bool = True  # nobody can go on with it: a person puts a good one in its place
    replaced: bool = False  # what is bad about it shows when it is replaced


KINDS = (
    Kind("crash at boot", "crash"),
    Kind("never ready", "never_ready"),
    Kind("dies after 5 s", "crash_later", {"CRASH_AFTER": "5"}),
    Kind("10 % errors", "errors"),
    Kind("3x latency", "three_times_as_slow", lasting=False),
    Kind("leak", "leak"),
    Kind("ignores SIGTERM", "stubborn", replaced=True),
    Kind("wrong port", "wrong_port"),
)


async def bad_releases(ground: Ground) -> dict[str, Cell]:
    noticed = back = harmed = 0
    told: dict[str, str] = {}
    for kind in KINDS:
        before = ground.live
        version, seen = ground.fresh(kind.variant, env=kind.environ), Seen()
        async with ground.watched(seen):
            began = time.monotonic()
            ran = await ground.deploy(version)
            took = time.monotonic() - began
            over = kind.replaced and ran.exit == 0
            if over:
                await ground.mended()
            else:
                await asyncio.sleep(LATER)
        alone = bool(ran.exit) and not await ground.wrong(before, within=5)
        noticed, back, harmed = noticed + bool(ran.exit), back + alone, harmed + seen.harmed
        what = f"noticed in {took:.0f} s" if ran.exit else "taken for good"
        told[kind.name] = f"{what}, {seen.harmed} harmed" + (", back alone" if alone else "")
        if alone:
            ground.live = before
        elif kind.lasting and not over:
            await ground.mended()
    text = f"{noticed} of {len(KINDS)} noticed, {back} back alone, {harmed} requests harmed"
    return {"F7": Cell(text=text, facts={"kinds": told})}
