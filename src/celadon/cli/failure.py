"""How an error is told: what failed and on what, details, a hint; and the report of a crash. Decides no exit code."""

import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celadon import __version__
from celadon.cli.figures import safe
from celadon.cli.output import Result, Verdict
from celadon.core.errors import CeladonError

VERDICTS: dict[int, Verdict] = {2: "refused", 3: "rolled_back", 4: "unfinished"}
NOTHING = "Nothing was changed."
ISSUES = "the issue tracker of the project you got it from"
_NEXT = re.compile(r"celadon [a-z][^·\n(`]*")


def lines(error: CeladonError, *, untouched: bool = False) -> list[str]:
    """As the contract prints it. `untouched`: nothing was changed, and that is said."""
    first, *rest = error.message.splitlines() or [""]
    told = [f"error: {safe(first)}", *(f"  {safe(line)}" for line in (*rest, *error.details))]
    if error.hint:
        hint, *more = error.hint.splitlines()
        told += [f"hint: {safe(hint)}", *(f"      {safe(line.strip())}" for line in more)]
    return [*told, NOTHING] if untouched else told


def as_json(error: CeladonError) -> dict[str, Any]:
    return {
        "code": error.code,
        "where": error.where,
        "message": error.message,
        "details": list(error.details),
        "hint": error.hint,
    }


def result_of(error: CeladonError, app: str) -> Result:
    verdict = VERDICTS.get(error.exit_code, "failed")
    return Result(result=verdict, exit=error.exit_code, next=commands_in(error.hint or ""), app=app)


def commands_in(hint: str) -> tuple[str, ...]:
    """The commands that a hint names, for machines. `exec` is never one of them: words of a home's may be in a hint."""
    commands = (command.strip() for command in _NEXT.findall(hint))
    return tuple(command for command in commands if not command.startswith("celadon exec"))


def write_report(error: BaseException, arguments: list[str], environ: Mapping[str, str]) -> Path | None:
    """A crash's report in the user's state folder; None when it cannot be written.

    It has code locations only. Values of variables, the arguments' own texts and the exception's message may hold
    anything, a secret too: they stay out.
    """
    folder = Path(environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/state")
    text = "\n".join(
        [
            f"celadon {__version__}, Python {platform.python_version()}, {sys.platform}",
            f"verb: {_verb(arguments)}",
            *_trace(error),
            "",
        ]
    )
    try:
        folder = folder / "celadon"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix="crash-", suffix=".txt", dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return None
    return Path(name)


def _trace(error: BaseException) -> list[str]:
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < 200:
        told.append(f"{type(seen).__module__}.{type(seen).__qualname__}")
        told += [f"  {f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_tb(seen.__traceback__)]
        if isinstance(seen, BaseExceptionGroup):
            for inner in seen.exceptions:
                told += _trace(inner)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return told


def _verb(arguments: list[str]) -> str:
    from celadon.cli.main import route  # noqa: PLC0415 - main imports the machinery this file belongs to

    verb, _, _ = route(arguments)
    return verb.name if verb is not None else "unknown"
