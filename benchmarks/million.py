"""Deploys, rollbacks and failed releases in a loop, under load, until so many requests were sent. None may fail.

python -m benchmarks.million [--requests 20000] [--rate 200] [--minutes 180]

It ends with the operation under way. One line an operation on stdout; exit code 3 if any request failed or any stream
was cut.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.figures import Figure, show

from celadon.cli.stage import Stage
from celadon.core.bound import upper_bound
from celadon.core.errors import Unavailable
from celadon.lab.broken import CASES
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess
from celadon.lab.load_report import Report

BAD = ("crash-at-boot", "never-ready", "disk-full", "wrong-port")  # those that must never see a request


class Operations:
    """What the loop does in turn; each leaves one good release serving."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._version = 0
        self.done: Counter[str] = Counter()
        self.turn: tuple[Callable[[], Awaitable[None]], ...] = (
            self.deploy, self.fail, self.deploy, self.back_in_the_bake, self.deploy, self.back_later,
        )  # fmt: skip

    async def deploy(self) -> None:
        await self._run(0, "deploy", await self._release(), "--yes")
        self.done["deploys"] += 1

    async def fail(self) -> None:
        name = BAD[self.done["failed releases"] % len(BAD)]
        await self._run(3, "deploy", await self._release(name), "--yes")
        self.done["failed releases"] += 1

    async def back_in_the_bake(self) -> None:
        await self._run(0, "deploy", await self._release(), "--yes", "--until", "commit")
        await self._run(0, "rollback")
        self.done["rollbacks in the bake"] += 1

    async def back_later(self) -> None:
        await self._run(0, "rollback", "--yes")
        self.done["rollbacks to a kept release"] += 1

    async def _release(self, case: str | None = None) -> str:
        self._version += 1
        version = f"v{self._version}"
        await self._stage.release(version, CASES[case] if case is not None else None)
        return version

    async def _run(self, expected: int, *words: str) -> None:
        ran = await self._stage.celadon(*words, within=300.0)
        if ran.exit != expected:
            message = f"celadon {' '.join(words)} ended with {ran.exit}, not {expected}"
            raise Unavailable(message, details=tuple(ran.err.splitlines()[-20:]))


async def run(requests: int, rate: float, longest: float) -> tuple[Report, Counter[str], float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as folder:
        async with Stage(Path(folder)) as stage:
            operations = Operations(stage)
            await operations.deploy()
            plan = Plan(url=stage.found.url, rate=rate, seconds=longest)
            load = await LoadProcess.start(plan)
            try:
                await _loop(load, operations, requests)
                report = await load.stop()
            finally:
                await load.kill()
    return report, operations.done, time.monotonic() - began


async def _loop(load: LoadProcess, operations: Operations, requests: int) -> None:
    while True:
        for operation in operations.turn:
            await operation()
            report = await load.snapshot()
            total = report.total
            print(
                f"  {total.sent:>9,} requests, {total.failed} failed, {total.cut} cut after {operation.__name__}",
                flush=True,
            )
            if total.sent >= requests or not report.running:
                return


def figures(requests: int, rate: float = 200.0, longest: float = 10_800.0) -> list[Figure]:
    report, done, seconds = asyncio.run(run(requests, rate, longest))
    total = report.total
    for each in report.failures:
        print(f"  {each.at:.1f} s {each.kind}: {each.reason} {each.who or ''}")
    bound = upper_bound(total.failed + total.cut, total.sent - total.waiting)
    told = ", ".join(f"{count} {name}" for name, count in done.items())
    note = f"{told} in {seconds / 60:.1f} min; longest gap between good answers {report.longest_gap * 1000:.0f} ms"
    return [
        Figure("under load: requests sent", total.sent, None, "", note),
        Figure("under load: requests failed", total.failed + total.waiting, 0, "", f"95 % sure: below {bound:.2g}"),
        Figure("under load: streams cut", total.cut, 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--minutes", type=float, default=180.0, help="no longer than this")
    options = parser.parse_args()
    found = figures(options.requests, options.rate, options.minutes * 60)
    show("under load", found)
    sys.exit(3 if any(each.measured for each in found[1:]) else 0)


if __name__ == "__main__":
    main()
