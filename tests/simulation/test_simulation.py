"""Many worlds, each drawn from its seed: whatever goes wrong, no request is lost and the rollout ends."""

import pytest

from celadon.core.observed import Mode
from celadon.core.release import Colour
from tests.simulation.story import NEW, OLD, Outcome, Setting, draw, tell


def check(outcome: Outcome, setting: Setting) -> list[str]:
    """Every promise that this story broke."""
    world = outcome.world
    broken = list(world.broken)
    if world.lost:
        broken.append(f"{len(world.lost)} requests lost, first: {world.lost[0]}")
    if world.cut:
        broken.append(f"{world.cut} requests cut before the drain deadline")
    if outcome.result not in {"done", "rolled_back", "failed"}:
        broken.append(f"it did not end: {outcome.result}")
        return broken
    winner = Colour.GREEN if outcome.result == "done" else Colour.BLUE
    serving = {n.address for n in world.nodes.values() if n.mode is Mode.ACCEPT}
    wanted = {slot.node_address for slot in world.slots[winner]} if outcome.result != "failed" else set()
    if serving != wanted:
        broken.append(f"{outcome.result}, yet {sorted(serving)} serve")
    release = NEW.id if outcome.result == "done" else OLD.id
    running = {r.release for host in world.hosts.values() for r in host.replicas.values()}
    if running != ({release} if outcome.result != "failed" else set()):
        broken.append(f"{outcome.result}, yet {running} run")
    return broken


@pytest.mark.parametrize("block", range(8))
def test_whatever_goes_wrong_the_promises_hold(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        setting = draw(seed)
        outcome = tell(setting)
        assert not check(outcome, setting), f"seed {seed}: {check(outcome, setting)} in {setting}"
