"""What can go wrong, as one tree. The type says whether trying again helps; the exit code follows from it.

CeladonError
├── Refused          2  trying again is useless: somebody must change something
│   ├── NotAllowed   2  the deployer's credentials do not allow it (any more); no release is to blame
│   └── NotHome      2  this host is not the app's home any more, or the deployer's home is of an old epoch
├── ReleaseFailed    3  Celadon worked, the release did not: stable serves
├── Unavailable      4  try again
│   ├── NoAnswer     4  it may have been done: look before trying again
│   └── LeaseLost    4  somebody else drives now
└── Bug              1  our fault
"""

from collections.abc import Sequence
from typing import ClassVar


class CeladonError(Exception):
    """An error that a person can act on: what failed and on what; `hint` says what to do.

    `details` are further lines shown indented below the message (a log tail, what was found).
    `code` is a stable word for machines (`--json`), `where` names the file, host or node concerned.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "bug"

    def __init__(
        self, message: str, *, hint: str | None = None, where: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.details = tuple(details)


class Bug(CeladonError):
    """Our fault."""


class Refused(CeladonError):
    """Trying again is useless until somebody changes something."""

    exit_code = 2
    code = "refused"


class NotAllowed(Refused):
    """The credentials do not allow it, or no longer do: it says nothing about the release, and stays open."""

    code = "not_allowed"


class NotHome(Refused):
    """The host asked does not keep the app's store (any more), or knows a newer home than this driver's."""

    code = "not_home"


class ReleaseFailed(CeladonError):
    """The release did not work; Celadon did. Stable serves (a first deploy: nothing does)."""

    exit_code = 3
    code = "release_failed"


class Unavailable(CeladonError):
    """Something did not answer, or answered that it cannot now. Nothing was done; trying again may work."""

    exit_code = 4
    code = "unavailable"


class NoAnswer(Unavailable):
    """The request was sent and no answer came: it may have been done. Look before trying again."""

    code = "no_answer"


class LeaseLost(Unavailable):
    """Another driver holds the app's lease, or took it from us."""

    code = "lease_lost"
