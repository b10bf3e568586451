"""From the text of `celadon.toml` to a `Config`, in one step. Contacts nothing and runs nothing."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from celadon.config import rules
from celadon.config.errors import ConfigError, show_line
from celadon.config.kinds import At, Kind
from celadon.config.model import CONFIG, Config
from celadon.config.tables import ListOf, Table
from celadon.config.terraform import MOST_OUTPUT, TerraformOutput, parse_output

MOST_BYTES = 1024 * 1024  # of celadon.toml; the reference has 6 KB


class Parsed(msgspec.Struct, frozen=True):
    """A config, and which of its keys the file sets: the others are defaults."""

    config: Config
    written: frozenset[str]


def load(path: Path) -> Config:
    """The config in the file. Its folder is the project folder. Raises `ConfigError`."""
    return parse(read_text(path), file=path.name, root=path.parent)


def parse(text: str, *, file: str, root: Path) -> Config:
    """The config in the text. `file` names it in errors; paths in it are relative to `root`."""
    return parse_whole(text, file=file, root=root).config


def parse_whole(text: str, *, file: str, root: Path) -> Parsed:
    at = At(file, root, set(), PLACES)
    config = rules.complete(CONFIG.read(_toml(text, file), at), at)
    saved = config.hosts.terraform and root / config.hosts.terraform
    if saved and saved.is_file():
        output = parse_output(read_text(saved, MOST_OUTPUT), file=config.hosts.terraform or "")
        config = rules.with_terraform(config, output, at)
    return Parsed(config, frozenset(at.written))


def with_terraform(config: Config, output: TerraformOutput, *, file: str, root: Path) -> Config:
    """For `hosts.terraform` as a folder: the config completed by what `terraform output -json` said there."""
    return rules.with_terraform(config, output, At(file, root, set()))


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file of UTF-8 text, at most `most` bytes of it."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise ConfigError(path.name, "", "there is no such file", hint="celadon init writes one") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(path.name, "", f"cannot be read: {why}", hint="it must be a readable file") from None
    if len(content) > most:
        raise ConfigError(path.name, "", f"is larger than {most:,} bytes", hint="a config is a page or two of text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(path.name, "", f"line {line} is not UTF-8 text", hint="save the file as UTF-8") from None


def _toml(text: str, file: str) -> dict[str, object]:
    if len(text) > MOST_BYTES:
        raise ConfigError(file, "", f"is larger than {MOST_BYTES:,} bytes", hint="a config is a page or two of text")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(file, "", "is nested too deeply", hint="no key of a config is deeper than four") from None
    except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
        reason = f"is not TOML: {show_line(str(error))}"
        raise ConfigError(file, "", reason, hint="text in quotes, lists in brackets; toml.io shows it all") from None


def _places(table: Table[Any]) -> dict[str, str]:
    """Where each key belongs whose name only one table has; the top level wins."""
    found: dict[str, list[str]] = {}
    for section, inner in _inner_tables(table):
        for name in inner.keys:
            found.setdefault(name, []).append(f"in [{section}]")
    places = {name: where[0] for name, where in found.items() if len(where) == 1}
    return places | dict.fromkeys(table.keys, "at the top of the file, before the first [table]")


def _inner_tables(table: Table[Any]) -> list[tuple[str, Table[Any]]]:
    tables = []
    for key in table.keys.values():
        kind: Kind[object] = key.kind
        if isinstance(kind, Table):
            tables.append((key.name, kind))
        elif isinstance(kind, ListOf) and isinstance(kind.kind, Table):
            tables.append((f"[{key.name}]", kind.kind))
    return tables


PLACES = _places(CONFIG)
