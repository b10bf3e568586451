"""The picture of a rollout: who gave the answers, failures, how long answers took, and what happened when. Pure.

One SVG that a browser needs nothing else for. Blue is hatched and green dotted, so that it reads without colour.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import msgspec

from celadon.cli.figures import clock, count, safe
from celadon.core.certificate import Certificate
from celadon.core.release import Seconds
from celadon.core.story import Mark, Period

WIDTH, LEFT, RIGHT = 960.0, 64.0, 84.0  # gutters hold the axes' words, left, and the lines' names, right
STAGES, SHARE, FAILED, SPEED, AXIS, MARKS = 6.0, 44.0, 202.0, 236.0, 350.0, 384.0
SHARE_HIGH, SPEED_HIGH, HEIGHT = 140.0, 96.0, 404.0
LETTER = 7.0  # widest that a letter of 12 px is on average
APART = 21.0  # between the centres of two numbered dots
MOST_MARKS = 16
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)

PATTERNS = (
    '<defs><pattern id="blue" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="blue-wash" width="7" height="7"/><line class="blue-line" y2="7" stroke-width="2.4"/></pattern>'
    '<pattern id="green" width="7" height="7" patternUnits="userSpaceOnUse"><rect class="green-wash" width="7" '
    'height="7"/><circle class="green-dot" cx="3.5" cy="3.5" r="1.5"/></pattern>'
    '<pattern id="grey" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="grey-wash" width="6" '
    'height="6"/><path class="grey-line" d="M0 0L6 6M6 0L0 6" stroke-width=".8"/></pattern></defs>'
)


class Layer(msgspec.Struct, frozen=True):
    """One release, or nobody known, over time."""

    id: str  # empty: answers that named no release
    label: str
    fill: str


class Scale(msgspec.Struct, frozen=True):
    seconds: Seconds

    def x(self, at: Seconds) -> float:
        share = min(1.0, max(0.0, at / self.seconds)) if self.seconds > 0 else 0.0
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def timeline(it: Certificate) -> str:
    scale = Scale(max(it.seconds, 1.0))
    parts = [
        *_stages(it, scale),
        *_axis(scale),
        *_unwatched(it, scale),
        *_shares(it, scale),
        *_failures(it, scale),
        *_speed(it, scale),
        *_marks(shown(it), scale),
        *_names(it, scale),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-labelledby="picture">'
        f'<title id="picture">{_safe(in_words(it))}</title>{PATTERNS}{"".join(parts)}</svg>'
    )


def in_words(it: Certificate) -> str:
    """For whoever hears the page instead of seeing it."""
    served = (
        ", ".join(f"{it.versions.get(id_, id_)} {count(n)}" for id_, n in it.served.items()) or "nobody for certain"
    )
    return f"{clock(it.seconds)} from start to end. Answers by {served}. {count(it.requests.failed)} requests failed."


def layers(it: Certificate) -> list[Layer]:
    """From the bottom up: the candidate, whose share grows; who is unknown; the old release."""
    both = [it.candidate] if it.stable is None else [it.candidate, it.stable]
    named = [Layer(each.id, f"{each.version} · {each.colour}", each.colour.value) for each in both]
    if it.stable is not None and it.stable.id == it.candidate.id:
        named = named[:1]
    return [named[0], Layer("", "not known by whom", "grey"), *named[1:]]


def shown(it: Certificate) -> tuple[Mark, ...]:
    """So many as can be told apart; bad news always."""
    if len(it.marks) <= MOST_MARKS:
        return it.marks
    bad = [mark for mark in it.marks if mark.bad][-MOST_MARKS // 2 :]
    rest = [mark for mark in it.marks if mark not in bad]
    keep = MOST_MARKS - len(bad)
    return tuple(sorted([*bad, *rest[: keep // 2], *rest[-(keep - keep // 2) :]], key=lambda mark: mark.at))


# -- what frames it --------------------------------------------------------------------------------


def _stages(it: Certificate, scale: Scale) -> Iterator[str]:
    yield _text(LEFT - 8, STAGES + 16, "stage", "soft", "end")
    for span in it.stages:
        left, right = scale.x(span.start), scale.x(span.end)
        title = f"{span.name}, {clock(span.end - span.start)}"
        yield f"<g><title>{_safe(title)}</title>{_box(left, STAGES, right - left, 24, 'stage')}"
        for words in (f"{span.name} {clock(span.end - span.start)}", span.name):
            if right - left > LETTER * len(words) + 6:
                yield _text((left + right) / 2, STAGES + 16, words, "", "middle")
                break
        yield "</g>"


def _axis(scale: Scale) -> Iterator[str]:
    step = next((tick for tick in TICKS if scale.seconds / tick <= 10), 86_400 * math.ceil(scale.seconds / 864_000))
    for at in range(0, int(scale.seconds) + 1, step):
        x = scale.x(at)
        yield f'<path class="rule" d="M{x:g} {SHARE:g}V{AXIS - 12:g}"/>'
        yield _text(x, AXIS + 2, clock(at), "soft", "middle")


def _unwatched(it: Certificate, scale: Scale) -> Iterator[str]:
    for span in it.unwatched:
        left, right = scale.x(span.start), scale.x(span.end)
        yield f"<g><title>nobody drove, nobody counted</title>{_box(left, SHARE, right - left, SHARE_HIGH, 'stage')}"
        if right - left > LETTER * len(span.name):
            yield _text((left + right) / 2, SHARE + SHARE_HIGH / 2, span.name, "soft", "middle")
        yield "</g>"


def _marks(marks: Sequence[Mark], scale: Scale) -> Iterator[str]:
    """Numbered dots in one row, never on each other, each tied to its moment; their words are the list below."""
    for number, (mark, place) in enumerate(zip(marks, spread([scale.x(mark.at) for mark in marks]), strict=True), 1):
        x, kind = scale.x(mark.at), "dot bad" if mark.bad else "dot"
        yield f"<g><title>{_safe(f'{clock(mark.at)} {mark.text}')}</title>"
        yield f'<path class="mark" d="M{x:g} {SHARE:g}V{AXIS - 10:g}"/>'
        yield f'<path class="mark" d="M{x:g} {AXIS + 6:g}L{place:g} {MARKS - 9:g}"/>'
        yield f'<circle class="{kind}" cx="{place:g}" cy="{MARKS:g}" r="9"/>'
        yield f"{_text(place, MARKS + 4, str(number), '', 'middle')}</g>"


def spread(wanted: Sequence[float]) -> list[float]:
    """Places as near to the wanted ones as `APART` allows, in the same order, within the picture."""
    places: list[float] = []
    for x in wanted:
        places.append(x if not places else max(x, places[-1] + APART))
    last = WIDTH - 12
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], last)
        last = places[index] - APART
    return places


# -- what was measured -----------------------------------------------------------------------------


def _shares(it: Certificate, scale: Scale) -> Iterator[str]:
    """Each count is as wide as the time it tells of, and as high as all its good answers."""
    for share, words in ((1.0, "100 %"), (0.5, "50 %"), (0.0, "0 %")):
        yield _text(LEFT - 8, SHARE + SHARE_HIGH * (1 - share) + 4, words, "soft", "end")
    named = layers(it)
    for period in it.periods:
        yield from _column(period, named, scale)
    yield _box(LEFT, SHARE, WIDTH - LEFT - RIGHT, SHARE_HIGH, "rule")
    if not it.periods:
        yield _text(LEFT + 12, SHARE + SHARE_HIGH / 2, "nothing was counted", "soft", "start")


def _column(period: Period, named: Iterable[Layer], scale: Scale) -> Iterator[str]:
    left, right = scale.x(period.start), scale.x(period.end)
    bottom = SHARE + SHARE_HIGH
    for layer in named:
        high = SHARE_HIGH * share_of(period, layer)
        if high > 0:
            bottom -= high
            place = f'x="{left:g}" y="{bottom:.1f}" width="{right - left:.1f}" height="{high:.1f}"'
            yield f'<rect fill="url(#{layer.fill})" {place}/>'


def share_of(period: Period, layer: Layer) -> float:
    good = sum(period.served.values()) + period.unproven
    mine = period.served.get(layer.id, 0) if layer.id else good - sum(period.served.values())
    return mine / good if good else 0.0


def _names(it: Certificate, scale: Scale) -> Iterator[str]:
    """Each layer's name where it is the most for longest, so that nobody has to look up a key."""
    for layer in layers(it):
        runs = _runs(it.periods, layer)
        if not runs:
            continue
        start, end = max(runs, key=lambda run: run[1] - run[0])
        words = _cut(layer.label, 24)
        half = LETTER * len(words) / 2
        if layer.fill == "grey" and scale.x(end) - scale.x(start) < 2 * half:
            continue  # the caption tells what is crossed
        middle = min(max((scale.x(start) + scale.x(end)) / 2, LEFT + half + 4), WIDTH - RIGHT - half - 4)
        yield _text(middle, SHARE + SHARE_HIGH / 2 + 4, words, "halo", "middle")


def _runs(periods: Iterable[Period], layer: Layer) -> list[tuple[Seconds, Seconds]]:
    runs: list[tuple[Seconds, Seconds]] = []
    for period in periods:
        if share_of(period, layer) < 0.5:
            continue
        if runs and runs[-1][1] == period.start:
            runs[-1] = (runs[-1][0], period.end)
        else:
            runs.append((period.start, period.end))
    return runs


def _failures(it: Certificate, scale: Scale) -> Iterator[str]:
    yield _text(LEFT - 8, FAILED + 4, "failed", "soft", "end")
    yield f'<path class="rule" d="M{LEFT:g} {FAILED:g}H{WIDTH - RIGHT:g}"/>'
    bad = [period for period in it.periods if period.failed]
    for period in bad:
        x = (scale.x(period.start) + scale.x(period.end)) / 2
        yield f"<g><title>{count(period.failed)} failed</title>{_text(x, FAILED + 5, '✕', 'bad', 'middle')}</g>"
    words = f"{count(it.requests.failed)} failed" if it.requests.sent else "none sent"
    yield _text(WIDTH - RIGHT + 8, FAILED + 4, words, "bad" if bad else "", "start")


def _speed(it: Certificate, scale: Scale) -> Iterator[str]:
    known = [period for period in it.periods if period.speed is not None]
    if not known:
        yield _text(LEFT + 12, SPEED + SPEED_HIGH / 2, "how long answers took is not in this journal", "soft", "start")
        return
    top = nice(max(period.speed.p99 for period in known if period.speed is not None))
    for share in (0.0, 0.5, 1.0):
        y = SPEED + SPEED_HIGH * (1 - share)
        yield f'<path class="rule" d="M{LEFT:g} {y:g}H{WIDTH - RIGHT:g}"/>'
        yield _text(LEFT - 8, y + 4, took(top * share), "soft", "end")
    last = known[-1].speed
    ends = {}
    for name, kind in (("p99", "p99"), ("p50", "p50")):
        yield f'<path class="{kind}" d="{_line(it.periods, name, top, scale)}"/>'
        ends[name] = _height(getattr(last, name), top)
    if abs(ends["p50"] - ends["p99"]) < 14:  # their names must not lie on each other
        ends["p50"], ends["p99"] = ends["p50"] + 7, ends["p50"] - 7
    for name, y in ends.items():
        yield _text(WIDTH - RIGHT + 8, y + 4, f"{name} {took(getattr(last, name))}", "", "start")


def _line(periods: Iterable[Period], name: str, top: Seconds, scale: Scale) -> str:
    """A stair: each count's figure is that of its whole time. Broken where nothing was measured."""
    path, before = [], -1.0
    for period in periods:
        if period.speed is None:
            continue
        y = _height(getattr(period.speed, name), top)
        path.append(
            f"{'L' if period.start == before else 'M'}{scale.x(period.start):g} {y:.1f}H{scale.x(period.end):g}"
        )
        before = period.end
    return "".join(path)


def _height(seconds: Seconds, top: Seconds) -> float:
    return SPEED + SPEED_HIGH * (1 - min(1.0, seconds / top))


def nice(seconds: Seconds) -> Seconds:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(seconds, 1e-4)))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= seconds * 0.9999)


def took(seconds: Seconds) -> str:
    """`0.4 ms`, `41 ms`, `1.2 s`."""
    if seconds >= 1:
        return f"{seconds:.2g} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 or not seconds else f"{seconds * 1000:.1f} ms"


# -- marks on paper --------------------------------------------------------------------------------


def _text(x: float, y: float, words: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(words)}</text>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:g}" width="{max(0.0, width):.1f}" height="{height:g}"/>'


def _safe(words: str) -> str:
    return escape(safe(words))


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
