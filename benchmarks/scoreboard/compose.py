"""docker-compose as Debian packages it, started on each host over SSH."""

from collections.abc import Sequence

from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import Ground
from benchmarks.scoreboard.peer import Peer, version_of


class Compose(Peer):
    name = "compose"
    title = "docker-compose up -d"
    method = "`docker-compose pull` and `up -d` on one host after the other. Rollback: the tag before."
    files = ("compose.yaml", "compose_up.sh")

    def versions(self) -> Sequence[str]:
        return (version_of("docker-compose", "version"),)

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        return Job(("./compose_up.sh", version), ground.project, self.environ(ground, asked))
