"""The log as people read it: a line a case while it runs, sums by group at the end, Markdown for the docs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from tests.torture.case import Outcome

HEAD = ("group", "cases", "well", "requests", "failed", "cut", "commands", "longest", "left over", "false messages")


def read(log: Path) -> list[Outcome]:
    """The newest outcome of each case, in the order of their names."""
    newest: dict[str, Outcome] = {}
    if log.exists():
        for line in log.read_bytes().splitlines():
            outcome = msgspec.json.decode(line, type=Outcome)
            newest[outcome.case] = outcome
    return [newest[name] for name in sorted(newest)]


def write(log: Path, *outcomes: Outcome) -> None:
    with log.open("ab") as file:
        file.writelines(msgspec.json.encode(outcome) + b"\n" for outcome in outcomes)


def line(outcome: Outcome) -> str:
    mark = "ok  " if outcome.ok else "----" if outcome.skipped else "BAD "
    told = (
        f"{mark}{outcome.case:<34} {outcome.failed + outcome.cut:>3} of {outcome.sent:<5} failed"
        f"  {outcome.seconds:>6.1f} s  exits {outcome.exits}  {outcome.note}"
    )
    worse = [*outcome.problems, *outcome.leftovers, *outcome.facts.get("failures", ())] if not outcome.ok else []
    return "\n".join([told, *(f"      {each[:1500]}" for each in worse)])


def rows(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, ...]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.case.partition("/")[0], []).append(outcome)
    for name, its in groups.items():
        yield (
            name,
            str(len(its)),
            str(sum(each.ok for each in its)),
            f"{sum(each.sent for each in its):,}",
            str(sum(each.failed for each in its)),
            str(sum(each.cut for each in its)),
            str(sum(len(each.commands) for each in its)),
            f"{max(each.seconds for each in its):.0f} s",
            str(sum(len(each.leftovers) for each in its)),
            str(sum(not each.message_true for each in its)),
        )


def summary(outcomes: list[Outcome], *, missed: int = 0) -> str:
    lines = [HEAD, *rows(outcomes)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(HEAD))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]
    text += [f"BAD: {each.case}" for each in outcomes if not each.ok and not each.skipped]
    if missed:
        text.append(f"{missed} cases were not reached in time: run it again, it goes on from the log")
    return "\n".join(text) + "\n"


def why(outcome: Outcome) -> str:
    """The first thing that is not as it must be, on one line."""
    found = [*outcome.problems, *outcome.leftovers, *outcome.facts.get("failures", ())]
    return " ".join((found[0] if found else "its message was not true").split())[:300]
