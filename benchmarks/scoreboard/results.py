"""What was measured, as it is kept from one run to the next: one cell a contender and figure, in a JSON file."""

from pathlib import Path
from typing import Any

import msgspec


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the table. `text` is what it shows; `remark` the sentence below it, where one is needed."""

    text: str
    good: bool | None = None  # None: nothing that is good or bad (not applicable, a time)
    remark: str = ""
    facts: dict[str, Any] = {}
    when: str = ""


class Board(msgspec.Struct, kw_only=True):
    """All that one page is written from."""

    machine: str = ""
    note: str = ""  # the circumstances of the run, in a sentence for the page
    versions: dict[str, list[str]] = {}  # by contender
    cells: dict[str, dict[str, Cell]] = {}  # by contender, then figure

    def cell(self, contender: str, figure: str) -> Cell | None:
        return self.cells.get(contender, {}).get(figure)

    def put(self, contender: str, figure: str, cell: Cell) -> None:
        self.cells = {**self.cells, contender: {**self.cells.get(contender, {}), figure: cell}}


def load(file: Path) -> Board:
    return msgspec.json.decode(file.read_bytes(), type=Board) if file.exists() else Board()


def save(file: Path, board: Board) -> None:
    """At once or not at all: a run that is stopped leaves the file as it was."""
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(board), indent=1) + b"\n")
    partial.replace(file)
