"""Deploys, rollbacks, aborts and failed releases in a row under an open-loop load: nothing fails, nothing is cut."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.acts import done, load_on, nodes, page, play, stage_with, switch, unharmed

from celadon.cli.stage import Ran, Stage
from celadon.lab.broken import CASES

pytestmark = pytest.mark.slow


async def deploy(stage: Stage, version: str) -> None:
    await stage.release(version)
    done(await stage.celadon("deploy", version, "--yes"))
    assert f"Version: {version}!" in await page(stage)


async def fail(stage: Stage, version: str, still: str) -> None:
    await stage.release(version, CASES["crash-at-boot"])
    done(await stage.celadon("deploy", version, "--yes"), 3)
    assert f"Version: {still}!" in await page(stage)


async def abort_midway(stage: Stage, version: str, still: str) -> None:
    """Another shell aborts while the deploy is on its way: the deployer itself goes back."""
    await stage.release(version)
    deploying = asyncio.create_task(stage.celadon("deploy", version, "--yes", "--hold"))
    await _until_open(stage, version)
    done(await stage.celadon("abort"))
    done(await deploying, 3)  # what was asked of it did not come true
    assert f"Version: {still}!" in await page(stage)


async def roll_back_in_the_bake(stage: Stage, version: str, still: str) -> None:
    await stage.release(version)
    done(await stage.celadon("deploy", version, "--yes", "--until", "commit"))
    done(await stage.celadon("rollback"))
    assert f"Version: {still}!" in await page(stage)


async def roll_back_later(stage: Stage, to: str) -> None:
    done(await stage.celadon("rollback", "--yes"))
    assert f"Version: {to}!" in await page(stage)


async def certified(stage: Stage, delay: float) -> None:
    """The newest rollout's certificate holds what was measured, and is signed with the key that reaches the hosts."""
    newest = end_of(await stage.celadon("history", "--json"))["rollouts"][0]["rollout"]
    ran = end_of(await stage.celadon("history", str(newest), "--html", "certificate.html", "--json"))
    it = ran["certificate"]
    assert it["requests"]["failed"] == it["requests"]["unknown"] == 0
    assert it["requests"]["sent"] == sum(period["sent"] for period in it["periods"]) > 0
    assert set(it["served"]) == {it["stable"]["id"], it["candidate"]["id"]}
    assert set(it["speed"]) == {"before", "during", "after"}
    assert delay / 2 <= it["switch_lag"] < delay + 10.0
    assert set(it["open_at_retire"].values()) == set(it["cut"].values()) == {0}
    assert all(event["data"].get("mode") is None or event["because"] != event["text"] for event in ran["events"])
    assert ran["signed_by"].startswith("SHA256:")
    verdict = end_of(await stage.celadon("history", "--verify", "certificate.html", "--json"))
    assert (verdict["exit"], verdict["judgement"]) == (2, "unknown signer")  # whose the lab's key is stands nowhere


def end_of(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out.splitlines()[-1])
    return found


async def _until_open(stage: Stage, version: str) -> None:
    for _ in range(200):
        ran = await stage.celadon("status", "--json")
        if version in ran.out and '"rollout":null' not in ran.out.replace(" ", ""):
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the rollout did not open")


@pytest.mark.timeout(1500)
def test_twenty_operations_in_a_row(tmp_path: Path) -> None:
    """Ten at each settle delay, with both answers to what Linode leaves open. One after the other: the load is high."""
    ten_operations(tmp_path / "at-once", delay=0.0, backups_checked=True)
    ten_operations(tmp_path / "two-seconds-late", delay=2.0, backups_checked=False)


def ten_operations(folder: Path, *, delay: float, backups_checked: bool) -> None:
    async def scene() -> None:
        async with stage_with(folder) as stage:
            await switch(stage, mode_delay_seconds=delay, backup_checked=backups_checked)
            async with load_on(stage, 200) as load:
                await deploy(stage, "v2")
                await fail(stage, "v3", still="v2")
                await deploy(stage, "v4")
                await roll_back_in_the_bake(stage, "v5", still="v4")
                await abort_midway(stage, "v6", still="v4")
                await deploy(stage, "v7")
                await roll_back_later(stage, to="v4")
                await fail(stage, "v8", still="v4")
                await deploy(stage, "v9")
                await deploy(stage, "v10")
                unharmed(await load.stop())
            await certified(stage, delay)
            modes = await nodes(stage)
            assert len(modes["accept"]) == len(modes["reject"]) == 2
            assert set(modes) == {"accept", "reject"}

    play(scene)
