"""Numbers as people read them: times, counts, bytes, ages. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def clock(seconds: float) -> str:
    """`0:03`, `7:42`, `1:02:00`: how long something takes."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_of_day(utc: float) -> str:
    """`19:04:11Z`, in UTC: the reader's machine may be anywhere."""
    whole = int(utc) % 86_400
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}Z"


def day(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def age(seconds: float) -> str:
    """`4 s`, `12 min`, `3 h`, `5 d`: about how long ago."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def count(number: int) -> str:
    return f"{number:,}"


def many(number: int, one: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def percent(share: float) -> str:
    """A bound is rounded up: it must never promise more than was shown."""
    scaled = share * 100
    step = 0.01 if scaled < 1 else 0.1 if scaled < 10 else 1.0
    up = -(-scaled // step) * step
    return f"{up:.2f}" if scaled < 1 else f"{up:.1f}" if scaled < 10 else f"{up:.0f}"


def safe(text: str) -> str:
    """On one line, without what could move a terminal's cursor: much of what is shown comes from hosts."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be. No frame: the lines can be cut with awk."""
    all_rows = [list(head), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in all_rows]
