"""Two deployers, a dead one, a frozen one: exactly one drives, and a late one does no harm."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.acts import done, load_on, nodes, page, play, stage_with, unharmed

from celadon.lab.estate import Estate

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
TEST_PORT: dict[str, Any] = {"estate": Estate(test_port=8081), "more_config": TESTERS}


def test_one_drives_and_the_other_says_who(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage_with(tmp_path) as stage, load_on(stage, 50) as load:
            await stage.release("v2")
            both = await asyncio.gather(
                stage.celadon("deploy", "v2", "--yes"), stage.celadon("deploy", "v2", "--yes", cwd=stage.elsewhere())
            )
            assert sorted(ran.exit for ran in both) == [0, 4]
            loser = next(ran for ran in both if ran.exit == 4)
            assert "driven by" in loser.err
            assert "v2" in await page(stage)
            unharmed(await load.stop())

    play(scene)


def test_a_frozen_deployer_wakes_up_too_late(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage_with(tmp_path) as stage, load_on(stage, 50) as load:
            await stage.release("v2")
            frozen = await stage.start("deploy", "v2", "--yes")
            assert frozen.stderr is not None
            async for line in frozen.stderr:
                if b"raise" in line:
                    break
            frozen.send_signal(signal.SIGSTOP)
            done(await stage.celadon("deploy", "v2", "--yes", cwd=stage.elsewhere()))
            frozen.send_signal(signal.SIGCONT)
            await asyncio.wait_for(frozen.communicate(), 60)
            assert frozen.returncode == 4
            assert "v2" in await page(stage)
            assert set(await nodes(stage)) == {"accept", "reject"}
            unharmed(await load.stop())

    play(scene)


@pytest.mark.parametrize(
    ("number", "more"),
    [
        pytest.param(signal.SIGINT, {}, marks=pytest.mark.nightly, id="int"),
        pytest.param(signal.SIGTERM, TEST_PORT, id="term"),
    ],
)
def test_ctrl_c_leaves_no_lock_and_the_same_command_goes_on(
    number: signal.Signals, more: dict[str, Any], tmp_path: Path
) -> None:
    """With a test port it is stopped as testers are let in; whoever goes on lets them see it, and lets them out."""

    async def scene() -> None:
        async with stage_with(tmp_path, **more) as stage, load_on(stage, 50) as load:
            await stage.release("v2")
            stopped = await stage.start("deploy", "v2", "--yes")
            assert stopped.stderr is not None
            async for line in stopped.stderr:
                if b"raise" in line:
                    break
            stopped.send_signal(number)
            _, said = await asyncio.wait_for(stopped.communicate(), 30)
            assert stopped.returncode == 4
            assert b"celadon resume" in said
            resumed = done(await stage.celadon("resume", cwd=stage.elsewhere()))
            assert "v2" in await page(stage)
            assert ("as-testers-see-it" in resumed.err) is bool(more)
            modes = await nodes(stage)
            assert (len(modes["accept"]), len(modes["reject"])) == (2, 6 if more else 2)
            unharmed(await load.stop())

    play(scene)
