"""What is printed, and where: stdout is data, stderr is talk. Owns --json, colour and the terminal's width."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self

import msgspec

from celadon.cli.figures import safe

FORMAT = 1
"""Of every JSON object. Keys are only ever added to a format."""

Verdict = Literal["done", "refused", "rolled_back", "unfinished", "failed"]
Style = Literal["plain", "good", "bad", "warn", "dim", "strong", "blue", "green"]
CODES: dict[Style, str] = {
    "plain": "",
    "good": "32",
    "bad": "31",
    "warn": "33",
    "dim": "2",
    "strong": "1",
    "blue": "34",
    "green": "32",
}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a verb ended. `keys` are the verb's own, for --json; its text was printed by then."""

    result: Verdict = "done"
    exit: int = 0
    keys: Mapping[str, Any] = {}
    next: tuple[str, ...] = ()
    app: str = ""


class Output:
    """The two streams of one command."""

    def __init__(self, stdout: IO[str], stderr: IO[str], environ: Mapping[str, str]) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self._environ = environ
        self._nowhere: list[IO[str]] = []
        self.gone = False  # nobody reads stdout any more (`celadon logs | head`)
        self.json = False
        self.quiet = False
        self.verbose = False

    @classmethod
    def of_process(cls, environ: Mapping[str, str]) -> Self:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal in the C locale must not end a deploy over a tick mark
                stream.reconfigure(errors="backslashreplace")
        return cls(sys.stdout, sys.stderr, environ)

    # -- what the streams are ------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether a view can be redrawn in place on stderr."""
        return self.stderr.isatty() and self._environ.get("TERM") != "dumb" and not (self.json or self.quiet)

    def coloured(self, stream: IO[str]) -> bool:
        """`NO_COLOR` (no-color.org) wins, whatever its value; then only terminals get colour."""
        return not self._environ.get("NO_COLOR") and self._environ.get("TERM") != "dumb" and stream.isatty()

    @property
    def width(self) -> int:
        return max(20, shutil.get_terminal_size((100, 24)).columns) if self.stderr.isatty() else 100

    # -- data ----------------------------------------------------------------------------------

    def data(self, lines: str | Iterable[str]) -> None:
        """A person's form of the verb's answer, on stdout; not with --json."""
        if not self.json:
            self._print(self.stdout, lines)

    def raw(self, text: str) -> None:
        """Exactly this on stdout: a schema, a script, another program's output."""
        self._write(self.stdout, text)

    def stream(self, line: Mapping[str, Any]) -> None:
        """One of several JSON Lines; only with --json."""
        if self.json:
            self._object(line)

    def end(self, result: Result, error: Mapping[str, Any] | None = None) -> None:
        """The one object that every command with --json ends with."""
        if self.json:
            head = {"format": FORMAT, "app": result.app or None, "result": result.result, "exit": result.exit}
            self._object({**head, "error": error, "next": list(result.next), **result.keys})

    def _object(self, value: Mapping[str, Any]) -> None:
        # ASCII escapes: whatever a host or a config says stays on its one line.
        self._write(self.stdout, json.dumps(value, default=_plain) + "\n")

    # -- talk ----------------------------------------------------------------------------------

    def say(self, lines: str | Iterable[str], style: Style = "plain") -> None:
        """Talk on stderr; not with --quiet or --json."""
        if not (self.quiet or self.json):
            self._print(self.stderr, lines, style)

    def warn(self, text: str) -> None:
        """Shown also with --quiet."""
        self._print(self.stderr, f"warning: {text}", "warn")

    def error(self, lines: Iterable[str]) -> None:
        self._print(self.stderr, lines)

    def paint(self, text: str, style: Style, stream: IO[str]) -> str:
        code = CODES[style]
        return f"\x1b[{code}m{text}\x1b[0m" if code and text and self.coloured(stream) else text

    def _print(self, stream: IO[str], lines: str | Iterable[str], style: Style = "plain") -> None:
        texts = [lines] if isinstance(lines, str) else lines
        self._write(stream, "".join(f"{self.paint(safe(line), style, stream)}\n" for line in texts))

    def _write(self, stream: IO[str], text: str) -> None:
        """A stream that nobody reads any more must not end a drive: users are being moved."""
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            self._forget(stream)

    def _forget(self, stream: IO[str]) -> None:
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it takes the stream's place for good
        self._nowhere.append(nowhere)
        if stream is self.stdout:
            self.stdout, self.gone = nowhere, True
        else:
            self.stderr = nowhere


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
