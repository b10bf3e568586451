"""One rollout's evidence as lines for a terminal. The page for others is in `certificate/`. Pure."""

from celadon.cli import events
from celadon.cli.certificate.words import facts, headline, speeds, verdict
from celadon.cli.figures import clock, day, table
from celadon.core.action import Finish
from celadon.core.certificate import certify
from celadon.core.doubts import doubts
from celadon.core.intent import Intent
from celadon.drive.app import Ending, Past


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


def versions(past: Past) -> tuple[str, str]:
    stable = past.rollout.stable
    return stable.version if stable is not None else "-", past.rollout.candidate.version


def result(past: Past) -> str:
    return past.journal.finished.result.replace("_", " ") if past.journal.finished is not None else "open"


def lines(past: Past) -> list[str]:
    it = certify(past.rollout, past.events)
    told = [f"rollout {it.rollout}: {headline(it)} ({verdict(it)[0]})", *([f"  {it.reason}"] if it.reason else []), ""]
    told += [f"  {name:<15} {text}" for name, text in facts(it)]
    if it.speed:
        told += ["", *(f"  {line}" for line in table(("answers", "count", "p50", "p99"), speeds(it)))]
    told += ["", "what this does not prove", *(f"  - {doubt}" for doubt in doubts(it))]
    told += ["", "every decision, with its reason"]
    for event in past.events:
        told.append(f"  {day(event.at)}  {clock(event.at - it.opened):>6}  {events.told(event)}")
        if reason := events.reason(event):
            told.append(f"{'':32}because: {reason}")
    return told
