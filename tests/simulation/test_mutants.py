"""Safety taken away must be noticed: each mutant dies in the world that `mutants.json` names; a survivor fails here.

TESTED are those that no world can show, each with the reason: a test of the tables kills them.
"""

import inspect
from functools import cache

import pytest

from celadon.core import going_back, judge, traffic
from celadon.core.decide import RULES
from tests.simulation.mutant_list import MUTANTS, TESTED
from tests.simulation.mutants import Mutant, broken, killed_in, listed

pytestmark = pytest.mark.slow  # 84 worlds, each with its mutant

LINES = listed()
sound = cache(broken)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what.replace(" ", "-"))
def test_a_promise_kills(mutant: Mutant) -> None:
    line = LINES.get(mutant.what)
    assert line is not None, "nobody noticed: python -m tests.simulation.mutants --hunt 400"
    assert killed_in(mutant, line.seed), f"it survives {line.seed}: python -m tests.simulation.mutants --hunt 400"
    assert not sound(line.seed), f"{line.seed} breaks without it, too"


def test_what_no_world_shows_has_a_reason() -> None:
    by_test = {line.mutant for line in LINES.values() if str(line.seed).startswith("test ")}
    assert by_test == TESTED.keys()
    assert all(LINES[what].seed == f"test {test}" for what, (test, _) in TESTED.items())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_of_the_rollout_has_a_mutant(rule: object) -> None:
    name = getattr(rule, "__name__", "")
    assert any(mutant.what == f"no {name}" for mutant in MUTANTS)


@pytest.mark.parametrize("module", [traffic, judge, going_back], ids=lambda module: module.__name__)
def test_what_the_rules_rest_on_has_mutants(module: object) -> None:
    """Each function that decides something; those that only name or gather things are listed."""
    words = {"_matches", "_change", "due", "poll", "_takes_traffic_away", "_stays", "_ids", "_names", "_names_of"}
    entrances = {"candidate", "_forward", "restore_stable", "go_back_if_asked"}
    own = {
        name
        for name, what in inspect.getmembers(module, inspect.isfunction)
        if what.__module__ == getattr(module, "__name__", "") and name not in words | entrances
    }
    prefix = getattr(module, "__name__", "").rpartition(".")[2]
    assert own <= {mutant.rule.partition(".")[2] for mutant in MUTANTS if mutant.rule.startswith(f"{prefix}.")}
