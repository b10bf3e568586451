"""kill -9 at every effect of a blue-green deploy, and the same command again elsewhere: the same end, nothing lost."""

import itertools

import pytest

from tests.end_to_end.acts import LONG, done, killed_at, load_on, play, unharmed
from tests.end_to_end.commands import NEVER
from tests.end_to_end.shared import SharedStage, as_it_should_be
from tests.torture.bench import BAKE, Bench

pytestmark = pytest.mark.slow

SHARES = 4  # tests that share the effects out
WHEN = (
    "before",
    "in",
    "after",
)  # each effect at one of them, as two hosts are told nearly at once; `just torture`: all


@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_effect(share: int, shared: SharedStage) -> None:
    """How many effects there are is found: at the one that is not there a deploy lives to its end."""

    async def scene() -> None:
        async with shared.bench(more_config=BAKE) as bench, load_on(bench.stage, 40, seconds=880, slow=LONG) as load:
            for count in itertools.count(1 + share, SHARES):
                when = WHEN[count % len(WHEN)]
                await load.mark(f"killed {when} effect {count}")
                if not await killed_and_done_again(bench, count, when):
                    break
            assert count > 12  # settings, archive, start, warm-up on two hosts; nodes raised and lowered; stops
            unharmed(await load.stop())

    play(scene)


async def killed_and_done_again(bench: Bench, count: int, when: str) -> bool:
    """False: it was not killed, because it has fewer effects."""
    stage, version = bench.stage, await bench.fresh()
    killed = await killed_at(stage, str(count), when, "deploy", version, "--yes")
    lived = killed.exit == 0
    if not lived:
        assert killed.exit == -9, killed.err[-2000:]
        done(await killed_at(stage, NEVER, "before", "deploy", version, "--yes", cwd=stage.elsewhere()))
    bench.live = version
    try:
        await as_it_should_be(bench)
    except AssertionError as error:
        error.add_note(f"after a kill {when} effect {count}")
        raise
    return not lived
