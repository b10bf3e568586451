"""The load as a process: what it is told on its command line and stdin, what it says on stdout, and its owner's side.

    python -m celadon.lab.load --url http://127.0.0.1:8080 --rate 200 --seconds 60 --every 5

stdout is JSON Lines: `{"event": "started"}`, every `--every` seconds a `snapshot`, at the end a `report`; both hold a
`load_report.Report` and its sums. A stdin that is a pipe is read line by line: `mark NAME` begins an act, `snapshot`
asks for one, `stop` ends. With `--owned` the end of stdin ends the load too: it never outlives whoever started it.
Exit code: 0 if no request failed and no stream was cut, 3 if any was.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Sequence
from typing import Final, Literal, Self

import msgspec

from celadon.core.errors import CeladonError, NoAnswer, Refused, Unavailable
from celadon.core.release import Seconds
from celadon.lab.load import Load
from celadon.lab.load_kinds import MIX, Plan
from celadon.lab.load_report import Counts, Report

LONGEST_LINE = 1024 * 1024


class Said(msgspec.Struct, frozen=True):
    """One line of the load's stdout."""

    event: Literal["started", "marked", "snapshot", "report"]
    report: Report | None = None
    total: Counts | None = None
    failure_bound: float | None = None

    @classmethod
    def of(cls, event: Literal["snapshot", "report"], report: Report) -> Self:
        return cls(event, report, report.total, report.failure_bound)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    try:
        report = asyncio.run(_run(Load(_plan(options)), options.every, owned=options.owned))
    except CeladonError as error:
        sys.stderr.write(f"error: {error.message}\n")
        sys.exit(error.exit_code)
    total = report.total
    sys.exit(3 if total.failed or total.cut or total.waiting else 0)


class LoadProcess:
    """A load in a process of its own, from its owner's side: `start`, `mark`, `snapshot`, `stop`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process: Final = process

    @classmethod
    async def start(cls, plan: Plan, deadline: Seconds = 30.0, *, enter: Sequence[str] = ()) -> Self:
        """Returns when the first request is on its way. `enter`: words before the command, as `nsenter` wants them."""
        process = await asyncio.create_subprocess_exec(
            *enter, sys.executable, "-m", "celadon.lab.load", *_arguments(plan), "--owned",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE,
        )  # fmt: skip
        load = cls(process)
        try:
            await load._expect("started", deadline)
        except BaseException:
            await load.kill()
            raise
        return load

    @property
    def pid(self) -> int:
        return self._process.pid

    async def mark(self, act: str, deadline: Seconds = 30.0) -> None:
        """When this returns, requests belong to `act`. A line: no control characters."""
        await self._tell(f"mark {act}")
        await self._expect("marked", deadline)

    async def snapshot(self, deadline: Seconds = 30.0) -> Report:
        await self._tell("snapshot")
        return await self._report("snapshot", deadline)

    async def stop(self, deadline: Seconds = 60.0) -> Report:
        """Waits for the answers that are still to come, then for the process's end."""
        await self._tell("stop")
        report = await self._report("report", deadline)
        await self.kill()
        return report

    async def wait(self, deadline: Seconds) -> Report:
        """Until it is done by itself."""
        report = await self._report("report", deadline)
        await self.kill()
        return report

    async def kill(self) -> None:
        """At once, and for certain. Harmless when it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with pipes
        if not line.isprintable():
            raise ValueError("an act's name is one line")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            raise Unavailable("the load has ended") from None

    async def _report(self, event: str, deadline: Seconds) -> Report:
        said = await self._expect(event, deadline)
        if said.report is None:
            raise Unavailable(f"the load said {event!r} without a report")
        return said.report

    async def _expect(self, event: str, deadline: Seconds) -> Said:
        assert self._process.stdout is not None  # noqa: S101 - it was started with pipes
        try:
            async with asyncio.timeout(deadline):
                while line := await self._process.stdout.readline():
                    said = msgspec.json.decode(line, type=Said)
                    if said.event == event:
                        return said
        except TimeoutError:
            raise NoAnswer(f"the load did not say {event!r} in {deadline:g} s") from None
        raise Unavailable(f"the load ended before it said {event!r}", hint="its stderr says why")


async def _run(load: Load, every: Seconds, *, owned: bool) -> Report:
    """Until its time is over, it is told to stop, or (if owned) its owner is gone."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    await load.start()
    _say(Said("started"))
    told, ended = asyncio.create_task(done.wait()), asyncio.create_task(load.wait())
    tasks = {
        told,
        ended,
        asyncio.create_task(_obey(load, done, owned=owned)),
        asyncio.create_task(_repeat(load, every)),
    }
    running = tasks
    while told in running and ended in running:
        finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    report = await load.stop()
    _say(Said.of("report", report))
    return report


async def _obey(load: Load, done: asyncio.Event, *, owned: bool) -> None:
    kind = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        if owned:
            raise Refused("--owned needs a stdin that is a pipe: its end is what ends the load")
        return  # a terminal, a file or /dev/null says nothing
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.decode("utf-8", "replace").strip().partition(" "):
            case ("mark", _, act):
                load.mark(act)
                _say(Said("marked"))
            case ("snapshot", _, _):
                _say(Said.of("snapshot", load.snapshot()))
            case ("stop", _, _):
                done.set()
                return
            case (other, _, _):
                sys.stderr.write(f"unknown: {other!r} (mark NAME, snapshot, stop)\n")
    if owned:
        done.set()


async def _repeat(load: Load, every: Seconds) -> None:
    while every > 0:
        await asyncio.sleep(every)
        _say(Said.of("snapshot", load.snapshot()))


def _say(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


def _plan(options: argparse.Namespace) -> Plan:
    try:
        mix = {name: int(share) for name, share in map(_pair, options.mix.split(","))} if options.mix else dict(MIX)
    except ValueError:
        raise Refused(f"--mix {options.mix!r} is not KIND=SHARE,...") from None
    return Plan(
        url=options.url,
        rate=options.rate,
        seconds=options.seconds,
        count=options.count,
        mix=mix,
        paths=dict(map(_pair, options.path)),
        slow=(options.slow[0], options.slow[1]),
        stream=(int(options.stream[0]), options.stream[1]),
        deadline=options.deadline,
        release_header=options.release_header.lower(),
        release_pattern=options.release_pattern,
        seed=options.seed,
    )


def _two(text: str) -> tuple[float, float]:
    first, _, second = text.partition(",")
    return float(first), float(second)


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name.strip(), value


def _arguments(plan: Plan) -> list[str]:
    """The command line that makes this plan. It holds no secret: a load has none."""
    return [
        f"--url={plan.url}", f"--rate={plan.rate}", f"--seconds={plan.seconds}", f"--count={plan.count}",
        f"--deadline={plan.deadline}", f"--release-header={plan.release_header}",
        f"--release-pattern={plan.release_pattern}", f"--seed={plan.seed}",
        f"--slow={plan.slow[0]},{plan.slow[1]}", f"--stream={plan.stream[0]},{plan.stream[1]}",
        "--mix=" + ",".join(f"{kind}={share}" for kind, share in plan.mix.items()),
        *(f"--path={kind}={path}" for kind, path in plan.paths.items()),
    ]  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m celadon.lab.load", description="An open-loop load.")
    parser.add_argument("--url", required=True, help="http://host:port")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--count", type=int, default=10_000_000, help="no more requests than this")
    parser.add_argument("--mix", default="", help="new=60,keep=20,post=10,slow=4,sse=3,ws=3")
    parser.add_argument("--path", action="append", default=[], help="KIND=PATH, as often as needed")
    parser.add_argument("--slow", type=_two, default=(2.0, 5.0), help="LEAST,MOST seconds of a slow request")
    parser.add_argument("--stream", type=_two, default=(8, 0.25), help="COUNT,SECONDS: events and time between two")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds for an answer")
    parser.add_argument("--release-header", default="x-release")
    parser.add_argument("--release-pattern", default="", help="a regular expression over bodies")
    parser.add_argument("--every", type=float, default=0.0, help="a snapshot every so many seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--owned", action="store_true", help="end when stdin ends")
    return parser
