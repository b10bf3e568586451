"""The scoreboard's table and page; no contender leaves a figure without an answer. Nothing is measured here."""

import asyncio
from pathlib import Path

import pytest
from benchmarks.scoreboard import page, results
from benchmarks.scoreboard.contenders import CONTENDERS
from benchmarks.scoreboard.figures import FIGURES, plays_for
from benchmarks.scoreboard.results import Board, Cell
from benchmarks.scoreboard.run import options
from benchmarks.scoreboard.tree import end, family

every = pytest.mark.parametrize("name", CONTENDERS)


def board_with(**cells: Cell) -> Board:
    return Board(cells={"celadon": cells})


@every
def test_every_figure_is_measured_or_there_is_a_reason(name: str) -> None:
    measured = [figure for figures, _ in plays_for(name) for figure in figures]
    for figure in FIGURES:
        reason = CONTENDERS[name].without(figure)
        assert figure in measured if reason is None else len(reason) > 10, figure
    assert len(measured) == len(set(measured))
    assert set(measured) <= FIGURES.keys()


def test_celadon_is_let_off_nothing() -> None:
    assert [figure for figure in FIGURES if CONTENDERS["celadon"].without(figure)] == []


def test_the_table_has_all_and_marks_what_is_bad() -> None:
    board = board_with(F1=Cell(text="3 of 900", good=False), F2=Cell(text="0 of 900", good=True))
    head, *rows = page.table(board).splitlines()
    assert all(each.title in head for each in CONTENDERS.values())
    assert [row.split()[0] for row in rows] == list(FIGURES)
    assert "! 3 of 900" in rows[0]
    assert rows[1].count("!") == 0
    assert rows[2].count(page.NOT_YET) == len(CONTENDERS)


def test_the_page_shows_a_bad_cell_with_its_remark_and_what_is_behind_it(tmp_path: Path) -> None:
    kinds = {"crash": "noticed in 4 s"}
    bad = Cell(
        text="3 of 900", good=False, remark="1 of 3 did not end well", facts={"failures": ["1.0 s new: status 503"]}
    )
    board = board_with(F1=bad, F7=Cell(text="1 of 8 noticed", facts={"kinds": kinds, "nothing": []}))
    board.cells["celadon"]["F2"] = Cell(text="n/a", remark="it has none")
    file = tmp_path / "scoreboard.md"
    page.write(board, file)
    text = file.read_text()
    assert "**! 3 of 900**" in text
    assert "1 of 3 did not end well" in text
    assert "status 503 x 1" in text
    assert "| crash | noticed in 4 s |" in text
    assert "n/a (it has none)" in text
    assert "nothing" not in text.partition("## What stands")[2]


def test_what_a_program_said_is_not_markup() -> None:
    assert page.escaped("a|b <x>\n[y](z) `w`") == "a\\|b \\<x\\> \\[y\\](z) \\`w\\`"


def test_a_board_is_kept_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "scoreboard.json"
    assert results.load(file) == Board()
    board = board_with(F1=Cell(text="0 of 900", good=True, facts={"per_deploy": [0, 0]}))
    board.put("ansible", "F4", Cell(text="n/a", remark="it does not talk to the API"))
    results.save(file, board)
    assert results.load(file) == board
    assert [path.name for path in tmp_path.iterdir()] == ["scoreboard.json"]


def test_names_on_the_command_line() -> None:
    asked = options(["--only", "celadon", "compose", "--figures", "F1", "F3"])
    assert (asked.only, asked.figures) == (["celadon", "compose"], ["F1", "F3"])
    with pytest.raises(SystemExit):
        options(["--only", "kamal"])


async def test_a_deployer_dies_with_all_that_it_started() -> None:
    """Also what went into a session of its own."""
    script = "setsid sleep 60 & sleep 60 & echo; wait"
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    its = family(process.pid)
    assert len(its) == 3
    end(its)
    await asyncio.wait_for(process.wait(), 20)
    assert process.returncode == -9
