"""How a wrong config is told: one line with file, key and reason, then a hint. Nothing here reads a config.

Values reach messages only through `show`: whatever a file holds, it prints as one short line that a terminal
cannot be tricked by. Values that may be secrets are not shown at all; their kinds say so (`kinds.py`).
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

from celadon.core.errors import Refused

ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
SHOWN = 60  # characters of a value or key that help to recognise it


class ConfigError(Refused):
    """`celadon.toml` (or a file it names) says something that cannot be meant. Nothing was contacted."""

    code: ClassVar[str] = "config"

    def __init__(self, file: str, key: str, reason: str, *, hint: str | None = None) -> None:
        place = f"{show_line(file)}: {key}" if key else show_line(file)
        super().__init__(f"{place}: {reason}", hint=hint, where=place)
        self.file = file
        self.key = key
        self.reason = reason


def show_line(text: str) -> str:
    """The text on one printable line, shortened: control and direction characters become escapes."""
    line = "".join(c if c.isprintable() else _escape(c) for c in text[:SHOWN])
    return line if len(text) <= SHOWN else f"{line}… ({len(text):,} characters)"


def show(text: str) -> str:
    """The same in quotes, as one would write it in TOML."""
    return quoted(text) if len(text) <= SHOWN else f'{quoted(text[:SHOWN])[:-1]}…" ({len(text):,} characters)'


def quoted(text: str) -> str:
    """The whole text as a TOML string."""
    return '"' + "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else _escape(c) for c in text) + '"'


def _escape(c: str) -> str:
    if c in ESCAPES:
        return ESCAPES[c]
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def show_list(names: Iterable[str], most: int = 12) -> str:
    """`a, b, c`; a long list ends in how many more there are."""
    all_names = [show_line(name) for name in names]
    more = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {more} more" if more > 0 else "")


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant. Long words are not compared: that costs time, and nobody types them."""
    if len(word) > SHOWN:
        return None
    names = {name.lower().replace("-", "_"): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), names, n=1, cutoff=0.7)
    return names[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    found = closest(word, known)
    return f"did you mean `{found}`?" if found else None
