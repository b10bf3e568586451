"""Every way in which a release can be bad: stable keeps the traffic, the message says why, the next deploy works."""

import asyncio
import signal
from pathlib import Path

import pytest

from celadon.cli.stage import Stage, ended
from celadon.lab.broken import CASES
from tests.end_to_end.acts import done, load_on, page, play, unharmed, who_serves
from tests.end_to_end.shared import SharedStage
from tests.torture.bench import Bench

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
def test_a_bad_release_goes_back_by_itself(name: str, shared: SharedStage) -> None:
    case = CASES[name]
    health = 'start_within = "20s"' if name in {"never-ready", "wrong-port"} else ""

    async def scene() -> None:
        async with shared.bench(health=health) as bench, load_on(bench.stage, 50) as load:
            stage, stable = bench.stage, await who_serves(bench.stage)
            bad = await bench.fresh(case)
            if name == "wrong-port":
                checked = done(await stage.celadon("check", bad))
                assert ":4999 and not on" in checked.out, checked.out
            ran = done(await stage.celadon("deploy", bad, "--yes"), 3)
            assert f"Version: {bench.live}!" in await page(stage)
            assert REASON[name] in ran.err + ran.out, ran.err[-3000:]
            good = await bench.fresh()
            if name == "crash-at-boot":
                await tried_out(stage, good)
            await deploy(bench, good)
            report = await load.stop()
            if not case.serves:
                unharmed(report)
            assert all(each.who != stable for each in report.failures), report.failures

    play(scene)


def test_a_release_that_ignores_sigterm_is_stopped_all_the_same(shared: SharedStage) -> None:
    async def scene() -> None:
        async with (
            shared.bench(more_config='[rollout]\nstop_timeout = "40s"') as bench,
            load_on(bench.stage, 50) as load,
        ):
            await deploy(bench, await bench.fresh(CASES["ignores-sigterm"]))
            await deploy(bench, await bench.fresh())
            unharmed(await load.stop())

    play(scene)


async def deploy(bench: Bench, version: str) -> None:
    done(await bench.stage.celadon("deploy", version, "--yes"))
    bench.live = version
    assert f"Version: {version}!" in await page(bench.stage)


async def tried_out(stage: Stage, version: str) -> None:
    """`check VERSION` starts it beside the live colour and leaves nothing, also when it is stopped in the middle."""
    checked = done(await stage.celadon("check", version, "--slow", "/slow?seconds=3"))
    assert "✓ health" in checked.out, checked.out
    assert "a request in flight at SIGTERM was answered: 200" in checked.out, checked.out
    assert trials(stage) == []
    process = await stage.start("check", version, "--slow", "/slow?seconds=30")
    async with asyncio.timeout(60):
        while not [path for path in trials(stage) if path.name == "process"]:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped = await ended(process, "celadon check", 60)
    assert stopped.exit == 4, stopped.err
    assert "Nothing was changed" in stopped.err
    async with asyncio.timeout(60):
        while trials(stage):  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.05)


def trials(stage: Stage) -> list[Path]:
    """What any host of the stage has of a trial."""
    return [path for folder in stage.folder.rglob("trials") for path in folder.rglob("*")]
