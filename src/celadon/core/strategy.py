"""How a rollout moves traffic: a tuple of steps. Blue-green and canary differ only in theirs."""

import msgspec

FULL_WEIGHT = 100  # what Cloud Manager sends; between equals any equal weight splits evenly


class RunTest(msgspec.Struct, frozen=True, tag=True):
    """A command of the operator's, run here against the candidate while it has no user traffic."""

    name: str


class Approve(msgspec.Struct, frozen=True, tag=True):
    """A person says `promote`."""


class SetWeight(msgspec.Struct, frozen=True, tag=True):
    """The candidate's share of the traffic. 100: stable goes out of the balancer."""

    percent: int


Step = RunTest | Approve | SetWeight


def blue_green(tests: tuple[str, ...], *, hold: bool) -> tuple[Step, ...]:
    """Tests first, then a person if asked for, then all traffic at once."""
    gates: tuple[Step, ...] = tuple(RunTest(name) for name in tests)
    return (*gates, *((Approve(),) if hold else ()), SetWeight(100))
