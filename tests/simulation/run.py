"""Tell many stories, or one of them in full.

python -m tests.simulation.run --seeds 0 1000 [--coverage] [--keep]
python -m tests.simulation.run --seed 145 --trace [--shrink] [--keep]
python -m tests.simulation.run --world NAME --trace
python -m tests.simulation.run --wide 200000 --out FILE
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from tests.simulation import kept
from tests.simulation.coverage import Coverage
from tests.simulation.settings import Setting, draw
from tests.simulation.story import tell
from tests.simulation.wide import run_wide, told

say = print  # what this is for


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true", help="what was decided and why, and what the world did")
    parser.add_argument("--shrink", action="store_true", help="a failing world first made as simple as it can be")
    parser.add_argument("--keep", action="store_true", help="write what fails, shrunk, beside the tests that tell it")
    parser.add_argument("--world", choices=kept.names(), help="one of those that were kept")
    parser.add_argument("--coverage", action="store_true", help="which rules decided, and under which faults")
    parser.add_argument("--wide", type=int, metavar="WORLDS", help="many, over all cores; resumes --out")
    parser.add_argument("--out", type=Path, default=Path("simulation.json"))
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first seed of --wide")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop --wide then, to go on another time")
    wanted = parser.parse_args()
    if wanted.wide:
        record = run_wide(wanted.wide, wanted.out, first=wanted.first, cores=wanted.cores, seconds=wanted.seconds)
        say(told(record))
        return bool(record.broken)
    if wanted.world:
        return one(kept.load(wanted.world).setting, trace=wanted.trace, smaller=False, kept_too=False)
    if wanted.seed is not None:
        return one(draw(wanted.seed), trace=wanted.trace, smaller=wanted.shrink, kept_too=wanted.keep)
    first, last = wanted.seeds or (0, 200)
    return many(first, last, covered=wanted.coverage, kept_too=wanted.keep)


def simplest(setting: Setting, broken: list[str], *, kept_too: bool) -> Setting:
    """Of the first promise that it breaks."""
    promise = kept.promise_of(broken[0])
    simpler = kept.shrink(setting, promise)
    if kept_too:
        say(f"kept: {kept.keep(simpler, promise, broken[0])} (say there what it is about)")
    return simpler


def one(setting: Setting, *, trace: bool, smaller: bool, kept_too: bool) -> int:
    if (smaller or kept_too) and (broken := tell(setting).broken):
        setting = simplest(setting, broken, kept_too=kept_too)
    outcome = tell(setting, trace=trace)
    say("\n".join(line[:600] for line in outcome.trace))
    say(setting, outcome.result, *outcome.broken, sep="\n")
    return bool(outcome.broken)


def many(first: int, last: int, *, covered: bool, kept_too: bool) -> int:
    """Failures are shrunk before they are printed."""
    began, failed, results, drivers = time.process_time(), 0, Counter[str](), 0
    coverage = Coverage()
    with coverage.watching() if covered else nullcontext():
        for seed in range(first, last):
            outcome = tell(draw(seed), coverage=coverage if covered else None)
            results[outcome.result] += 1
            drivers += outcome.drivers
            if outcome.broken:
                failed += 1
                simpler = simplest(draw(seed), outcome.broken, kept_too=kept_too)
                say(f"seed {seed}: {outcome.broken[:3]}\n  in its simplest world: {simpler}", flush=True)
    seconds = time.process_time() - began
    rate = (last - first) / seconds
    say(f"{last - first} worlds, {failed} broken, {dict(results)}, {drivers} drivers, {rate:.1f} worlds/s")
    if covered:
        say(coverage.table())
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
