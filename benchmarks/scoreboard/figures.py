"""What is measured: the figures of the table's rows, and the plays that give them."""

from collections.abc import Awaitable, Callable

import msgspec
from benchmarks.scoreboard import clean, crashes, faults, releases, secrets_and_values, servers
from benchmarks.scoreboard.ground import Ground
from benchmarks.scoreboard.results import Cell

Play = Callable[[Ground], Awaitable[dict[str, Cell]]]


class Figure(msgspec.Struct, frozen=True):
    id: str
    title: str
    how: str
    good: str


FIGURES = {
    each.id: each
    for each in (
        Figure(
            "F1", "failed requests, clean deploys",
            f"{clean.DEPLOYS} deploys one after the other under the load (control: {clean.CALM:.0f} s of it)", "0",
        ),
        Figure(
            "F2", "failed requests, deployer killed",
            f"SIGKILL of the whole deployer at {crashes.KILLS} evenly spaced times of a clean deploy's length; "
            f"{crashes.NOTICED:.0f} s later the same command, up to three times. *By hand*: kills after which that "
            "did not lead to the end state", "0 and 0",
        ),
        Figure("F3", "time to recover", "of F2: from the same command's start to its good end; median", "short"),
        Figure(
            "F4", "failed requests, API faults",
            "one deploy each with, from half-way on, four answers 500, four answers 429, two PUTs done and their "
            "answers lost; run again until it says that all is well", "0, 0 and 0",
        ),
        Figure(
            "F5", "failed requests, SSH lost",
            f"packets to port 22 dropped for {faults.CUT:.0f} s from half-way on", "0, 0 and 0",
        ),
        Figure(
            "F6", "failed requests, host goes down",
            "Docker restarted half-way with all containers of that host (they come back), once on each host. What "
            "its users miss meanwhile is the host's own, in every column and in the first alone", "few, 0 by hand",
        ),
        Figure(
            "F7", "bad releases",
            f"{len(releases.KINDS)} kinds; noticed: the command does not say that all is well; back alone: the version "
            "before serves everywhere with nobody's help", "all noticed, few harmed",
        ),
        Figure(
            "F8", "failed requests, server over itself",
            f"{', '.join(server.name for server in servers.SERVERS)}, each deployed over itself with fast requests, "
            f"ones of 5 s and of {servers.LONG:.0f} s, event streams and WebSockets under way", "0",
        ),
        Figure(
            "F10", "two at once; cancelled",
            f"{crashes.RACES} races of two deployers with a version each (right: at most one says that it is done, "
            f"and what it deployed serves everywhere); SIGTERM half-way, SIGKILL {crashes.GRACE:.0f} s later, then the "
            "same command again", "all right, goes on, 0",
        ),
        Figure(
            "F14", "rollback",
            "the contender's own way back, from the command to twelve answers running by the version before: median "
            f"of {clean.ROLLBACKS}", "short, 0",
        ),
        Figure(
            "F15", "secrets",
            "the application's secret and the API token in command lines (20 times a second), output, "
            "`docker inspect` beyond the container's own environment, and files on hosts open to others", "0 hits",
        ),
        Figure(
            "F16", "values that are run",
            "version, environment value and health path, each one that a shell, quotes or Jinja would run", "0 of 3",
        ),
    )
}  # fmt: skip

PLAYS: tuple[tuple[tuple[str, ...], Play], ...] = (
    (("F1",), clean.clean_deploys),
    (("F14",), clean.rollbacks),
    (("F2", "F3"), crashes.kills),
    (("F10",), crashes.not_alone),
    (("F15",), secrets_and_values.secrets),
    (("F16",), secrets_and_values.injection),
    (("F4",), faults.api),
    (("F5",), faults.link),
    (("F6",), faults.host),
    (("F7",), releases.bad_releases),
    (("F8",), servers.matrix),
)

CONTROL: tuple[tuple[tuple[str, ...], Play], ...] = ((("F1",), clean.nothing), (("F6",), faults.host_alone))


def plays_for(contender: str) -> tuple[tuple[tuple[str, ...], Play], ...]:
    return CONTROL if contender == "control" else PLAYS
