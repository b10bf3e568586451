"""The home moves, its mover is killed in the middle, its host is deleted, a new one is adopted: users do not notice."""

from pathlib import Path

import msgspec
import pytest

from celadon.cli.stage import Stage
from tests.end_to_end.acts import LONG, done, killed_at, lab, load_on, page, play, stage_with, unharmed

pytestmark = pytest.mark.slow

NEW, OLD = "blue-app-02", "blue-app-01"


async def delete(stage: Stage, label: str) -> None:
    """For good, as somebody would in Cloud Manager. Its nodes go without a word."""
    found = (await lab(stage, "GET", "/v4/linode/instances"))["data"]
    number = next(each["id"] for each in found if each["label"] == label)
    await lab(stage, "DELETE", f"/v4/linode/instances/{number}")


@pytest.mark.timeout(400)
def test_the_home_moves_is_lost_and_is_replaced(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage_with(tmp_path) as stage, load_on(stage, 40, slow=LONG) as load:
            await stage.release("v2")
            done(await stage.celadon("deploy", "v2", "--yes"))  # green serves; the home is on idle blue

            for when in ("before", "after"):  # the one write that is the move
                killed = await killed_at(stage, "leave", when, "store", "move", NEW)
                assert killed.exit == -9, killed.err[-2000:]
            assert f"the home of hello is {NEW}" in done(await stage.celadon("store", "move", NEW)).out
            told = done(await stage.celadon("history", "--json", cwd=stage.elsewhere()))  # knows the old place only
            assert len(msgspec.json.decode(told.out)["rollouts"]) == 2
            assert f'hosts.home = "{NEW}"' in told.err

            await delete(stage, NEW)
            stage.estate = msgspec.structs.replace(stage.estate, blue=(OLD,))
            await stage.release("v3")
            refused = done(await stage.celadon("deploy", "v3", "--yes"), 2)
            assert f"the home of hello is {NEW} now, which this config does not name" in refused.err
            assert "celadon store adopt" in refused.err
            adopted = done(await stage.celadon("store", "adopt"))
            assert f"the home of hello is {OLD}: epoch 2 begins" in adopted.out
            assert "green is live" in adopted.out
            assert "v2" in await page(stage)

            ran = done(await stage.celadon("deploy", "v3", "--yes", "--json", cwd=stage.elsewhere()))
            end = msgspec.json.decode(ran.out.splitlines()[-1])
            assert (end["rollout"], end["from"]["version"], end["live_colour"]) == (3, "v2", "blue")
            assert "v3" in await page(stage)
            done(await stage.celadon("rollback"))
            assert "v2" in await page(stage)
            unharmed(await load.stop())

    play(scene)
