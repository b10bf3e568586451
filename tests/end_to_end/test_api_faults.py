"""The Linode API at its worst during a deploy: the end is the same, no node is doubled, no request fails."""

import pytest

from tests.end_to_end.acts import done, lab, load_on, play, unharmed
from tests.end_to_end.shared import SharedStage

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
def test_a_deploy_through_a_failing_api(name: str, shared: SharedStage) -> None:
    async def scene() -> None:
        async with shared.bench() as bench, load_on(bench.stage, 50) as load:
            stage = bench.stage
            version = await bench.fresh()
            await lab(stage, "POST", "/lab/faults", FAULTS[name])
            ran = await stage.celadon("deploy", version, "--yes")
            if ran.exit == 4:  # the command said: run it again
                ran = await stage.celadon("deploy", version, "--yes")
            done(ran)
            bench.live = version
            await lab(stage, "DELETE", "/lab/faults")
            unharmed(await load.stop())

    play(scene)
