"""Play the torture: every crash, fault, bad release and server, each a named case on shared stages under load.

    python -m tests.torture.run [--only NAME…] [--share K/N] [--stages N] [--minutes M] [--log FILE…] [--again] [--docs]

Cases that the log holds already are not played again (`--again` does); so a run that was stopped goes on. `--only`
takes the beginning of names. The table is of all cases in the log.
"""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.torture import pages, table
from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome, share
from tests.torture.catalogue import BENCHES, catalogue

LOG = Path("torture.jsonl")


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of names")
    parser.add_argument("--share", default="1/1", help="K/N: every N-th case, from the K-th on")
    parser.add_argument("--stages", type=int, default=2, help="how many are played side by side")
    parser.add_argument("--minutes", type=float, default=58.0, help="no case begins later than this")
    parser.add_argument("--log", type=Path, default=LOG, help="JSON Lines, one outcome a line")
    parser.add_argument("--again", action="store_true", help="also what the log holds already")
    parser.add_argument("--list", action="store_true", help="names only")
    parser.add_argument("--docs", action="store_true", help="write what the log holds into docs/")
    return parser.parse_args(argv)


def chosen(asked: argparse.Namespace) -> list[Case]:
    number, of = (int(part) for part in asked.share.split("/"))
    found = list(catalogue())
    if asked.only:  # in the order in which they were asked for
        found = [case for start in dict.fromkeys(asked.only) for case in found if case.name.startswith(start)]
        found = list({case.name: case for case in found}.values())
    found = share(found, number, of)
    done = set() if asked.again else {outcome.case for outcome in table.read(asked.log) if outcome.ok}
    return [case for case in found if case.name not in done]


class Run:
    """Takes cases off one list, several benches at a time; a bench that a case spoiled is replaced."""

    def __init__(self, cases: list[Case], log: Path, minutes: float) -> None:
        self._cases = cases
        self._log = log
        self._until = time.monotonic() + minutes * 60
        self.played: list[Outcome] = []
        self.missed = 0

    async def play(self, stages: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(stages, len(self._cases))):
                group.create_task(self._work())

    def _next(self, kind: str | None) -> Case | None:
        """The next case; the kind of stage that stands already is preferred."""
        if time.monotonic() > self._until:
            self.missed, self._cases = self.missed + len(self._cases), []
        for case in self._cases:
            if kind in (None, case.kind):
                self._cases.remove(case)
                return case
        return self._next(None) if self._cases else None

    async def _work(self) -> None:
        case = self._next(None)
        while case is not None:
            kind = case.kind
            folder = Path(tempfile.mkdtemp(prefix="celadon-torture-"))
            try:
                async with BENCHES[kind](folder) as bench:
                    while case is not None and case.kind == kind:
                        usable = await self._case(bench, case)
                        case = self._next(kind)
                        if not usable:
                            break
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    async def _case(self, bench: Bench, case: Case) -> bool:
        outcome = Outcome(case=case.name, began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        await bench.play(outcome, case.play)
        self.played.append(outcome)
        table.write(self._log, outcome)
        sys.stdout.write(table.line(outcome) + "\n")
        sys.stdout.flush()
        return outcome.ok or outcome.skipped or await bench.mend()


async def _until_told(run: Run, stages: int) -> None:
    """SIGTERM and SIGINT end it in order: nothing that was started is left."""
    playing = asyncio.ensure_future(run.play(stages))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    await playing


def main(argv: Sequence[str] | None = None) -> None:
    asked = options(argv)
    cases = chosen(asked)
    if asked.list:
        sys.stdout.write("".join(f"{case.name}\n" for case in cases))
        return
    run = Run(cases, asked.log, asked.minutes)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_until_told(run, asked.stages))
    outcomes = table.read(asked.log)
    sys.stdout.write(table.summary(outcomes, missed=run.missed))
    if asked.docs:
        pages.write(outcomes)
    sys.exit(0 if all(outcome.ok or outcome.skipped for outcome in run.played) and not run.missed else 3)


if __name__ == "__main__":
    main()
