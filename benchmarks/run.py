"""Every benchmark in turn, and the table `docs/benchmarks.md`.

python -m benchmarks.run [--requests 20000] [--only NAME] [--no-table]
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import decide, demo, deploy, lab, million, start
from benchmarks.figures import Figure, show, table

from celadon.adapters.clock import SystemClock
from celadon.core.errors import CeladonError

TABLE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SECTIONS = {
    "start": "Start of the command",
    "decide": "One decision",
    "lab": "The lab",
    "deploy": "A deploy",
    "demo": "The demo",
    "million": "Under load",
}


def decide_figures() -> list[Figure]:
    """The phase that costs more; 4 nodes, and how a node's price grows to 200 of them."""
    found = []
    for phase in ("probe", "bake"):
        small, large = decide.microseconds(1, phase), decide.microseconds(50, phase)
        found.append(Figure(f"`decide` in {phase}, 4 nodes", small, 20, "µs", "best of 7 runs"))
        found.append(
            Figure(f"`decide` in {phase}: a node's price with 200, by that with 4", large / 50 / small, 1, "x")
        )
    return found


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    total = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {total:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def document(found: dict[str, list[Figure] | str], loads: tuple[float, float]) -> str:
    day = datetime.fromtimestamp(SystemClock().utc(), UTC).date().isoformat()
    began, ended = loads
    where = (
        f"Written by `just bench` on {day}: {machine()}. The machine's load average was {began:.1f} when it began and "
        f"{ended:.1f} when it ended; the benchmarks themselves are part of the second. Where other work shares the "
        "cores, seconds say little, ratios of one run say more, and counts and memory are what they are."
    )
    lines = [
        "# What Celadon costs",
        "",
        where,
        "",
        "Targets are the project's own. No test asserts any of these figures.",
    ]
    for name, section in found.items():
        lines += ["", f"## {SECTIONS[name]}", ""]
        lines += [f"Not measured: {section}"] if isinstance(section, str) else table(section)
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="under load; the long run is benchmarks.million")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="some of them; then no table is written")
    options = parser.parse_args()
    every: dict[str, Callable[[], list[Figure]]] = {
        "start": start.figures,
        "decide": decide_figures,
        "lab": lab.figures,
        "deploy": deploy.figures,
        "demo": demo.figures,
        "million": lambda: million.figures(options.requests),
    }
    before = os.getloadavg()[0]
    found: dict[str, list[Figure] | str] = {}
    for name in options.only or SECTIONS:
        try:
            figures = every[name]()
        except CeladonError as error:  # one that fails leaves the others their place in the table
            found[name] = error.message
            print(f"{SECTIONS[name]}: {error.message}", *error.details, sep="\n  ")
        else:
            found[name] = figures
            show(SECTIONS[name], figures)
    if not options.only:
        TABLE.write_text(document(found, (before, os.getloadavg()[0])))
        print(f"written: docs/{TABLE.name}")
    sys.exit(1 if any(isinstance(section, str) for section in found.values()) else 0)


if __name__ == "__main__":
    main()
