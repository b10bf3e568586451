"""A trial: a release started once, away from every slot, to see what it does. What is asked and what was measured."""

from typing import Literal

import msgspec

from celadon.core.observed import Probe
from celadon.core.release import Colour, Release, Seconds, Slot

Runtime = Literal["docker", "venv"]


class Trial(msgspec.Struct, frozen=True):
    """`slot`: the idle one whose host lends itself; its port is not used. `slow`: a path that takes seconds."""

    release: Release
    slot: Slot
    colour: Colour
    probe: Probe
    start_within: Seconds
    slow: str = ""
    rollout: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The last answer of the health path. `status` None: there was no HTTP answer, and `error` says why."""

    ok: bool
    status: int | None
    error: str
    seconds: Seconds


class SlowFacts(msgspec.Struct, frozen=True):
    """The slow request. `in_flight`: it was, at SIGTERM; `status` None: it was cut."""

    in_flight: bool
    status: int | None
    seconds: Seconds
    error: str


class TrialFacts(msgspec.Struct, frozen=True):
    """What was measured, in seconds from the start or from the stop signal. None: it did not happen."""

    moved: int  # bytes
    port: int  # where it was told to listen
    listening: Seconds | None
    elsewhere: tuple[str, ...]  # address:port, where it listened instead
    passed: Seconds | None
    probe: Answer | None
    location: str  # where a redirect of the health path leads
    program: str  # of the first process
    hears: bool | None  # whether the first process does anything about the stop signal; None: not to be seen
    exit_code: int | None  # 137: SIGKILL; None with `stopped` None: it still ran
    slow: SlowFacts | None
    stopped: Seconds | None  # None: it had to be killed after `patience`, or ended by itself before
    patience: Seconds  # 0: it had ended before it could be stopped
    lines: tuple[str, ...]  # the last it wrote
