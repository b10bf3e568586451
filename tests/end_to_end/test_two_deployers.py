"""Two deployers, a dead one, a frozen one: exactly one drives, and a late one does no harm."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from celadon.cli.stage import Ran, Stage
from celadon.lab.estate import Estate
from tests.end_to_end.acts import done, load_on, nodes, page, play, stage_with, unharmed
from tests.end_to_end.shared import SharedStage

pytestmark = pytest.mark.slow

LOOK = """\
import os, urllib.request
door = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(10):
    page = door.open(os.environ["TEST_URL"], timeout=5).read().decode()
    assert f"Version: {os.environ['CELADON_VERSION']}!" in page, page
"""
TESTERS = f"""\
[[tests]]
name = "as-testers-see-it"
command = {json.dumps([sys.executable, "-c", LOOK])}
"""


def test_one_drives_and_the_other_says_who(shared: SharedStage) -> None:
    async def scene() -> None:
        async with shared.bench() as bench, load_on(bench.stage, 50) as load:
            stage, version = bench.stage, await bench.fresh()
            both = await asyncio.gather(
                stage.celadon("deploy", version, "--yes"),
                stage.celadon("deploy", version, "--yes", cwd=stage.elsewhere()),
            )
            assert sorted(ran.exit for ran in both) == [0, 4]
            loser = next(ran for ran in both if ran.exit == 4)
            assert "driven by" in loser.err
            bench.live = version
            unharmed(await load.stop())

    play(scene)


def test_a_frozen_deployer_wakes_up_too_late(shared: SharedStage) -> None:
    async def scene() -> None:
        async with shared.bench() as bench, load_on(bench.stage, 50) as load:
            stage, version = bench.stage, await bench.fresh()
            frozen = await raising(stage, version)
            frozen.send_signal(signal.SIGSTOP)
            done(await stage.celadon("deploy", version, "--yes", cwd=stage.elsewhere()))
            frozen.send_signal(signal.SIGCONT)
            await asyncio.wait_for(frozen.communicate(), 60)
            assert frozen.returncode == 4
            bench.live = version
            unharmed(await load.stop())

    play(scene)


def test_ctrl_c_leaves_no_lock_and_the_same_command_goes_on(shared: SharedStage) -> None:
    async def scene() -> None:
        async with shared.bench() as bench, load_on(bench.stage, 50) as load:
            bench.live = await bench.fresh()
            await stopped_and_resumed(bench.stage, bench.live, signal.SIGINT)
            unharmed(await load.stop())

    play(scene)


def test_stopped_as_testers_are_let_in(tmp_path: Path) -> None:
    """Whoever goes on lets them see it, and lets them out."""

    async def scene() -> None:
        estate = Estate(test_port=8081)
        async with stage_with(tmp_path, estate=estate, more_config=TESTERS) as stage, load_on(stage, 50) as load:
            await stage.release("v2")
            resumed = await stopped_and_resumed(stage, "v2", signal.SIGTERM)
            assert "as-testers-see-it" in resumed.err
            assert "v2" in await page(stage)
            assert {mode: len(labels) for mode, labels in (await nodes(stage)).items()} == {"accept": 2, "reject": 6}
            unharmed(await load.stop())

    play(scene)


async def stopped_and_resumed(stage: Stage, version: str, number: signal.Signals) -> Ran:
    stopped = await raising(stage, version)
    stopped.send_signal(number)
    _, said = await asyncio.wait_for(stopped.communicate(), 30)
    assert stopped.returncode == 4
    assert b"celadon resume" in said
    return done(await stage.celadon("resume", cwd=stage.elsewhere()))


async def raising(stage: Stage, version: str) -> asyncio.subprocess.Process:
    """A deploy that begins to let somebody in."""
    deploying = await stage.start("deploy", version, "--yes")
    assert deploying.stderr is not None
    async for line in deploying.stderr:
        if b"raise" in line:
            return deploying
    raise AssertionError("it ended and raised nothing")
