"""A share of the torture for a nightly run (`pytest -m nightly`); `just torture` plays all. And its own bookkeeping."""

import asyncio
from pathlib import Path

import pytest
from tests.rig.require import require
from tests.torture import table
from tests.torture.case import Outcome, share
from tests.torture.catalogue import BENCHES, catalogue

SHARES = 2  # of the lab's cases: as many stages as there are cores


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(1, SHARES + 1))
def test_what_happened_did_no_harm(number: int, tmp_path: Path) -> None:
    """Each case on a stage that the one before it left as it should be."""
    cases = share([case for case in catalogue() if case.ci and case.kind == "lab"], number, SHARES)
    assert cases

    async def play() -> list[Outcome]:
        played = []
        async with BENCHES[cases[0].kind](tmp_path) as bench:
            for case in cases:
                played.append(outcome := Outcome(case=case.name))
                await bench.play(outcome, case.play)
                assert outcome.ok or outcome.skipped, table.line(outcome)
        return played

    skipped = [outcome.note for outcome in asyncio.run(play()) if outcome.skipped]
    require(not skipped, f"what these cases need; the others were played: {skipped}")


def test_every_case_has_a_name_of_its_own_and_shares_leave_none_out() -> None:
    cases = list(catalogue())
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) > 300
    assert sorted(name for number in (1, 2, 3) for name in (c.name for c in share(cases, number, 3))) == sorted(names)


def test_the_newest_outcome_of_a_case_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcomes = [Outcome(case="a/1", sent=10, failed=1), Outcome(case="a/1", ok=True, sent=20), Outcome(case="a/2")]
    table.write(log, *outcomes)
    read = table.read(log)
    assert [(each.case, each.sent) for each in read] == [("a/1", 20), ("a/2", 0)]
    assert table.summary(read).splitlines()[-1] == "BAD: a/2"


@pytest.mark.parametrize(
    "bad",
    [
        {"failed": 1},
        {"cut": 1},
        {"leftovers": ["x"]},
        {"problems": ["x"]},
        {"commands": ["x"]},
        {"message_true": False},
        {"sent": 0},
    ],
)
def test_whatever_is_wrong_makes_a_case_bad(bad: dict[str, object]) -> None:
    outcome = Outcome(case="a", sent=5)
    outcome.judge()
    assert outcome.ok
    for name, value in bad.items():
        setattr(outcome, name, value)
    outcome.judge()
    assert not outcome.ok
