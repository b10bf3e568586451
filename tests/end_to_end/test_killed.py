"""kill -9 at every effect of a blue-green deploy, and the same command again elsewhere: the same end, nothing lost."""

import itertools
import re
import signal

import pytest

from tests.end_to_end.acts import LONG, done, killed_at, load_on, play, unharmed
from tests.end_to_end.commands import NEVER, Stuck
from tests.end_to_end.shared import SharedStage, as_it_should_be
from tests.torture.bench import BAKE, Bench

pytestmark = pytest.mark.slow

SHARES = 4  # tests that share the effects out
WHEN = ("before", "in", "after")  # each effect at one of them; `just torture --only deploy/` plays all


@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_effect(share: int, shared: SharedStage) -> None:
    """How many effects there are is found: at the first that is not there a deploy lives to its end."""

    async def scene() -> None:
        async with shared.bench(more_config=BAKE) as bench, load_on(bench.stage, 40, seconds=880, slow=LONG) as load:
            for count in itertools.count(1 + share, SHARES):
                act = f"killed {WHEN[count % len(WHEN)]} effect {count}"
                await load.mark(act)
                try:
                    if not await killed_and_done_again(bench, count, WHEN[count % len(WHEN)]):
                        break
                except (AssertionError, Stuck) as error:
                    error.add_note(act)
                    raise
            assert count > 12  # settings, archive, start, warm-up on two hosts; nodes raised and lowered; stops
            unharmed(await load.stop())

    play(scene)


async def killed_and_done_again(bench: Bench, count: int, when: str) -> bool:
    """False: a deploy has fewer effects, and this one lived."""
    stage, version = bench.stage, await bench.fresh()
    killed = await killed_at(stage, str(count), when, "deploy", version, "--yes")
    if killed.exit == 0:
        effects = re.search(r"^effects: (\d+)$", killed.err, re.MULTILINE)
        assert effects is not None
        assert int(effects[1]) < count
    else:
        assert killed.exit == -signal.SIGKILL, killed.err[-2000:]
        done(await killed_at(stage, NEVER, "before", "deploy", version, "--yes", cwd=stage.elsewhere()))
    bench.live = version
    await as_it_should_be(bench)
    return killed.exit != 0
