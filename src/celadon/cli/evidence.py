"""One rollout's evidence: as lines, and as one HTML file that needs nothing else. Pure."""

from datetime import UTC, datetime
from html import escape

from celadon.cli import ending as endings
from celadon.cli import events
from celadon.cli.figures import clock
from celadon.core.action import Finish
from celadon.core.intent import Intent
from celadon.drive.app import Ending, Past

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}"
    "td:first-child{white-space:nowrap;color:#555}"
)


def ending_of(past: Past) -> Ending:
    finished = past.journal.finished
    end = Finish(finished.result, finished.reason) if finished is not None else None
    return Ending(
        intent=Intent(rollout=past.rollout, finished=finished.result if finished is not None else ""),
        end=end,
        journal=past.journal,
        events=past.events,
        seconds=seconds(past),
    )


def seconds(past: Past) -> float:
    return past.events[-1].at - past.events[0].at if past.events else 0.0


def day(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def versions(past: Past) -> tuple[str, str]:
    stable = past.rollout.stable
    return stable.version if stable is not None else "-", past.rollout.candidate.version


def result(past: Past) -> str:
    return past.journal.finished.result.replace("_", " ") if past.journal.finished is not None else "open"


def summary(past: Past) -> list[tuple[str, str]]:
    rollout, journal = past.rollout, past.journal
    before, after = versions(past)
    began = past.events[0].at if past.events else rollout.opened_utc
    rows = [
        ("app", rollout.app),
        ("release", f"{before} → {after}"),
        ("artifact", rollout.candidate.artifact),
        ("colour", rollout.candidate_colour.value),
        ("result", result(past)),
        ("reason", journal.finished.reason if journal.finished is not None else ""),
        ("opened", f"{day(began)} by {rollout.opened_by or 'unknown'}"),
        ("took", clock(seconds(past))),
        ("requests", f"{endings.counted(journal)} through {rollout.verify.url}"),
        ("served by", endings.served(rollout, journal)),
        ("cut", f"{journal.cut:,}"),
    ]
    return [(name, text) for name, text in rows if text]


def lines(past: Past) -> list[str]:
    told = [f"rollout {past.rollout.number}", *(f"  {name:<10} {text}" for name, text in summary(past)), ""]
    return told + [f"  {day(event.at)}  {events.told(event)}" for event in past.events]


def html(past: Past) -> str:
    title = escape(f"{past.rollout.app}, rollout {past.rollout.number}")
    facts = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in summary(past))
    story = "".join(
        f"<tr><td>{escape(day(event.at))}</td><td>{escape(events.told(event))}</td></tr>" for event in past.events
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1><table>{facts}</table><h2>What happened</h2><table>{story}</table></html>\n"
    )
