"""Many worlds, each drawn from its seed: whatever goes wrong, no request is lost and the rollout ends."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.simulation import kept
from tests.simulation.coverage import Coverage
from tests.simulation.mutant_list import MUTANTS
from tests.simulation.sentences import PROMISES
from tests.simulation.settings import Happening, draw
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
        if outcome.broken:
            simplest = kept.shrink(draw(seed), kept.promise_of(outcome.broken[0]), attempts=60)
            again = f"python -m tests.simulation.run --seed {seed} --trace --shrink --keep"
            pytest.fail(f"{outcome.broken[:3]}\nin its simplest world: {simplest}\n{again}")


@pytest.mark.parametrize("name", kept.names())
def test_in_the_worlds_that_are_kept_too(name: str) -> None:
    world = kept.load(name)
    assert world.promise in PROMISES
    assert not tell(world.setting).broken, f"python -m tests.simulation.run --world {name} --trace: {world.what}"


def test_a_failure_is_shrunk_to_what_it_needs_and_can_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.what == "the floor is nought")
    needed = kept.load("nobody-can-serve").setting
    pause = Happening(5.0, "pause", after="Opened", back_after=3.0)
    busy = replace(needed, drivers=2, lag=9.0, tests=True, happenings=(*needed.happenings, pause))
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    with mutant.alive():
        promise = kept.promise_of(tell(busy).broken[0])
        simplest = kept.shrink(busy, promise)
        assert promise in {kept.promise_of(line) for line in tell(simplest).broken}
    assert (simplest.drivers, simplest.tests, pause in simplest.happenings) == (1, False, False)
    path = kept.keep(simplest, promise, "what it is about")
    assert kept.load(path.stem).setting == simplest


def test_the_same_seed_is_the_same_story() -> None:
    once, again = tell(draw(3), trace=True), tell(draw(3), trace=True)
    assert once.trace == again.trace
    assert once.trace


def test_each_promise_is_a_sentence_of_the_docs() -> None:
    page = " ".join(PAGE.read_text().split())
    assert not [name for name, sentence in PROMISES.items() if f"`{name}` | {sentence}" not in page]


@pytest.mark.slow
def test_no_rule_is_left_unexercised() -> None:
    """The worlds that are kept, and the last of those above, make every rule decide."""
    coverage = Coverage()
    with coverage.watching():
        for setting in (*(kept.load(name).setting for name in kept.names()), *map(draw, reversed(WORLDS))):
            if not coverage.unseen:
                break
            tell(setting, coverage=coverage)
    assert not coverage.unseen
