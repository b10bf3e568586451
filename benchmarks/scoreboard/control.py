"""Nobody deploys: what the rig itself loses on this machine, so that the other columns can be read."""

from benchmarks.scoreboard.stop_and_run import StopAndRun


class Control(StopAndRun):
    name = "control"
    title = "no deploy at all"
    method = "The load alone, on hosts that nobody touches (F1), or that go down one after the other (F6)."

    def without(self, figure: str) -> str | None:
        return None if figure in ("F1", "F6") else "nothing is deployed"
