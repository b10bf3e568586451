"""Deploys, rollbacks, aborts and failed releases in a row under an open-loop load: nothing fails, nothing is cut."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from celadon.cli.stage import Ran, Stage
from celadon.lab.broken import CASES
from celadon.lab.switches import Switches
from tests.end_to_end.acts import LONG, done, load_on, page, play, switch, unharmed
from tests.end_to_end.shared import SharedStage, as_it_should_be
from tests.torture.bench import Bench

pytestmark = pytest.mark.slow


async def deploy(bench: Bench) -> None:
    version = await bench.fresh()
    done(await bench.stage.celadon("deploy", version, "--yes"))
    bench.live = version
    await still_serves(bench)


async def fail(bench: Bench) -> None:
    version = await bench.fresh(CASES["crash-at-boot"])
    done(await bench.stage.celadon("deploy", version, "--yes"), 3)
    await still_serves(bench)


async def abort_midway(bench: Bench) -> None:
    """Another shell aborts while the deploy is on its way: the deployer itself goes back."""
    version = await bench.fresh()
    deploying = asyncio.create_task(bench.stage.celadon("deploy", version, "--yes", "--hold"))
    await _until_open(bench.stage, version)
    done(await bench.stage.celadon("abort"))
    done(await deploying, 3)  # what was asked of it did not come true
    await still_serves(bench)


async def roll_back_in_the_bake(bench: Bench) -> None:
    version = await bench.fresh()
    done(await bench.stage.celadon("deploy", version, "--yes", "--until", "commit"))
    done(await bench.stage.celadon("rollback"))
    await still_serves(bench)


async def roll_back_later(bench: Bench, to: str) -> None:
    done(await bench.stage.celadon("rollback", "--yes"))
    bench.live = to
    await still_serves(bench)


async def still_serves(bench: Bench) -> None:
    assert f"Version: {bench.live}!" in await page(bench.stage)


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
def test_twenty_operations_in_a_row(shared: SharedStage) -> None:
    """Ten at each settle delay, with both answers to what Linode leaves open. One after the other: the load is high."""

    async def scene() -> None:
        async with shared.bench() as bench:
            await ten_operations(bench, delay=0.0, backups_checked=True)
            await ten_operations(bench, delay=2.0, backups_checked=False)
            await switch(bench.stage, **msgspec.to_builtins(Switches()))

    play(scene)


async def ten_operations(bench: Bench, *, delay: float, backups_checked: bool) -> None:
    await switch(bench.stage, mode_delay_seconds=delay, backup_checked=backups_checked)
    async with load_on(bench.stage, 200, slow=LONG) as load:
        await deploy(bench)
        await fail(bench)
        await deploy(bench)
        before = bench.live
        await roll_back_in_the_bake(bench)
        await abort_midway(bench)
        await deploy(bench)
        await roll_back_later(bench, to=before)
        await fail(bench)
        await deploy(bench)
        await deploy(bench)
        unharmed(await load.stop())
    await certified(bench.stage, delay)
    await as_it_should_be(bench)
