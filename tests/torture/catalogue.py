"""All cases, in the order in which they are played: what is likeliest to find something comes first."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture import crashes
from tests.torture.bench import Bench
from tests.torture.case import Case, Kind

BENCHES: dict[Kind, Callable[[Path], Bench]] = {"lab": Bench}


def catalogue() -> Iterator[Case]:
    yield from crashes.cases()
