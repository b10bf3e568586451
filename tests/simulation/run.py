"""Tell many stories, or one of them in full.

python -m tests.simulation.run --seeds 0 1000
python -m tests.simulation.run --seed 145 --trace
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.ports import Faults
from tests.simulation.story import Setting, draw, tell
from tests.simulation.world import Behaviour


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
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    wanted = parser.parse_args()
    if wanted.seed is not None:
        return one(wanted.seed, trace=wanted.trace, smaller=wanted.shrink)
    first, last = wanted.seeds or (0, 200)
    return many(first, last)


def one(seed: int, *, trace: bool, smaller: bool) -> int:
    setting = draw(seed)
    if smaller and tell(setting).broken:
        setting = shrink(setting)
    outcome = tell(setting, trace=trace)
    print("\n".join(line[:600] for line in outcome.trace))  # noqa: T201 - what it is for
    print(setting, outcome.result, *outcome.broken, sep="\n")  # noqa: T201 - what it is for
    return bool(outcome.broken)


def many(first: int, last: int) -> int:
    began, failed, results, drivers = time.process_time(), 0, Counter[str](), 0
    for seed in range(first, last):
        outcome = tell(draw(seed))
        results[outcome.result] += 1
        drivers += outcome.drivers
        if outcome.broken:
            failed += 1
            print(f"seed {seed}: {outcome.broken[:3]}", flush=True)  # noqa: T201 - what it is for
    seconds = time.process_time() - began
    rate = (last - first) / seconds
    print(f"{last - first} worlds, {failed} broken, {dict(results)}, {drivers} drivers, {rate:.1f} worlds/s")  # noqa: T201 - what it is for
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
