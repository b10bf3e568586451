"""How many simulated worlds a core tells in a second, and where the time goes. Prints; asserts nothing.

python -m benchmarks.simulate
"""

import cProfile
import pstats
import time

from tests.simulation.settings import draw
from tests.simulation.story import tell

WORLDS = 200
PARTS = ("world.py", "ports.py", "promises.py", "asyncio", "core", "drive", "virtual.py")


def worlds_a_second(worlds: int = WORLDS) -> float:
    began = time.process_time()
    for seed in range(worlds):
        tell(draw(seed))
    return worlds / (time.process_time() - began)


def shares(worlds: int = WORLDS // 4) -> dict[str, float]:
    """Of the time under a profiler, by where it was spent itself."""
    profile = cProfile.Profile()
    profile.enable()
    for seed in range(worlds):
        tell(draw(seed))
    profile.disable()
    spent = dict.fromkeys((*PARTS, "the rest"), 0.0)
    for (file, _line, _name), (_calls, _primitive, own, *_more) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        part = next((part for part in PARTS if f"/{part}" in file), "the rest")
        spent[part] += own
    whole = sum(spent.values())
    return {part: own / whole for part, own in spent.items()}


def main() -> None:
    print(f"{worlds_a_second():.1f} worlds/s on one core; wanted: 30, and one day 100")
    for part, share in sorted(shares().items(), key=lambda item: -item[1]):
        print(f"  {part:12} {share:4.0%}")


if __name__ == "__main__":
    main()
