"""The one exception that an agent's operation ends with: it becomes the `error` of the reply frame."""

from __future__ import annotations

from collections.abc import Sequence


class AgentError(Exception):
    """`kind` is one of refused, unavailable, lease_lost, not_home, bug: the driver's own tree (`core/errors.py`)."""

    def __init__(self, kind: str, message: str, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.details = list(details)
