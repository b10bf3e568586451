"""The smallest world, exhaustively. With a crash and a wish together it takes a while: that one is slow."""

import pytest

from tests.simulation.mutant_list import MUTANTS
from tests.simulation.search import Broken
from tests.simulation.small_model import explore


@pytest.mark.parametrize(("wish", "crashes"), [("nothing", 1), ("go_back", 0)])
def test_no_interleaving_breaks_a_promise(wish: str, crashes: int) -> None:
    found = explore(wish, crashes=crashes)
    print(found)  # noqa: T201 - the count of states is the point
    assert found.ends
    assert not found.stuck


@pytest.mark.slow
def test_nor_does_a_crash_beside_an_abort() -> None:
    found = explore("go_back")
    print(found)  # noqa: T201 - the count of states is the point
    assert set(found.ends) == {"done", "rolled_back"}
    assert not found.stuck


def test_it_sees_what_is_taken_away() -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.what == "no let_it_be_written")
    with mutant.alive(), pytest.raises(Broken, match="confirmed"):
        explore("go_back", crashes=0)
