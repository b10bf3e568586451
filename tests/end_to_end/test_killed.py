"""kill -9 at every effect of a blue-green deploy, and the same command again elsewhere: the same end, nothing lost."""

import re
from pathlib import Path

import pytest
from tests.end_to_end.acts import done, killed_at, load_on, nodes, page, play, stage_with, unharmed
from tests.end_to_end.commands import NEVER

from celadon.cli.stage import Ran, Stage

pytestmark = pytest.mark.slow

SHARES = 6  # tests that share the effects out; the gate has time for two, every third effect
IN_THE_GATE = (0, 3)


async def deploy_until(stage: Stage, version: str, count: int, when: str) -> Ran:
    return await killed_at(stage, str(count), when, "deploy", version, "--yes")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "share",
    [pytest.param(n, marks=() if n in IN_THE_GATE else pytest.mark.nightly) for n in range(SHARES)],
)
def test_killed_at_every_effect(share: int, tmp_path: Path) -> None:
    async def scene() -> None:
        await kill_at_a_share(share, tmp_path)

    play(scene)


async def kill_at_a_share(share: int, folder: Path) -> None:
    async with stage_with(folder) as stage, load_on(stage, 40, seconds=880) as load:
        await stage.release("v2")
        whole = done(await killed_at(stage, NEVER, "before", "deploy", "v2", "--yes"))
        found = re.search(r"effects: (\d+)", whole.err)
        assert found is not None
        effects = int(found[1])
        assert effects > 12  # settings, archive, start, warm-up on two hosts; nodes raised and lowered; stops
        for count in range(1 + share, effects + 1, SHARES):
            when = ("before", "after")[count // SHARES % 2]
            version = f"v{count + 2}-{when}"
            await stage.release(version)
            killed = await deploy_until(stage, version, count, when)
            assert killed.exit == -9, killed.err[-2000:]
            again = await killed_at(stage, NEVER, "before", "deploy", version, "--yes", cwd=stage.elsewhere())
            done(again)
            assert f"Version: {version}!" in await page(stage), f"after a kill {when} effect {count}"
            modes = await nodes(stage)
            assert {mode: len(labels) for mode, labels in modes.items()} == {"accept": 2, "reject": 2}
        unharmed(await load.stop())
