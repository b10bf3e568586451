"""The certificate as one HTML file that needs nothing else: read in ten seconds, checked in ten minutes. Pure."""

from collections.abc import Iterable, Sequence
from html import escape

from celadon.cli import events
from celadon.cli.certificate.look import POLICY, STYLE
from celadon.cli.certificate.timeline import shown, timeline
from celadon.cli.certificate.words import bound, cut, facts, headline, lag, lag_figure, speeds, verdict
from celadon.cli.figures import clock, count, day, safe
from celadon.core.certificate import Certificate
from celadon.core.doubts import doubts
from celadon.core.journal import Event, Verified

UNSIGNED = "It is not signed: nothing shows who wrote it, or that it is unchanged."


def html(it: Certificate, journal: Sequence[Event], *, signer: str = "") -> str:
    """`signer`: the fingerprint of the key that will sign this; empty: none will."""
    title = _safe(f"{it.app} {it.candidate.version}: rollout {it.rollout}")
    body = (
        _head(it),
        _tiles(it),
        _picture(it),
        _speeds(it),
        _doubts(it),
        _facts(it),
        _story(it, journal),
        _foot(it, signer),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _head(it: Certificate) -> str:
    word, good = verdict(it)
    sign, kind = ("✓", "good") if good else ("!", "bad")
    return (
        f"<header><p>{_safe(f'{it.app} · rollout {it.rollout} · {day(it.opened)}')}</p>"
        f"<h1>{_safe(headline(it))}</h1>"
        f'<p><span class="word {kind}">{sign} {_safe(word)}</span> {_safe(it.reason)}</p></header>'
    )


def _tiles(it: Certificate) -> str:
    requests = it.requests
    failed = f"{count(requests.failed)} of {count(requests.sent)}"
    found = (
        ("requests failed", failed if requests.sent else "none sent", bound(it)),
        ("old release still answered", lag_figure(it), lag(it)),
        ("connections cut", *cut(it)),
        ("from start to end", clock(it.seconds), f"by {it.opened_by or 'unknown'}"),
    )
    inner = (
        f'<div><dt>{_safe(name)}</dt><dd class="figure">{_safe(figure)}</dd><dd class="note">{_safe(note)}</dd></div>'
        for name, figure, note in found
    )
    return f'<dl class="tiles">{"".join(inner)}</dl>'


def _picture(it: Certificate) -> str:
    marks = "".join(
        f'<li><span class="time">{clock(mark.at)}</span> {"<b>" if mark.bad else ""}{_safe(mark.text)}'
        f"{'</b>' if mark.bad else ''}</li>"
        for mark in shown(it)
    )
    unproven = " (crossed: nobody knows)" if it.unproven else ""
    caption = (
        f"Top: which release gave the answers{unproven}. Middle: failures. Below: how long answers took. "
        "The numbers stand for what the list tells."
    )
    return (
        f'<figure><div class="wide">{timeline(it)}</div><figcaption>{caption}</figcaption></figure>'
        f'<ol class="key">{marks}</ol>'
    )


def _speeds(it: Certificate) -> str:
    if not it.speed:
        return ""
    return "<h2>How long answers took</h2>" + _table(
        ("", "answers", "half were faster than (p50)", "99 % were faster than (p99)"), speeds(it)
    )


def _doubts(it: Certificate) -> str:
    inner = "".join(f"<li>{_safe(doubt)}</li>" for doubt in doubts(it))
    return f'<h2>What this does not prove</h2><ul class="open">{inner}</ul>'


def _facts(it: Certificate) -> str:
    rows = "".join(f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(text)}</td></tr>' for name, text in facts(it))
    return f'<h2>What was deployed, and how it was watched</h2><table class="facts">{rows}</table>'


def _story(it: Certificate, journal: Sequence[Event]) -> str:
    """Every decision and what came of it. The counts are in the picture, and in --json."""
    rows = "".join(
        f"<tr><td>{clock(event.at - it.opened)}</td><td>{_safe(events.told(event))}{_reason(event)}</td></tr>"
        for event in journal
        if not isinstance(event, Verified)
    )
    return (
        '<h2>Every decision, with its reason</h2><table class="story"><thead><tr><th scope="col">time</th>'
        f'<th scope="col">what happened, and why</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _reason(event: Event) -> str:
    reason = events.reason(event)
    return f' <span class="reason">because: {_safe(reason)}</span>' if reason else ""


def _foot(it: Certificate, signer: str) -> str:
    signed = (
        f"It is signed with the SSH key {_safe(signer)}: <code>celadon history --verify FILE</code> shows whether "
        "it is unchanged."
        if signer
        else UNSIGNED
    )
    version = f" of Celadon {_safe(it.celadon)}" if it.celadon else ""
    return f"<footer>Written from the journal{version}. {signed}</footer>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{_safe(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _safe(text: str) -> str:
    """No markup, and nothing that turns the direction of the text: much of this comes from hosts."""
    return escape(safe(text))
