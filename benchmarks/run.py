"""Every benchmark in turn, and the table `docs/benchmarks.md`.

python -m benchmarks.run [--requests 20000] [--only NAME]
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import decide, demo, deploy, infra, lab, million, start
from benchmarks.figures import Figure, show, table

from celadon.adapters.clock import SystemClock
from celadon.core.errors import CeladonError

TABLE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# What Celadon costs

Written by `just bench` on {machine}. Where other work shares the cores, seconds say little, ratios of one run say
more, and counts and memory are what they are. Targets are the project's own; no test asserts any of these figures.
"""
SECTIONS = {
    "start": "Start of the command",
    "decide": "One decision",
    "lab": "The lab",
    "deploy": "A deploy",
    "infra": "Infrastructure",
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


def section(name: str, measured: list[Figure] | str, loads: tuple[float, float]) -> str:
    """`loads`: the machine's load average before and after."""
    day = datetime.fromtimestamp(SystemClock().utc(), UTC).date().isoformat()
    rows = [f"Not measured: {measured}"] if isinstance(measured, str) else table(measured)
    when = f"{day}; load average {loads[0]:.1f} before, {loads[1]:.1f} after, of which the second has this in it."
    return "\n".join([f"## {SECTIONS[name]}", "", when, "", *rows, ""])


def write(sections: dict[str, str]) -> None:
    """The table anew; sections that were not measured now stay as they were."""
    before = TABLE.read_text().split("\n## ")[1:] if TABLE.exists() else []
    kept = {text.partition("\n")[0]: f"## {text.rstrip()}\n" for text in before}
    kept |= {SECTIONS[name]: text for name, text in sections.items()}
    TABLE.write_text("\n".join([HEAD.format(machine=machine()), *(kept[t] for t in SECTIONS.values() if t in kept)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="under load; the long run is benchmarks.million")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure some; the others' figures stay")
    parser.add_argument("--hosts", type=int, default=deploy.MANY, help="a colour, in the larger deploy")
    options = parser.parse_args()
    every: dict[str, Callable[[], list[Figure]]] = {
        "start": start.figures,
        "decide": decide_figures,
        "lab": lab.figures,
        "deploy": lambda: deploy.figures(options.hosts),
        "infra": infra.figures,
        "demo": demo.figures,
        "million": lambda: million.figures(options.requests),
    }
    failed = False
    for name in options.only or SECTIONS:
        before = os.getloadavg()[0]
        measured: list[Figure] | str
        try:
            measured = every[name]()
        except CeladonError as error:  # one that fails leaves the others their place in the table
            measured, failed = error.message, True
            print(f"{SECTIONS[name]}: {error.message}", *error.details, sep="\n  ")
        else:
            show(SECTIONS[name], measured)
        write({name: section(name, measured, (before, os.getloadavg()[0]))})
    print(f"written: docs/{TABLE.name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
