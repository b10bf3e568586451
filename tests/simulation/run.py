"""Tell many stories, or one of them in full.

python -m tests.simulation.run --seeds 0 1000 [--coverage]
python -m tests.simulation.run --seed 145 --trace [--shrink]
python -m tests.simulation.run --wide 200000 --out FILE
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from tests.simulation.coverage import Coverage
from tests.simulation.ports import Faults
from tests.simulation.settings import Setting, draw
from tests.simulation.story import tell
from tests.simulation.wide import run_wide, told
from tests.simulation.world import Behaviour

say = print  # what this is for


def shrink(setting: Setting) -> Setting:
    """The same failure in a simpler world: each simplification that keeps it is kept."""
    smaller = True
    while smaller:
        smaller = False
        for simpler in _simpler(setting):
            if simpler != setting and tell(simpler).broken:
                setting, smaller = simpler, True
                break
    return setting


def _simpler(setting: Setting) -> Iterator[Setting]:
    for index in range(len(setting.happenings)):
        yield replace(setting, happenings=setting.happenings[:index] + setting.happenings[index + 1 :])
    for name in Faults.__dataclass_fields__:
        if getattr(setting.faults, name):
            yield replace(setting, faults=replace(setting.faults, **{name: 0.0}))
    plain = Setting(seed=setting.seed)
    for name in Setting.__dataclass_fields__:
        if name not in {"seed", "faults", "happenings", "colours", "lag"}:
            yield replace(setting, **{name: getattr(plain, name)})
    yield replace(setting, candidate=Behaviour())
    if setting.colours > 1 and not setting.happenings:
        yield replace(setting, colours=setting.colours - 1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FROM", "TO"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true", help="what was decided and why, and what the world did")
    parser.add_argument("--shrink", action="store_true", help="a failing world first made as simple as it can be")
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
    if wanted.seed is not None:
        return one(wanted.seed, trace=wanted.trace, smaller=wanted.shrink)
    first, last = wanted.seeds or (0, 200)
    return many(first, last, covered=wanted.coverage)


def one(seed: int, *, trace: bool, smaller: bool) -> int:
    setting = draw(seed)
    if smaller and tell(setting).broken:
        setting = shrink(setting)
    outcome = tell(setting, trace=trace)
    say("\n".join(line[:600] for line in outcome.trace))
    say(setting, outcome.result, *outcome.broken, sep="\n")
    return bool(outcome.broken)


def many(first: int, last: int, *, covered: bool) -> int:
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
                say(f"seed {seed}: {outcome.broken[:3]}\n  in its simplest world: {shrink(draw(seed))}", flush=True)
    seconds = time.process_time() - began
    rate = (last - first) / seconds
    say(f"{last - first} worlds, {failed} broken, {dict(results)}, {drivers} drivers, {rate:.1f} worlds/s")
    if covered:
        say(coverage.table())
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
