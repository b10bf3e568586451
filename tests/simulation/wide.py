"""So many worlds that they take hours: split over cores, resumed where they were left, recorded as they end.

python -m tests.simulation.run --wide 200000 --out FILE [--cores N]
"""

import os
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

import msgspec

from tests.simulation.settings import draw
from tests.simulation.story import tell

BLOCK = 100  # worlds that are told and recorded together


class Record(msgspec.Struct):
    """What is known so far. `done`: the blocks that are in it."""

    first: int
    worlds: int
    done: list[int] = []
    seconds: float = 0.0  # of the cores, together
    totals: dict[str, int] = {}
    results: dict[str, int] = {}
    faults: dict[str, int] = {}
    broken: dict[int, list[str]] = {}


class Part(msgspec.Struct):
    block: int
    seconds: float
    totals: dict[str, int]
    results: dict[str, int]
    faults: dict[str, int]
    broken: dict[int, list[str]]


def tell_block(block: int, first: int, last: int) -> Part:
    began = time.process_time()
    totals: Counter[str] = Counter()
    results: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    broken: dict[int, list[str]] = {}
    for seed in range(first, last):
        outcome = tell(draw(seed))
        world = outcome.world
        results[outcome.result] += 1
        faults.update(world.faults)
        totals.update(
            worlds=1,
            decisions=outcome.decisions,
            drivers=outcome.drivers,
            requests=world.sent,
            lost=len(world.lost),
            harmed=world.harmed,
            exposed=world.exposed,
            simulated_seconds=int(outcome.seconds),
        )
        if outcome.broken:
            broken[seed] = outcome.broken[:3]
    return Part(block, time.process_time() - began, dict(totals), dict(results), dict(faults), broken)


def run_wide(worlds: int, out: Path, *, first: int = 0, cores: int = 0, seconds: float = float("inf")) -> Record:
    """Resumes `out` where it is of the same worlds; stops after so many seconds, to be gone on with later."""
    record = msgspec.json.decode(out.read_bytes(), type=Record) if out.exists() else Record(first, worlds)
    if record.first != first:
        raise SystemExit(f"{out} is of worlds from {record.first}, not from {first}")
    record.worlds = max(record.worlds, worlds)
    done = set(record.done)
    left = [block for block in range(-(-worlds // BLOCK)) if block not in done]
    until = time.monotonic() + seconds
    with ProcessPoolExecutor(cores or os.cpu_count()) as pool:
        running: set[Future[Part]] = set()
        while left or running:
            while left and len(running) < (cores or os.cpu_count() or 1) + 1 and time.monotonic() < until:
                block = left.pop(0)
                last = min(first + (block + 1) * BLOCK, first + worlds)
                running.add(pool.submit(tell_block, block, first + block * BLOCK, last))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                _add(record, future.result())
            write(record, out)
    return record


def _add(record: Record, part: Part) -> None:
    record.done.append(part.block)
    record.seconds += part.seconds
    for into, more in ((record.totals, part.totals), (record.results, part.results), (record.faults, part.faults)):
        for key, count in more.items():
            into[key] = into.get(key, 0) + count
    record.broken.update(part.broken)


def write(record: Record, out: Path) -> None:
    """Whole or not at all: whoever stops it here finds the file as it was."""
    beside = out.with_suffix(".part")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    beside.replace(out)


def told(record: Record) -> str:
    totals = record.totals
    worlds = totals.get("worlds", 0)
    hours = totals.get("simulated_seconds", 0) / 3600
    faults = sum(record.faults.values())
    lines = [
        f"{worlds} of {record.worlds} worlds, {len(record.broken)} broken, {record.results}",
        f"{totals.get('decisions', 0)} decisions of {totals.get('drivers', 0)} drivers in {hours:.0f} simulated hours",
        f"{record.faults.get('crash', 0)} crashes, {faults} faults in all: {record.faults}",
        (
            f"{totals.get('requests', 0)} requests, {totals.get('lost', 0)} lost by Celadon, "
            f"{totals.get('harmed', 0)} by what befell them, {totals.get('exposed', 0)} at a lone unchecked net"
        ),
        f"{worlds / record.seconds:.1f} worlds/s a core" if record.seconds else "",
        *(f"seed {seed}: {broken}" for seed, broken in sorted(record.broken.items())),
    ]
    return "\n".join(line for line in lines if line)
