"""The one table, for a terminal and as the page `docs/scoreboard.md`. Nothing here measures."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.scoreboard.contenders import CONTENDERS
from benchmarks.scoreboard.figures import FIGURES
from benchmarks.scoreboard.ground import MIX, RATE, SETTLE, SLOW, WITHIN
from benchmarks.scoreboard.results import Board, Cell

PAGE = Path(__file__).parents[2] / "docs" / "scoreboard.md"
WORDS = {
    "bound": "share of requests that fails, at most (95 % sure)",
    "late": "seconds by which the load itself was late, at most: large means a busy machine",
    "per_deploy": "failed, by deploy",
    "kinds": "failed, by kind of request",
    "seconds": "seconds of the command",
}
NOT_YET = "not measured"
MOST = 12  # lines of one kind
CROSSED = {"F7": "kinds", "F8": "servers"}  # the figures that have a table of their own, and the fact that it shows
METHOD = Path(__file__).with_name("method.md")


def table(board: Board) -> str:
    """Figures down, contenders across; a cell that is not good has a `!` before it."""
    rows = [["", *(each.title for each in CONTENDERS.values())]]
    rows += [
        [f"{figure.id} {figure.title}", *(shown(board.cell(name, figure.id)) for name in CONTENDERS)]
        for figure in FIGURES.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def shown(cell: Cell | None) -> str:
    if cell is None:
        return NOT_YET
    return f"! {cell.text}" if cell.good is False else cell.text


def write(board: Board, file: Path = PAGE) -> None:
    file.write_text("\n".join(lines(board)) + "\n")


def lines(board: Board) -> Iterator[str]:
    yield from head(board)
    yield from ("", "## The table", "")
    yield from markdown_table(board)
    yield from ("", "## What stands behind a cell", "")
    yield from details(board)


def head(board: Board) -> Iterator[str]:
    days = sorted({cell.when[:10] for cells in board.cells.values() for cell in cells.values() if cell.when})
    yield from ("# Scoreboard", "")
    yield "Celadon and what people use instead, measured on one rig under the same load. Written by `just scoreboard`"
    when = " to ".join(dict.fromkeys((*days[:1], *days[-1:]))) or "no day"
    yield f"from a real run of {when} on {board.machine or 'no machine'}."
    yield "Bad cells are printed for everyone alike." + f" {board.note}".rstrip()
    yield from ("", "## Method", "")
    mix = ", ".join(f"{share} % {kind}" for kind, share in MIX.items())
    method = METHOD.read_text()
    yield method.format(rate=RATE, mix=mix, least=SLOW[0], most=SLOW[1], within=WITHIN, settle=SETTLE).rstrip()
    yield from ("", "| contender | how it deploys | exact versions |", "| --- | --- | --- |")
    for name, each in CONTENDERS.items():
        versions = "; ".join(board.versions.get(name, [NOT_YET]))
        yield f"| {each.title} | {each.method} | {versions} |"
    yield from ("", "| figure | how it is measured | what is good |", "| --- | --- | --- |")
    for figure in FIGURES.values():
        yield f"| {figure.id} {figure.title} | {figure.how} | {figure.good} |"


def markdown_table(board: Board) -> Iterator[str]:
    yield "| | " + " | ".join(each.title for each in CONTENDERS.values()) + " |"
    yield "| --- |" + " --- |" * len(CONTENDERS)
    for figure in FIGURES.values():
        cells = " | ".join(marked(board.cell(name, figure.id)) for name in CONTENDERS)
        yield f"| **{figure.id}** {figure.title} | {cells} |"


def marked(cell: Cell | None) -> str:
    text = escaped(shown(cell))
    return f"**{text}**" if cell is not None and cell.good is False else text


def details(board: Board) -> Iterator[str]:
    """What was kept of each measurement: a table where it has parts with names, else lines."""
    for figure in FIGURES.values():
        yield from (f"### {figure.id}: {figure.title}", "")
        shown_as_table = CROSSED.get(figure.id, "")
        if shown_as_table:
            yield from (*_crossed(board, figure.id, shown_as_table), "")
        for name, each in CONTENDERS.items():
            cell = board.cell(name, figure.id)
            yield f"- {each.title}: {escaped(shown(cell))}{_remark(cell)}"
            yield from (f"  - {escaped(line)}" for line in facts(cell, besides=shown_as_table))
        yield ""


def _crossed(board: Board, figure: str, fact: str) -> Iterator[str]:
    """Parts down, contenders across."""
    cells = {name: cell for name in CONTENDERS if (cell := board.cell(name, figure)) is not None and fact in cell.facts}
    parts = {name: _flat(cell.facts[fact]) for name, cell in cells.items()}
    yield "| | " + " | ".join(CONTENDERS[name].title for name in cells) + " |"
    yield "| --- |" + " --- |" * len(cells)
    for part in dict.fromkeys(part for its in parts.values() for part in its):
        yield f"| {part} | " + " | ".join(escaped(its.get(part, "")) for its in parts.values()) + " |"


def _flat(parts: dict[str, Any]) -> dict[str, str]:
    """`{"gunicorn": {"fast": [60, 0]}}` is `{"gunicorn, fast": "0 of 60"}`."""
    found: dict[str, str] = {}
    for name, value in parts.items():
        if isinstance(value, dict):
            found |= {f"{name}, {key}": text for key, text in _flat(value).items()}
        else:
            found[name] = _plain(value)
    return found


def _remark(cell: Cell | None) -> str:
    return f" ({escaped(cell.remark)})" if cell is not None and cell.remark else ""


def facts(cell: Cell | None, besides: str = "") -> Iterator[str]:
    """What was kept of a measurement, a line each."""
    for name, value in cell.facts.items() if cell is not None else ():
        if not value or name in (besides, "sent", "harmed"):  # the cell itself says those
            continue
        words = WORDS.get(name, name.replace("_", " "))
        if name == "failures":  # "1.5 s slow: status 503": the first 20 of each load
            reasons = Counter(str(line).partition(": ")[2] for line in value)
            yield "of the failures, by reason (20 a load are kept): " + ", ".join(
                f"{reason} x {count}" for reason, count in reasons.most_common(5)
            )
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            yield from (f"{words}: {item}" for item in value[:MOST])
        elif isinstance(value, dict):
            yield f"{words}: " + "; ".join(f"{key} {text}" for key, text in _flat(value).items())
        else:
            yield f"{words}: {_plain(value)}"


def _plain(value: object) -> str:
    match value:
        case float():
            return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
        case [int(first), int(second)]:
            return f"{second} of {first}"
        case [*items]:
            return ", ".join(_plain(item) for item in items)
        case dict():
            return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
        case _:
            return str(value)


def escaped(text: str) -> str:
    """As a cell of a table takes it: on one line, nothing of it Markdown."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#" else letter for letter in plain)
