"""What the peers share: their scripts, one container a host, nodes that are in from the start."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import PORT, SETTLE, WITHIN, Ground

from celadon.core.errors import Unavailable

PEERS = Path(__file__).with_name("peers")
NO_API = "it does not talk to the API"


def version_of(*argv: str) -> str:
    """The first line that a program says of itself."""
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{argv[0]} does not run: {error}") from error
    return done.stdout.splitlines()[0].strip()


class Peer:
    """Both hosts serve, each behind the NodeBalancer's active check. Going back is deploying what was before."""

    name: str
    title: str
    method: str
    files: tuple[str, ...] = ()

    def versions(self) -> Sequence[str]:
        return ()

    def without(self, figure: str) -> str | None:
        return NO_API if figure == "F4" else None

    async def prepare(self, ground: Ground) -> None:
        for file in self.files:
            shutil.copy(PEERS / file, ground.project)
        for host in ground.lab.hosts:
            ground.on_host(host, "app.env", f"PORT={PORT}\nSECRET_KEY={ground.secret}\n")
            ground.add_node(host, PORT, self.mode_of(ground, host.name))

    def mode_of(self, ground: Ground, host: str) -> str:
        return "accept"

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        raise Unavailable(f"{self.name} deploys {version} in no way")

    def rollback(self, ground: Ground, previous: str) -> Job:
        return self.deploy(ground, previous)

    def held(self, ground: Ground, version: str) -> Job | None:
        return None

    async def wrong(self, ground: Ground) -> list[str]:
        modes = {node["label"]: node["mode"] for node in ground.nodes() if node["mode"] != "accept"}
        return [f"nodes: {modes}"] if modes else []

    async def mend(self, ground: Ground) -> None:
        """Remove the containers by hand, and put the nodes as they were on the first day."""
        await ground.swept()
        for node in ground.nodes():
            ground.call("PUT", f"{ground.nodes_path}/{node['id']}", {"mode": self.mode_of(ground, node["label"])})

    def environ(self, ground: Ground, asked: Asked) -> dict[str, str]:
        return {
            "IMAGE": ground.repository,
            "HOSTS": " ".join(host.name for host in ground.lab.hosts),
            "SSH_CONFIG": str(ground.lab.ssh_config),
            "HEALTH": asked.health,
            "GREETING": asked.greeting,
            "WITHIN": str(WITHIN),
            "SETTLE": str(SETTLE),
            "HOME": str(ground.folder),
        }
