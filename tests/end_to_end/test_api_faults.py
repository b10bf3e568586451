"""The Linode API at its worst during a deploy: the end is the same, no node is doubled, no request fails."""

from pathlib import Path

import pytest
from tests.end_to_end.acts import done, lab, load_on, nodes, page, play, stage_with, unharmed

pytestmark = pytest.mark.slow

FAULTS = {
    "lost answers": {"kind": "lost", "method": "PUT", "path": "/nodebalancers/*", "count": 3},
    "429": {"kind": "status", "status": 429, "method": "GET", "path": "/nodebalancers/*", "count": 4, "skip": 6},
    "500": {"kind": "status", "status": 500, "method": "PUT", "path": "/nodebalancers/*", "count": 3},
    "503 in maintenance": {
        "kind": "status",
        "status": 503,
        "maintenance": True,
        "path": "/nodebalancers/*",
        "count": 4,
        "skip": 6,
    },
    "stale reads": {"kind": "stale", "method": "GET", "path": "/nodebalancers/*", "seconds": 4, "skip": 6},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_deploy_through_a_failing_api(name: str, tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage_with(tmp_path) as stage, load_on(stage, 50) as load:
            before = sum(len(labels) for labels in (await nodes(stage)).values())
            await stage.release("v2")
            await lab(stage, "POST", "/lab/faults", FAULTS[name])
            ran = await stage.celadon("deploy", "v2", "--yes")
            if ran.exit == 4:  # the command said: run it again
                ran = await stage.celadon("deploy", "v2", "--yes")
            done(ran)
            await lab(stage, "DELETE", "/lab/faults")
            modes = await nodes(stage)
            assert sum(len(labels) for labels in modes.values()) == before
            assert set(modes) == {"accept", "reject"}
            assert "v2" in await page(stage)
            unharmed(await load.stop())

    play(scene)
