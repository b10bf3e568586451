"""Celadon, as a user runs it: both colours on both hosts, at the lab's pace."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed

import msgspec
from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import WITHIN, Ground

CONFIG = """\
app = {app}
image = {image}
port = 8000

[health]
path = {health}
start_within = "{within}s"

[env]
clear = {{ GREETING = {greeting} }}
secret = ["SECRET_KEY"]

[hosts]
blue = [{hosts}]
green = [{hosts}]
ports = {{ blue = 6100, green = 6101 }}

[balancer]
nodebalancer = "app-nodebalancer"

[rollout]
drain = "6m"

[verify]
path = "/"
rate = 10
contains = "{{version}}"
"""


class Celadon:
    name = "celadon"
    title = "Celadon"
    method = (
        "`celadon deploy TAG --yes`, blue-green with both colours on both hosts. Rollback: `celadon rollback --yes`."
    )

    def versions(self) -> Sequence[str]:
        return (f"celadon {installed('celadon')}",)

    def without(self, figure: str) -> str | None:
        return None

    async def prepare(self, ground: Ground) -> None:
        (ground.project / "celadon.toml").write_text(config(ground, Asked()))

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        (ground.project / "celadon.toml").write_text(config(ground, asked))
        return self._job(ground, "deploy", version, "--yes")

    def rollback(self, ground: Ground, previous: str) -> Job:
        return self._job(ground, "rollback", "--yes")

    def held(self, ground: Ground, version: str) -> Job | None:
        return self._job(ground, "deploy", version, "--yes", "--until", "commit")

    async def wrong(self, ground: Ground) -> list[str]:
        found = []
        modes = sorted(node["mode"] for node in ground.nodes())
        if modes != ["accept", "accept", "reject", "reject"]:
            found.append(f"nodes: {', '.join(modes)}")
        ran = await ground.run(self._job(ground, "status", "--json"), 60)
        try:
            status = json.loads(ran.out[ran.out.index("{") :])
        except ValueError:
            status = {}
        if ran.exit or "rollout" not in status:
            return [*found, f"status: exit {ran.exit}: {ran.out[-300:]}"]
        if status["rollout"] is not None:
            found.append("a rollout is open")
        if status["lease"] is not None and status["lease"]["holder"]:
            found.append("a lease is held")
        return found

    async def mend(self, ground: Ground) -> None:
        await ground.run(self._job(ground, "abort"))

    def _job(self, ground: Ground, *words: str) -> Job:
        argv = (sys.executable, "-m", "celadon", *words)
        return Job(argv, ground.project, {**ground.environ, "HOME": str(ground.folder)})


def config(ground: Ground, asked: Asked) -> str:
    """A string in TOML is one in JSON."""
    hosts = ", ".join(f'{{ ssh = "{host.name}", private = "{host.address}" }}' for host in ground.lab.hosts)
    app, image, health, greeting = (
        msgspec.json.encode(text).decode() for text in (ground.app, ground.repository, asked.health, asked.greeting)
    )
    return CONFIG.format(app=app, image=image, health=health, greeting=greeting, within=WITHIN, hosts=hosts)
