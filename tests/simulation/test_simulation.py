"""Many worlds, each drawn from its seed: whatever goes wrong, no request is lost and the rollout ends."""

from pathlib import Path

import pytest

from celadon.core.release import Colour
from tests.simulation.coverage import Coverage
from tests.simulation.promises import PROMISES
from tests.simulation.settings import Happening, Setting, draw
from tests.simulation.story import tell

BLOCK = 10
WORLDS = (*range(500), *range(800, 900))  # the last hundred with a test port
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "promises.md"


@pytest.mark.parametrize(
    "block", [pytest.param(n, marks=pytest.mark.slow if n % 2 else ()) for n in range(len(WORLDS) // BLOCK)]
)
def test_whatever_goes_wrong_the_promises_hold(block: int) -> None:
    for seed in WORLDS[block * BLOCK : block * BLOCK + BLOCK]:
        outcome = tell(draw(seed))
        assert not outcome.broken, f"python -m tests.simulation.run --seed {seed} --trace --shrink: {outcome.broken}"


def test_the_same_seed_is_the_same_story() -> None:
    once, again = tell(draw(3), trace=True), tell(draw(3), trace=True)
    assert once.trace == again.trace
    assert once.trace


def test_each_promise_is_a_sentence_of_the_docs() -> None:
    page = " ".join(PAGE.read_text().split())
    assert not [name for name, sentence in PROMISES.items() if f"`{name}` | {sentence}" not in page]


@pytest.mark.slow
def test_no_rule_is_left_unexercised() -> None:
    """The last of the worlds above, and the one in which neither colour can serve, make every rule decide."""
    coverage = Coverage()
    dead = Happening(65.0, "host", colour=Colour.BLUE)
    stuck = Setting(0, colours=1, happenings=(dead, Happening(66.0, "go_back")))
    with coverage.watching():
        for setting in (stuck, *(draw(seed) for seed in reversed(WORLDS))):
            if not coverage.unseen:
                break
            tell(setting, coverage=coverage)
    assert not coverage.unseen
