"""The project folder: where `celadon.toml` is, and the files in `.celadon/` beside it. Writes nothing."""

from pathlib import Path

import msgspec

from celadon.config.errors import ConfigError
from celadon.config.load import Parsed, parse_whole, read_text
from celadon.config.model import Config

FILE = "celadon.toml"


class Project(msgspec.Struct, frozen=True):
    """One config file and its folder. Paths in the config are relative to `root`."""

    file: Path
    root: Path
    parsed: Parsed

    @property
    def config(self) -> Config:
        return self.parsed.config

    @property
    def known_hosts(self) -> Path:
        """Host keys in OpenSSH's format: committed, so that a teammate knows a host before the first contact."""
        return self.root / ".celadon" / "known_hosts"

    @property
    def allowed_signers(self) -> Path:
        """Who may sign certificates, in OpenSSH's format: committed, like the keys of hosts."""
        return self.root / ".celadon" / "allowed_signers"

    @property
    def secrets_file(self) -> Path:
        """NAME=value lines, 0600, never committed."""
        return self.root / ".celadon" / "secrets"


def find(start: Path) -> Path:
    """`celadon.toml` in `start` or the nearest folder above it. The search ends at a repository's root."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
        if (folder / ".git").exists():
            break
    raise ConfigError(FILE, "", f"not found in {start} or above", hint="celadon init writes one; -c names another")


def open_project(file: Path | None = None, *, start: Path | None = None) -> Project:
    """The project of `-c FILE`, or of the nearest `celadon.toml` from `start` (the working directory) upwards."""
    path = (file or find(start or Path.cwd())).absolute()  # a link stays: its folder is the project
    return Project(path, path.parent, parse_whole(read_text(path), file=path.name, root=path.parent))
