"""What every benchmark gives back: figures with a target beside each. Measuring is elsewhere; nothing here asserts."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured value. `target`: at most this; None where the issue sets none."""

    what: str
    measured: float
    target: float | None
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> str:
        if self.target is None:
            return ""
        return "yes" if self.measured <= self.target else "**no**"


def show(title: str, figures: Sequence[Figure]) -> None:
    """As lines, for a terminal."""
    print(title)
    for each in figures:
        target = ""
        if each.target is not None:
            target = f" (target {_number(each.target)}{_unit(each.unit)}: {each.met.strip('*')})"
        note = f"  {each.note}" if each.note else ""
        print(f"  {each.what:<66} {_number(each.measured)}{_unit(each.unit)}{target}{note}", flush=True)


def table(figures: Sequence[Figure]) -> list[str]:
    """As rows of Markdown."""
    rows = ["| what | measured | target | met | remark |", "| --- | ---: | ---: | --- | --- |"]
    for each in figures:
        target = "" if each.target is None else f"≤ {_number(each.target)}{_unit(each.unit)}"
        measured = f"{_number(each.measured)}{_unit(each.unit)}"
        rows.append(f"| {each.what} | {measured} | {target} | {each.met} | {each.note} |")
    return rows


def alternating(works: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each, run in turns, so that whatever else the machine does disturbs all of them alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, took in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            took.append(time.perf_counter() - began)
    return [statistics.median(took) for took in times]


def memory(pid: int, field: str) -> float:
    """MiB from /proc/PID/status (VmHWM: the peak) or /proc/PID/smaps_rollup (Pss: shared pages divided)."""
    name = "smaps_rollup" if field == "Pss" else "status"
    for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def descendants(pid: int) -> list[int]:
    """This process's children, theirs, and so on, as far as they are still its own."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (int(word) for word in (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"


def _unit(unit: str) -> str:
    return "x" if unit == "x" else f" {unit}" if unit else ""
