"""A container's log as lines: taken out of the Engine's frames, put together where they were cut, with their time."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LONGEST_LINE = 4096  # characters of a line that are worth sending
LONGEST_HELD = 64 << 10  # bytes of one unfinished line that are kept; more is beyond what is sent


class Entry(NamedTuple):
    """One line. `at`: seconds since 1970; None where the Engine said none."""

    at: float | None
    line: str


def lines(frames: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """Whole lines in the order in which they ended; the Engine cuts long ones into several frames."""
    unfinished: dict[int, bytes] = {}
    for stream, content in frames:
        pieces = (unfinished.pop(stream, b"") + content).split(b"\n")
        unfinished[stream] = pieces.pop()[:LONGEST_HELD]
        yield from map(_text, pieces)
    yield from (_text(rest) for rest in unfinished.values() if rest)


def entries(frames: Iterable[tuple[int, bytes]]) -> Iterator[Entry]:
    """The same of a log that was asked for with timestamps."""
    for line in lines(frames):
        stamp, _, text = line.partition(" ")
        at = _seconds(stamp)
        yield Entry(None, line) if at is None else Entry(at, text)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "replace")[:LONGEST_LINE]


def _seconds(stamp: str) -> float | None:
    """RFC 3339 in UTC with up to nine decimals, which no parser of Python 3.9 reads."""
    whole, _, decimals = stamp.rstrip("Z").partition(".")
    try:
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{decimals or 0}")
    except ValueError:
        return None
