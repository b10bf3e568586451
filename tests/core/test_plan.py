"""The forecast: the good path, run forward from what is seen. Every action on it is what a calm drive does."""

from itertools import pairwise
from typing import Any

import pytest
from tests.core.builders import Facts

from celadon.core.action import Act, Action, Finish, Halt
from celadon.core.intent import Hook
from celadon.core.plan import plan
from celadon.core.strategy import blue_green


def actions(facts: Facts) -> list[str]:
    return [type(action).__name__ for action in path(facts)]


def path(facts: Facts) -> list[Action]:
    return [a for _, d in plan(facts.observed, facts.intent, facts.now) if isinstance(d, Act) for a in d.actions]


MOMENTS = ("before_prepare", "before_shift", "after_commit", "after_finish")
GOOD = ["PutSettings", "PutArtifact", "Start", "WarmUpSlot", *["SetNode"] * 2, "SetNode", "Record", "Record"]


def test_the_good_path() -> None:
    assert actions(Facts(slots=1)) == [
        *GOOD,
        *("SetNode", "SetNode", "Record", "Stop"),
        *("Prune", "Prune"),
    ]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"first": True},
        {"ports": (80, 443)},
        {"slots": 5},
        {"stable": None},
        {"bake_net": "reject"},
        {
            "steps": blue_green(("smoke",), hold=True),
            "tests": (Hook(name="smoke", command=("x",)),),
            "hooks": tuple(Hook(name=name, command=("x",)) for name in MOMENTS),
        },
    ],
)
def test_every_good_path_ends_well_and_time_only_grows(facts: dict[str, Any]) -> None:
    steps = list(plan(Facts(**facts).observed, Facts(**facts).intent, 1200.0))
    assert isinstance(steps[-1][1], Finish)
    assert steps[-1][1].result == "done"
    assert all(after >= before for (before, _), (after, _) in pairwise(steps))


def test_a_way_back_can_be_planned_too() -> None:
    facts = Facts().at("shifted").back()
    ending = list(plan(facts.observed, facts.intent, facts.now))[-1][1]
    assert isinstance(ending, Finish)
    assert ending.result == "rolled_back"


def test_what_needs_a_person_ends_the_plan() -> None:
    facts = Facts().at("shifted").back()
    facts.now += 1900
    ending = list(plan(facts.observed, facts.intent, facts.now))[-1][1]
    assert isinstance(ending, Halt)


def test_nothing_is_planned_that_was_done() -> None:
    before = len(path(Facts()))
    after = len(path(Facts().at("warm")))
    assert after < before
