"""The one exception that an agent's operation ends with: it becomes the `error` of the reply frame."""

from __future__ import annotations


class AgentError(Exception):
    """`kind` is one of refused, unavailable, lease_lost, bug: the driver's own tree (`core/errors.py`)."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
