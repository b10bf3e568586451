"""Nobody deploys: what the rig itself loses on this machine, so that the other columns can be read."""

from benchmarks.scoreboard.stop_and_run import StopAndRun


class Control(StopAndRun):
    name = "control"
    title = "no deploy at all"
    method = "The load for as long as a minute, on hosts that nobody touches."

    def without(self, figure: str) -> str | None:
        return None if figure == "F1" else "nothing is deployed"
