"""Safety taken away must be noticed. Each mutant here is killed in the world it names; the whole hunt is run by hand.

python -m tests.simulation.mutants 400
"""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, killed_by

PINNED = [mutant for mutant in MUTANTS if mutant.seeds]


@pytest.mark.parametrize("mutant", PINNED, ids=lambda mutant: mutant.what.replace(" ", "-"))
def test_a_promise_kills(mutant: Mutant) -> None:
    assert killed_by(mutant, range(0), worlds=len(mutant.seeds)), f"{mutant.what}: nobody noticed"
