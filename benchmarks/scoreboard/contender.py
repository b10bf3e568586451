"""What a contender is: a way to deploy, seen from outside as command lines and what they leave behind.

How each does it is in a file of its own beside this one; what is measured knows nothing of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from benchmarks.scoreboard.ground import Ground


class Job(msgspec.Struct, frozen=True):
    """One command as a user types it."""

    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]


class Asked(msgspec.Struct, frozen=True):
    """Settings that a user may write, beside the version. The fields of the injection corpus."""

    health: str = "/healthz"
    greeting: str = "hello"  # an environment variable of the application


PLAIN = Asked()


class Contender(Protocol):
    """One row of the table. A new one is a file with a class like this and a line in `contenders.py`."""

    name: str
    title: str
    method: str  # one or two sentences for the page

    def versions(self) -> Sequence[str]:
        """Exactly what ran, `name version` each. Raises Unavailable where it is not installed."""

    def without(self, figure: str) -> str | None:
        """Why this figure cannot be had for it; None where it can."""

    async def prepare(self, ground: "Ground") -> None:
        """Write its project. The hosts are empty and the NodeBalancer has no nodes."""

    def deploy(self, ground: "Ground", version: str, asked: Asked = PLAIN) -> Job: ...

    def rollback(self, ground: "Ground", previous: str) -> Job:
        """Its own way back to the version before."""

    def held(self, ground: "Ground", version: str) -> Job | None:
        """A deploy that ends with the version before still warm, where there is such a thing."""

    async def wrong(self, ground: "Ground") -> list[str]:
        """What of its own is not as it should be when nothing is under way: nodes, locks, open rollouts."""

    async def mend(self, ground: "Ground") -> None:
        """What a person does where running it again does not help. A clean deploy works after it."""
