"""Kinds that hold other kinds: lists, free maps, and tables read into Structs.

The Structs of `model.py` carry a kind in each annotation, and `Table` reads a whole table by them. So a key is
written down once: its name, type, rule, meaning and default are one line of `model.py`.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, get_type_hints

import msgspec

from celadon.config.errors import ConfigError, did_you_mean, show_list
from celadon.config.kinds import At, Kind, Schema, Text

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MOST_ITEMS = 1000


class ListOf(Kind[tuple[T, ...]]):
    """A list of one kind. `unique` refuses the second of two equal items, naming it `what`."""

    def __init__(self, kind: Kind[T], *, least: int = 1, most: int = MOST_ITEMS, unique: str = "") -> None:
        self.kind, self.least, self.most, self.unique = kind, least, most, unique
        self.sample = f"[{kind.sample}]"

    def read(self, value: object, at: At) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise at.expected("a list", value, f"write it in brackets: {self.sample}")
        if len(value) < self.least:
            raise at.refuse("is empty", f"like {self.sample}, or leave the key out")
        if len(value) > self.most:
            raise at.refuse(f"has {len(value):,} items, the most is {self.most:,}", f"like {self.sample}")
        items = tuple(self.kind.read(item, at.item(index)) for index, item in enumerate(value))
        seen: set[object] = set()
        for index, item in enumerate(items):
            if self.unique and item in seen:
                raise at.item(index).refuse(f"the same {self.unique} a second time", "name each once")
            seen.add(item)
        return items

    def schema(self) -> Schema:
        return {
            "type": "array",
            "items": self.kind.schema(),
            "minItems": self.least,
            "uniqueItems": bool(self.unique),
        }


class MapOf(Kind[dict[str, str]]):
    """Free keys of one kind to values of one kind."""

    def __init__(self, keys: Text[str], values: Text[str], sample: str) -> None:
        self.keys, self.values, self.sample = keys, values, sample

    def read(self, value: object, at: At) -> dict[str, str]:
        if not isinstance(value, dict):
            raise at.expected("a table", value, f"like {self.sample}")
        return {
            self.keys.read(key, at.child(key)): self.values.read(item, at.child(key)) for key, item in value.items()
        }

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": self.keys.schema(),
            "additionalProperties": self.values.schema(),
        }


class Key(msgspec.Struct, frozen=True):
    """One key of a table: its kind, what it is for, and whether it can be left out."""

    name: str
    kind: Kind[Any]
    about: str
    required: bool


def keys_of(struct: type[msgspec.Struct]) -> dict[str, Key]:
    """The keys of a table, from its Struct: each annotation is `Annotated[type, kind, "what it is for"]`."""
    hints = get_type_hints(struct, include_extras=True)
    keys = {}
    for field in msgspec.structs.fields(struct):
        kind, about = hints[field.name].__metadata__
        keys[field.name] = Key(field.name, kind, about, field.required)
    return keys


class Table(Kind[S]):
    """A table, read into its Struct. `later` are keys of later versions; `stray` is a hint for keys nobody knows."""

    def __init__(self, struct: type[S], *, later: Sequence[str] = (), sample: str = "{ … }", stray: str = "") -> None:
        self.struct, self.later, self.sample, self.stray = struct, later, sample, stray
        self.keys = keys_of(struct)

    def read(self, value: object, at: At) -> S:
        if not isinstance(value, dict):
            raise at.expected("a table", value, f"it has {show_list(self.keys)}")
        for name in value:
            if name not in self.keys:
                raise self.unknown(name, at)
        for key in self.keys.values():
            if key.required and key.name not in value:
                raise self.missing(key, at)
        return self.struct(**{name: self.read_key(name, item, at.child(name)) for name, item in value.items()})

    def read_key(self, name: str, value: object, at: At) -> object:
        at.written.add(at.key)
        return self.keys[name].kind.read(value, at)

    def missing(self, key: Key, at: At) -> ConfigError:
        inner = key.kind
        if isinstance(inner, Table):
            first = next((k for k in inner.keys.values() if k.required), None)
            if first is not None:
                return inner.missing(first, at.child(key.name))
        return at.child(key.name).refuse("missing", f"{key.about}; add: {key.name} = {inner.sample}")

    def unknown(self, name: str, at: At) -> ConfigError:
        here = at.child(name)
        if name in self.later:
            return here.refuse("not in this version", "leave it out; the changelog says when it comes")
        known = f"{f'[{at.key}]' if at.key else 'the top level'} has {show_list(self.keys, most=20)}"
        meant = did_you_mean(name, self.keys)
        if meant:
            return here.refuse("unknown key", f"{meant} {known}")
        place = at.places.get(name)
        return here.refuse("unknown key", f"`{name}` belongs {place}" if place else self.stray or known)

    def schema(self) -> Schema:
        return {
            "type": "object",
            "properties": {key.name: {"description": key.about, **key.kind.schema()} for key in self.keys.values()},
            "required": [key.name for key in self.keys.values() if key.required],
            "additionalProperties": False,
        }
