"""The `deploy.sh` of a common tutorial, its errors mended: two hosts, one a colour."""

import json
from collections.abc import Sequence

from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import Ground
from benchmarks.scoreboard.peer import Peer, version_of


class DeploySh(Peer):
    name = "deploy-sh"
    title = "tutorial's deploy.sh, mended"
    method = (
        "One host a colour; the idle one gets the container, then the traffic, through the API. Rollback: the modes "
        "exchanged (`--rollback`)."
    )
    files = ("deploy.sh",)

    def versions(self) -> Sequence[str]:
        return (version_of("bash", "--version"), version_of("curl", "--version").partition(" (")[0])

    def without(self, figure: str) -> str | None:
        return None

    async def prepare(self, ground: Ground) -> None:
        await super().prepare(ground)
        blue, green = ground.lab.hosts
        _, _, _, balancer, _, config, _ = ground.nodes_path.split("/")
        outputs = {
            "blue": blue.name, "blue_address": blue.address, "green": green.name, "green_address": green.address,
            "nodebalancer_id": balancer, "config_id": config,
        }  # fmt: skip
        text = json.dumps({name: {"value": value} for name, value in outputs.items()})
        (ground.project / "outputs.json").write_text(text)

    def mode_of(self, ground: Ground, host: str) -> str:
        return "accept" if host == ground.lab.hosts[0].name else "reject"

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        return self._job(ground, version, asked)

    def rollback(self, ground: Ground, previous: str) -> Job:
        return self._job(ground, "--rollback", Asked())

    async def wrong(self, ground: Ground) -> list[str]:
        modes = sorted(node["mode"] for node in ground.nodes())
        return [] if modes == ["accept", "reject"] else [f"nodes: {', '.join(modes)}"]

    def _job(self, ground: Ground, word: str, asked: Asked) -> Job:
        environ = {**ground.home, **self.environ(ground, asked), "EVERY": "1"}
        return Job(("./deploy.sh", word), ground.project, environ)
