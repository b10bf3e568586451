"""Paths that a config names: inside the project folder, also through symlinks. The disk is only read."""

from pathlib import Path

from celadon.config.errors import show
from celadon.core.errors import Refused


def contained(text: str, root: Path) -> Path:
    """The real path of `text`, which is relative to `root` and leads nowhere outside of it."""
    inside = f"write it relative to the project folder, like {show('infra')}"
    if not text or "\0" in text or len(text) > 1024:
        raise Refused(f"{show(text)} is not a path", hint=inside)
    if Path(text).is_absolute():
        raise Refused(f"{show(text)} is absolute: it would mean something else on each machine", hint=inside)
    try:
        home = root.resolve()
        path = (home / text).resolve()
    except (OSError, RuntimeError) as error:  # a loop of symlinks is a RuntimeError before Python 3.13
        raise Refused(f"{show(text)} cannot be followed ({type(error).__name__})", hint=inside) from None
    if not path.is_relative_to(home):
        raise Refused(f"{show(text)} leads outside the project folder", hint=inside)
    return path


def folder(text: str, root: Path) -> str:
    """A folder that is there. The text stays as written: the project's root gives it its meaning."""
    path = contained(text, root)
    if not path.is_dir():
        raise Refused(f"{show(text)} is not a folder in the project", hint="check its spelling; it is looked for now")
    return text


def folder_or_file(text: str, root: Path) -> str:
    path = contained(text, root)
    if not path.is_dir() and not path.is_file():
        raise Refused(
            f"there is no folder or file {show(text)} in the project", hint="terraform's folder, or its JSON"
        )
    return text
