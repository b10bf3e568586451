"""The scoreboard: every figure for every contender on one rig, one table, and the page `docs/scoreboard.md`.

    python -m benchmarks.scoreboard.run [--only CONTENDER …] [--figures F1 F3 …] [--again] [--page]

What the results file holds already is not measured again (`--again` does), so a run that was stopped goes on. The
table and the page are of all that the file holds. `--page` measures nothing.
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
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.run import machine
from benchmarks.scoreboard import page, results
from benchmarks.scoreboard.contender import Contender
from benchmarks.scoreboard.contenders import CONTENDERS
from benchmarks.scoreboard.figures import FIGURES, Play, plays_for
from benchmarks.scoreboard.ground import Ground, ground_of
from benchmarks.scoreboard.results import Board, Cell
from tests.rig.app_images import AppImages
from tests.rig.netns_hosts import Lab, require_hosts
from tests.rig.registry import Registry

from celadon.adapters.clock import SystemClock

RESULTS = Path("scoreboard.json")
LONGEST_PLAY = 900.0  # seconds for the figures of one play
Plays = list[tuple[tuple[str, ...], Play]]


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scoreboard", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=[], help="contenders")
    parser.add_argument("--figures", nargs="*", choices=FIGURES, default=[], help="figures")
    parser.add_argument("--again", action="store_true", help="also what the results hold already")
    parser.add_argument("--minutes", type=float, default=60.0, help="no play begins later than this")
    parser.add_argument("--side-by-side", type=int, default=2, metavar="N", help="contenders at a time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file")
    parser.add_argument("--note", help="the circumstances, in a sentence for the page: what else the machine did")
    parser.add_argument("--page", action="store_true", help="measure nothing: print the table and write the page")
    return parser.parse_args(argv)


class Run:
    """Measures what is asked for, and keeps each result as it comes."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._until: float = time.monotonic() + asked.minutes * 60
        self.board: Board = results.load(asked.results)
        self.board.machine = machine()
        if asked.note is not None:
            self.board.note = asked.note
            results.save(asked.results, self.board)

    async def play(self) -> None:
        """Several contenders side by side, each on hosts of its own."""
        require_hosts()
        registry = Registry()
        waiting = [each for each in CONTENDERS.values() if not self._asked.only or each.name in self._asked.only]
        with contextlib.ExitStack() as stack:  # labs are opened here: who starts a host must outlive it
            stack.callback(registry.close)
            images = AppImages(registry)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._asked.side_by_side, len(waiting))):
                    lab = stack.enter_context(Lab())
                    lab.open(2, registry)
                    group.create_task(self._take(waiting, lab, images, lab.serve_on_loopback(registry)))

    async def _take(self, waiting: list[Contender], lab: Lab, images: AppImages, registry: str) -> None:
        while waiting:
            await self._contender(waiting.pop(0), lab, images, registry)

    async def _contender(self, contender: Contender, lab: Lab, images: AppImages, registry: str) -> None:
        for figure in FIGURES:
            reason = contender.without(figure)
            if reason is not None:
                self._keep(contender, figure, Cell(text="n/a", remark=reason))
        plays = self._wanted(contender)
        try:
            if plays:
                versions = list(await asyncio.to_thread(contender.versions))
                self.board.versions = {**self.board.versions, contender.name: versions}
            while plays and self._in_time():  # a play that broke its ground: the next one begins on a new one
                folder = Path(tempfile.mkdtemp(prefix=f"celadon-scoreboard-{contender.name}-"))
                try:
                    async with ground_of(lab, images, registry, folder, contender) as ground:
                        await self._plays(ground, plays)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
        except Exception as error:  # noqa: BLE001 - as below, for all plays that are left
            for ids, _ in plays:
                self._broke(contender, ids, error)

    async def _plays(self, ground: Ground, plays: Plays) -> None:
        """Take plays off the list while the ground is whole."""
        while plays and self._in_time():
            ids, play = plays.pop(0)
            began = time.monotonic()
            try:
                cells = await asyncio.wait_for(play(ground), LONGEST_PLAY)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this play's result, printed and kept
                self._broke(ground.contender, ids, error)
                return
            for figure, cell in cells.items():
                self._keep(ground.contender, figure, cell)
            self._say(f"  {ground.contender.name}: {' '.join(ids)} took {time.monotonic() - began:.0f} s")

    def _in_time(self) -> bool:
        return time.monotonic() < self._until

    def _wanted(self, contender: Contender) -> Plays:
        asked = self._asked
        return [
            (ids, play)
            for ids, play in plays_for(contender.name)
            if contender.without(ids[0]) is None
            and (not asked.figures or set(ids) & set(asked.figures))
            and (asked.again or any(self.board.cell(contender.name, figure) is None for figure in ids))
        ]

    def _broke(self, contender: Contender, ids: tuple[str, ...], error: BaseException) -> None:
        """It is a result, and stays until `--again`."""
        details = getattr(error, "details", ())
        remark = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        for figure in ids:
            self._keep(contender, figure, Cell(text="broke off", good=False, remark=remark, facts={"said": details}))

    def _keep(self, contender: Contender, figure: str, cell: Cell) -> None:
        when = datetime.fromtimestamp(SystemClock().utc(), UTC).isoformat(timespec="seconds")
        kept = Cell(text=cell.text, good=cell.good, remark=cell.remark, facts=cell.facts, when=when)
        self.board.put(contender.name, figure, kept)
        results.save(self._asked.results, self.board)
        if cell.text != "n/a":
            self._say(f"{contender.name:<14} {figure:<4} {cell.text}  {cell.remark}")

    def _say(self, line: str) -> None:
        print(line, flush=True)


async def _until_told(run: Run) -> None:
    """SIGTERM and SIGINT end it in order: nothing that was started is left."""
    playing = asyncio.ensure_future(run.play())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    await playing


def main(argv: Sequence[str] | None = None) -> None:
    asked = options(argv)
    run = Run(asked)
    if not asked.page:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_told(run))
    sys.stdout.write(page.table(run.board))
    page.write(run.board)
    print(f"written: docs/{page.PAGE.name}")


if __name__ == "__main__":
    main()
