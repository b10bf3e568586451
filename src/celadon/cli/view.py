"""The live view as lines of text: what is happening, why, and to whom. Pure; colour never carries meaning alone."""

import msgspec

from celadon.cli.figures import clock, safe
from celadon.cli.output import Style
from celadon.cli.progress import BACK, Progress, coming, public, sides
from celadon.core.intent import Intent
from celadon.core.observed import PublicSight
from celadon.core.scene import Observed

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
BAR = 16
NAME = 10


class Line(msgspec.Struct, frozen=True):
    text: str
    style: Style = "plain"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that one drawing needs."""

    progress: Progress
    observed: Observed
    intent: Intent
    now: float


def draw(picture: Picture, width: int) -> list[Line]:
    """At most `width` columns. Narrow: bars go, and times stay at the end of their lines."""
    progress, rollout = picture.progress, picture.intent.rollout
    back = progress.now in BACK
    lines = [Line(_row(f"rollout {rollout.number}", clock(picture.now - progress.began), width), "strong")]
    lines += [Line(_step("✓", step.name, step.note, clock(step.seconds), width), "good") for step in progress.done]
    lines.append(Line(_step(_spin(picture.now), progress.now, progress.note, _spent(picture), width), "strong"))
    lines.append(Line(_cut(f"    {'because':<{NAME}} {safe(progress.because)}", width)))
    if later := coming(progress, rollout, back=back):
        lines.append(Line(_cut("  · " + " · ".join(later), width), "dim"))
    lines.append(Line(""))
    lines += _colours(picture, width)
    lines.append(Line(_cut(f"  public  {public(picture.observed)}", width), _public_style(picture.observed.public)))
    lines.append(Line(_cut("  Ctrl-C stops driving, not serving.", width), "dim"))
    return lines


def _spin(now: float) -> str:
    return SPINNER[int(now * 8) % len(SPINNER)]


def _spent(picture: Picture) -> str:
    progress = picture.progress
    spent = clock(picture.now - progress.since)
    if progress.until is None:
        return spent
    return f"{spent} of {clock(progress.until - progress.since)}"


def _step(mark: str, name: str, note: str, time: str, width: int) -> str:
    return _row(f"  {mark} {name:<{NAME}} {safe(note)}".rstrip(), time, width)


def _row(left: str, right: str, width: int) -> str:
    """The time is what an eye looks for, so it is the text that is cut."""
    column = min(width, 70)
    room = column - len(right) - 1
    return f"{_cut(left, room):<{room}} {right}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _colours(picture: Picture, width: int) -> list[Line]:
    both = sides(picture.observed, picture.intent.rollout)
    longest = min(16, max(len(side.version) for side in both))
    lines = []
    for side in both:
        bar = "█" * round(BAR * (side.share or 0) / 100)
        share = f"{side.share:>3} %" if side.share is not None else "  ? %"
        healthy = f"healthy {side.healthy}/{side.slots}" if side.healthy is not None else side.mode
        opened = f"{side.open} open" if side.open is not None else ""
        version = _cut(safe(side.version), longest)
        start = f"  {side.colour.value:<5} {version:<{longest}}  "
        text = f"{start}{bar:<{BAR}} {share}  {healthy:<12} {opened}".rstrip()
        if len(text) > width:
            text = _cut(f"{start}{share}  {healthy}".rstrip(), width)
        lines.append(Line(text, side.colour.value))
    return lines


def _public_style(seen: PublicSight) -> Style:
    return "bad" if seen.failed else "plain"
