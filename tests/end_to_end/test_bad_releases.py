"""Every way in which a release can be bad: stable keeps the traffic, the message says why, the next deploy works."""

from pathlib import Path

import pytest
from tests.end_to_end.acts import done, load_on, page, play, stage_with, unharmed

from celadon.lab.broken import CASES

pytestmark = pytest.mark.slow

REASON = {
    "crash-at-boot": "a_module_that_nobody_installed",
    "never-ready": "503",
    "dies-after-5s": "",
    "errors-10-percent": "through the users' door",
    "wrong-port": "did not become healthy",
    "disk-full": "No space left on device",
}


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if not case.good])
def test_a_bad_release_goes_back_by_itself(name: str, tmp_path: Path) -> None:
    case = CASES[name]

    async def scene() -> None:
        health = 'start_within = "20s"' if name in {"never-ready", "wrong-port"} else ""
        async with stage_with(tmp_path, health=health) as stage, load_on(stage, 50) as load:
            await stage.release("v2", case)
            ran = done(await stage.celadon("deploy", "v2", "--yes"), 3)
            assert "v1" in await page(stage)
            assert REASON[name] in ran.err + ran.out, ran.err[-3000:]
            await stage.release("v3")
            done(await stage.celadon("deploy", "v3", "--yes"))
            assert "v3" in await page(stage)
            report = await load.stop()
            if not case.serves:
                unharmed(report)
            assert all(each.who != "v1" for each in report.failures)

    play(scene)


def test_a_release_that_ignores_sigterm_is_stopped_all_the_same(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            stage_with(tmp_path, more_config='[rollout]\nstop_timeout = "40s"') as stage,
            load_on(stage, 50) as load,
        ):
            await stage.release("v2", CASES["ignores-sigterm"])
            done(await stage.celadon("deploy", "v2", "--yes"))
            await stage.release("v3")
            done(await stage.celadon("deploy", "v3", "--yes"))
            unharmed(await load.stop())

    play(scene)
