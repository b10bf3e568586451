"""A value that must not be shown: not in a log, a journal, an exception or a `repr`."""

from typing import Final


class Secret:
    """Holds a secret's value. Only `reveal()` gives it out, and only adapters call that."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Final = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        msg = "a secret is not written down"
        raise TypeError(msg)
