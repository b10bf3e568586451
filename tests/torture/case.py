"""What a case is, what came of it, and how cases are found: a name, a function on a bench, nothing else."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from tests.torture.bench import Bench

Kind = Literal["lab", "clocks", "releases", "server", "docker"]
"""The stage that a case needs. Cases of one kind share stages."""


class Outcome(msgspec.Struct, kw_only=True):
    """One case that was played, as one line of the log. Filled in as it is played."""

    case: str
    began: str = ""
    ok: bool = False
    skipped: bool = False
    sent: int = 0
    failed: int = 0
    cut: int = 0
    commands: list[str] = []  # what a person had to type after the fault, beyond the same command again
    again: int = 0  # how often the same command was run again
    seconds: float = 0.0  # from the fault, or the command after it, to the end state
    leftovers: list[str] = []
    message_true: bool = True
    exits: list[int] = []
    note: str = ""
    problems: list[str] = []
    facts: dict[str, Any] = {}
    allowed: int = 0  # failed requests that the case itself makes: a bad release, a serving host that dies

    def judge(self) -> None:
        """Whether all is as it must be. A case in which nothing was sent shows nothing."""
        harmed = self.failed + self.cut > self.allowed or not self.sent
        wrong = harmed or self.problems or self.leftovers or self.commands or not self.message_true
        self.ok = not wrong and not self.skipped


class Case(msgspec.Struct, frozen=True):
    name: str
    play: Callable[["Bench", Outcome], Awaitable[None]]
    kind: Kind = "lab"
    ci: bool = False  # one of the few that CI plays


class Skipped(Exception):
    """This case cannot be played here, and why."""


def share(cases: Iterable[Case], number: int, of: int) -> list[Case]:
    """Every `of`-th case, so that shares hold a bit of everything."""
    return [case for index, case in enumerate(cases) if index % of == number - 1]
