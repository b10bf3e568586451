"""Stop the container, run the new one, by a script over SSH."""

from collections.abc import Sequence

from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import Ground
from benchmarks.scoreboard.peer import Peer, version_of


class StopAndRun(Peer):
    name = "stop-and-run"
    title = "stop-and-run over SSH"
    method = "`docker stop`, `docker run` on one host after the other. Rollback: the tag before."
    files = ("stop_and_run.sh",)

    def versions(self) -> Sequence[str]:
        return (version_of("bash", "--version"),)

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        return Job(("./stop_and_run.sh", version), ground.project, self.environ(ground, asked))
