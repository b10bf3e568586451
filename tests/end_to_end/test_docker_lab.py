"""The docker runtime on the lab's own instances, which share one Engine: names and addresses keep them apart."""

import json
from collections import Counter
from pathlib import Path

import pytest

from celadon.cli.stage import Stage
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess
from tests.end_to_end.acts import done, nodes, page, play, unharmed
from tests.rig.app_images import AppImages
from tests.rig.docker import OwnEngine

pytestmark = pytest.mark.slow

CONFIG = """\
app = "labshop"
image = "{image}"
port = 5000

[health]
path = "/"

[hosts]
blue = ["blue-app-01", "blue-app-02"]
green = ["green-app-01", "green-app-02"]

[balancer]
nodebalancer = "app-nodebalancer"

[verify]
rate = 10
contains = '"version": "{{version}}"'
"""


def test_both_colours_on_one_engine(
    docker_engine: OwnEngine,
    app_images: AppImages,
    registry_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)  # what the lab is started with, it offers its instances

    async def scene() -> None:
        async with Stage(tmp_path / "stage") as stage:
            (stage.project / "celadon.toml").write_text(CONFIG.format(image=f"{registry_address}/labshop"))
            app_images.publish("labshop", "v1")
            done(await stage.celadon("deploy", "v1", "--yes"))
            assert '"version": "v1"' in await page(stage)
            load = await LoadProcess.start(Plan(url=stage.found.url, rate=40, seconds=600, mix={"new": 1}))
            try:
                app_images.publish("labshop", "v2")
                done(await stage.celadon("deploy", "v2", "--yes"))
                assert '"version": "v2"' in await page(stage)
                unharmed(await load.stop())
            finally:
                await load.kill()
            modes = await nodes(stage)
            assert {mode: len(labels) for mode, labels in modes.items()} == {"accept": 2, "reject": 2}
            assert placed(docker_engine) == Counter(
                (label, f"{address}:5000", "green" if label.startswith("green") else "blue")
                for label, (address, _) in stage.found.instances.items()
            )

    play(scene)


def placed(engine: OwnEngine) -> Counter[tuple[str, str, str]]:
    """Where every container of the app is, running or not: host, published address, colour."""
    filters = json.dumps({"label": ["celadon.app=labshop"]})
    found: Counter[tuple[str, str, str]] = Counter()
    for one in engine.engine.get("/containers/json", {"all": "1", "filters": filters}):
        container = engine.engine.get(f"/containers/{one['Id']}/json")
        labels = container["Config"]["Labels"]
        (published,) = container["HostConfig"]["PortBindings"]["5000/tcp"]
        where = f"{published['HostIp']}:{published['HostPort']}"
        found[labels["celadon.host"], where, labels["celadon.colour"]] += 1
    return found
