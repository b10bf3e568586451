"""Kinds of values: how one TOML value becomes one typed value, and how that is said in JSON Schema.

Here are the kinds of single values; `tables.py` has those that hold others.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from celadon.config.errors import ConfigError, did_you_mean, show, show_list
from celadon.config.values import DURATION, duration, say_duration
from celadon.core.errors import Refused

T = TypeVar("T")
Schema = dict[str, Any]

MOST_TEXT = 4096


class At(msgspec.Struct, frozen=True):
    """Where in which file a value stands. `written` collects every key that the file sets."""

    file: str
    root: Path
    written: set[str]
    places: dict[str, str] = {}  # where a key belongs that stands in the wrong table
    key: str = ""

    def child(self, name: str) -> "At":
        shown = name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else show(name)
        return msgspec.structs.replace(self, key=f"{self.key}.{shown}" if self.key else shown)

    def item(self, index: int) -> "At":
        return msgspec.structs.replace(self, key=f"{self.key}[{index}]")

    def refuse(self, reason: str, hint: str | None = None) -> ConfigError:
        return ConfigError(self.file, self.key, reason, hint=hint)

    def expected(self, what: str, value: object, hint: str | None = None) -> ConfigError:
        return self.refuse(f"must be {what}, not {type_name(value)}", hint)


def type_name(value: object) -> str:
    """What TOML calls it. Only the type is told: the value may be a secret in the wrong place."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "text"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case date() | time():
            return "a date or time"
        case list():
            return "a list"
        case _:
            return "a table"


class Kind(ABC, Generic[T]):
    """One kind of value. `sample` is TOML that shows how such a value is written."""

    sample = ""

    @abstractmethod
    def read(self, value: object, at: At) -> T:
        """The typed value. Raises `ConfigError`."""

    @abstractmethod
    def schema(self) -> Schema:
        """What JSON Schema can say of it: never stricter than `read`."""


class Text(Kind[T]):
    """Text, understood by a parser that raises `Refused`. `secret`: the text is never shown, whatever is wrong."""

    def __init__(
        self,
        parse: Callable[[str], T],
        sample: str,
        *,
        pattern: str | None = None,
        most: int = MOST_TEXT,
        secret: bool = False,
    ) -> None:
        self.parse, self.sample, self.pattern, self.most, self.secret = parse, sample, pattern, most, secret

    def read(self, value: object, at: At) -> T:
        if not isinstance(value, str):
            raise at.expected("text", value, f"write it in quotes, like {self.sample}")
        if len(value) > self.most:
            raise at.refuse(f"is {len(value):,} characters long, the most is {self.most:,}", f"like {self.sample}")
        return self.parsed(value, at)

    def parsed(self, value: str, at: At) -> T:
        try:
            return self.parse(value)
        except Refused as wrong:
            raise at.refuse(wrong.message, wrong.hint) from None

    def schema(self) -> Schema:
        bounds: Schema = {"type": "string", "maxLength": self.most}
        return bounds | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})


def matching(pattern: str, what: str, sample: str, *, hint: str | None = None, secret: bool = False) -> Text[str]:
    """Text of a pattern. With `secret` the text is not shown."""

    def parse(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise Refused(
            f"this is not {what}" if secret else f"{show(text)} is not {what}", hint=hint or f"like {sample}"
        )

    return Text(parse, sample, pattern=pattern, secret=secret)


class Located(Kind[str]):
    """A path, contained in the project folder."""

    def __init__(self, parse: Callable[[str, Path], str], sample: str) -> None:
        self.parse, self.sample = parse, sample

    def read(self, value: object, at: At) -> str:
        return Text(lambda text: self.parse(text, at.root), self.sample).read(value, at)

    def schema(self) -> Schema:
        return {"type": "string", "maxLength": 1024}


class Duration(Kind[timedelta]):
    """A length of time from `least` to `most`, both texts as the file would write them."""

    def __init__(self, least: str, most: str) -> None:
        self.least, self.most = duration(least), duration(most)
        self.sample = f'"{say_duration(min(max(timedelta(seconds=60), self.least), self.most))}"'

    def read(self, value: object, at: At) -> timedelta:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise at.expected(
                "a duration with its unit", value, f'a number without a unit means nothing: "{value}s"?'
            )
        if not isinstance(value, str):
            raise at.expected("a duration", value, f"write it in quotes, with its unit: {self.sample}")
        found: timedelta = Text(duration, self.sample, most=64).read(value, at)
        if not self.least <= found <= self.most:
            between = f"{say_duration(self.least)} to {say_duration(self.most)}"
            raise at.refuse(f"{show(value)} is out of range", f"{between} is allowed")
        return found

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{DURATION}$"}


class Whole(Kind[int]):
    def __init__(self, least: int, most: int, sample: str) -> None:
        self.least, self.most, self.sample = least, most, sample

    def read(self, value: object, at: At) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            digits = isinstance(value, str) and re.fullmatch(r"\d{1,9}", value)
            hint = f"write it without quotes: {value}" if digits else f"like {self.sample}"
            raise at.expected("a whole number", value, hint)
        if not self.least <= value <= self.most:
            shown = str(value) if abs(value) < 10**12 else "this number"
            raise at.refuse(f"{shown} is out of range", f"{self.least} to {self.most} is allowed")
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Number(Kind[float]):
    def __init__(self, least: float, most: float, sample: str) -> None:
        self.least, self.most, self.sample = least, most, sample

    def read(self, value: object, at: At) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise at.expected("a number", value, f"like {self.sample}")
        if not self.least <= value <= self.most:  # also refuses nan
            raise at.refuse("is out of range", f"{self.least:g} to {self.most:g} is allowed")
        return float(value)

    def schema(self) -> Schema:
        return {"type": "number", "minimum": self.least, "maximum": self.most}


class Flag(Kind[bool]):
    sample = "true"

    def read(self, value: object, at: At) -> bool:
        if not isinstance(value, bool):
            raise at.expected("true or false", value, "write true or false, without quotes")
        return value

    def schema(self) -> Schema:
        return {"type": "boolean"}


class Choice(Kind[str]):
    """One of a few words. `later`: words that are planned, and refused as such."""

    def __init__(self, *words: str, later: Sequence[str] = ()) -> None:
        self.words, self.later, self.sample = words, later, f'"{words[0]}"'

    def read(self, value: object, at: At) -> str:
        if not isinstance(value, str):
            raise at.expected("text", value, f"one of: {show_list(self.words)}")
        if value in self.later:
            raise at.refuse(f"{show(value)} is not in this version", f"this version has: {show_list(self.words)}")
        if value not in self.words:
            raise at.refuse(
                f"{show(value)} is not a choice",
                did_you_mean(value, self.words) or f"one of: {show_list(self.words)}",
            )
        return value

    def schema(self) -> Schema:
        return {"enum": list(self.words)}
