"""Many worlds, each drawn from its seed: whatever goes wrong, no request is lost and the rollout ends."""

import pytest

from tests.simulation.story import draw, tell


@pytest.mark.parametrize("block", range(8))
def test_whatever_goes_wrong_the_promises_hold(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        outcome = tell(draw(seed))
        assert not outcome.broken, f"python -m tests.simulation.run --seed {seed} --trace: {outcome.broken}"
