"""All cases, in the order in which they are played: what is likeliest to find something comes first."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture import crashes, drivers, engines, faults, homes, machines, releases, servers
from tests.torture.bench import Bench
from tests.torture.case import Case, Kind

BENCHES: dict[Kind, Callable[[Path], Bench]] = {
    "lab": Bench,
    "clocks": machines.ClocksBench,
    "docker": engines.EnginesBench,
    "releases": releases.ReleasesBench,
    "server": servers.ServerBench,
}


def catalogue() -> Iterator[Case]:
    yield from faults.cases()
    yield from machines.cases()
    yield from engines.cases()
    yield from releases.cases()
    yield from servers.cases()
    yield from drivers.cases()
    yield from crashes.cases()
    yield from homes.cases()
    yield from drivers.races()
