"""How a drive's end is told: the summary on stdout, the reason on stderr, the exit code. From the journal alone."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from celadon.cli.certificate.words import by_count
from celadon.cli.figures import clock, many, percent
from celadon.cli.output import Output, Result, Verdict
from celadon.core.action import Finish, Halt
from celadon.core.bound import upper_bound
from celadon.core.certificate import switch_lag
from celadon.core.intent import Rollout
from celadon.core.journal import ActionFailed, Asked, CommandFinished, Event, Journal, Noted, Returning
from celadon.core.observed import Mode
from celadon.core.release import Colour
from celadon.drive.app import Ending

Wish = Literal["forward", "back"]
"""What the caller asked for: a rollout that went back is a success to whoever asked for that."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the end is: one verdict for people, machines and the exit code alike."""

    result: Verdict
    exit: int
    live: Colour | None


def verdict(ending: Ending, wish: Wish) -> Told:
    rollout = ending.intent.rollout
    live = rollout.candidate_colour if ending.journal.committed_at is not None else rollout.stable_colour
    match ending.end:
        case None:
            return Told(result="unfinished", exit=4, live=live)
        case Halt(needs_person=True):
            return Told(result="unfinished", exit=2, live=live)
        case Halt():
            return Told(result="unfinished", exit=4, live=live)
        case Finish(result="done" | "committed"):
            return Told(result="done", exit=0, live=rollout.candidate_colour)
        case Finish(result="rolled_back"):
            return Told(result="rolled_back", exit=0 if wish == "back" else 3, live=rollout.stable_colour)
        case Finish():
            return Told(result="failed", exit=0 if wish == "back" else 3, live=None)


def tell(output: Output, ending: Ending, wish: Wish = "forward", *, stays: str | None = None) -> Result:
    """Print the end and return it. `stays`: what serves, as last seen, for an end in the middle."""
    told = verdict(ending, wish)
    rollout = ending.intent.rollout
    match ending.end:
        case None:
            output.error(_stopped(rollout, stays))
        case Halt():
            output.error(_halted(ending.end, rollout, stays))
        case Finish(result="rolled_back" | "failed") if told.exit:
            output.error(_rolled_back(ending, told))
        case Finish(because=because) if because.startswith("already live"):
            output.data(f"{rollout.app} {rollout.candidate.version} is live already; nothing was changed")
            for event in ending.events:
                if isinstance(event, Noted):
                    output.warn(f"{event.text}: the next version goes to {rollout.candidate_colour.other}, whole")
        case _:
            output.data(summary(ending, told))
    return Result(
        result=told.result, exit=told.exit, keys=keys(ending, told), next=_next(told, rollout), app=rollout.app
    )


# -- for people ------------------------------------------------------------------------------------


def summary(ending: Ending, told: Told) -> list[str]:
    rollout, journal = ending.intent.rollout, ending.journal
    back = told.result in ("rolled_back", "failed")
    release = rollout.stable if back else rollout.candidate
    version = release.version if release is not None else "what was there before"
    first = f"{rollout.app} {version} is live on {told.live}" if told.live else f"{rollout.app}: nothing serves"
    lines = [f"{first:<64} {clock(ending.seconds):>5}"]
    lines.append(_line("requests", f"{counted(journal)} through {rollout.verify.url}"))
    lines.append(_line("served by", served(rollout, journal)))
    lag = switch_lag(ending.events)
    if lag is not None:
        lines.append(_line("switch lag", f"{lag:.1f} s from the API's answer to the last request of what was left"))
    lines.append(_line("drain", f"{journal.cut:,} cut"))
    if journal.abandoned:
        lines.append(_line("abandoned", f"{', '.join(sorted(journal.abandoned))}: its host does not answer"))
    lines.append(_line("evidence", f"celadon history {rollout.number} --html {rollout.app}-{rollout.number}.html"))
    if not back:
        lines.append(_line("way back", way_back(ending, rollout)))
    return lines


def _line(name: str, text: str) -> str:
    return f"  {name:<11} {text}"


def counted(journal: Journal) -> str:
    if not journal.sent:
        return "none was sent"
    lost = f", {journal.unknown:,} lost on our side" if journal.unknown else ""
    return f"{journal.sent:,}, {journal.failed:,} failed{lost} (95 % sure: below {percent(bound(journal))} %)"


def bound(journal: Journal) -> float:
    """What we lost ourselves is no evidence, and makes nobody surer."""
    return upper_bound(journal.failed, journal.sent - journal.unknown)


def served(rollout: Rollout, journal: Journal) -> str:
    versions = {rollout.candidate.id: rollout.candidate.version}
    if rollout.stable is not None:
        versions[rollout.stable.id] = rollout.stable.version
    parts = [f"{versions.get(release, release)} {count:,}" for release, count in sorted(journal.served.items())]
    figures = journal.opens.figures()
    if not parts and any(counted > error for counted, error in figures.values()):
        return by_count(versions, figures, journal.opens.uncounted)
    if not parts:
        return "unproven: no answer said which release gave it (set verify.contains)"
    return " · ".join([*parts, f"unproven {journal.unproven:,}"])


def way_back(ending: Ending, rollout: Rollout) -> str:
    if rollout.stable is None:
        return "none: this is the first release" if rollout.stable_colour is None else "what was there is not ours"
    if isinstance(ending.end, Finish) and ending.end.result == "committed":
        return f"celadon rollback ({rollout.stable.version} is warm: only the balancer changes)"
    return f"celadon rollback ({rollout.stable.version} is kept)"


def _rolled_back(ending: Ending, told: Told) -> list[str]:
    rollout, journal = ending.intent.rollout, ending.journal
    assert isinstance(ending.end, Finish)  # noqa: S101 - the caller's case; for the type checker
    word = "rolled back" if told.result == "rolled_back" else "failed"
    reason = ending.end.because
    if rollout.candidate.version not in reason:
        reason = f"{rollout.candidate.version}: {reason}"
    lines = [f"{word}: {reason}"]
    stable = rollout.stable.version if rollout.stable is not None else "what was there before"
    if told.live is None:
        lines.append("  nothing serves: this was the first release")
    else:
        kept = "kept all traffic" if not took_traffic(ending) else "has all traffic again"
        lines.append(f"  {stable} {kept}: {many(journal.sent, 'request')}, {journal.failed:,} failed")
    lines += [f"  {line}" for line in details(ending.events) if line not in reason]
    failed = [event for event in ending.events if isinstance(event, ActionFailed) and event.final and event.hint]
    todo = failed[-1].hint if failed else "fix, push, deploy the new version"
    logs = f"celadon logs --colour {rollout.candidate_colour} --release {rollout.candidate.id} -n 200"
    return [*lines, f"hint: {todo} · more: {logs}"]


def took_traffic(ending: Ending) -> bool:
    slots = {slot.node_address for slot in ending.intent.rollout.candidate_slots}
    return any(isinstance(e, Asked) and e.mode is Mode.ACCEPT and e.address in slots for e in ending.events)


def details(events: Sequence[Event]) -> list[str]:
    """What is known beside the reason: a command's output, the last failure, the replica's last lines."""
    lines: list[str] = []
    for event in events:
        match event:
            case Returning(detail=detail) if detail:
                lines += detail
            case CommandFinished(ok=False, name=name, detail=detail):
                lines += [f"{name} said:", *(f"  | {line}" for line in detail)]
            case ActionFailed(final=True, error=error):
                lines.append(error)
            case Noted(text=text, data=data) if isinstance(tail := data.get("tail"), (list, tuple)):
                lines += [text, *(f"  | {line}" for line in tail)]
    return lines[-40:]


def _stopped(rollout: Rollout, stays: str | None) -> list[str]:
    serves = f": {stays}" if stays else ""
    return [
        f"Stopped driving. Rollout {rollout.number} stays as it is{serves}.",
        "  Nobody holds the lease; nothing moves until someone says so.",
        "hint: go on: celadon resume · go back: celadon abort",
    ]


def _halted(halt: Halt, rollout: Rollout, stays: str | None) -> list[str]:
    serves = f": {stays}" if stays else ""
    return [
        f"error: rollout {rollout.number} waits: {halt.because}",
        f"  it stays as it is{serves}",
        f"hint: {halt.hint}",
    ]


def _next(told: Told, rollout: Rollout) -> tuple[str, ...]:
    if told.result == "unfinished":
        return ("celadon resume", "celadon abort")
    if told.exit:
        return (f"celadon logs --colour {rollout.candidate_colour} -n 200",)
    return (f"celadon history {rollout.number}",) if rollout.number else ("celadon status",)


# -- for machines ----------------------------------------------------------------------------------


def keys(ending: Ending, told: Told) -> dict[str, Any]:
    rollout, journal = ending.intent.rollout, ending.journal
    return {
        "rollout": rollout.number,
        "from": _release(rollout, stable=True),
        "to": _release(rollout, stable=False),
        "live_colour": told.live,
        "requests": journal.sent,
        "failed": journal.failed,
        "served_by": dict(journal.served) | ({"unproven": journal.unproven} if journal.unproven else {}),
        "connections": {
            release: {"counted": n, "error": error} for release, (n, error) in sorted(journal.opens.figures().items())
        },
        "switch_lag_s": switch_lag(ending.events),
        "cut": journal.cut,
        "evidence": evidence(ending),
    }


def evidence(ending: Ending) -> dict[str, Any]:
    journal = ending.journal
    return {
        "reason": ending.end.because if ending.end is not None else "stopped",
        "seconds": round(ending.seconds, 1),
        "failure_bound": bound(journal),
        "details": details(ending.events),
    }


def _release(rollout: Rollout, *, stable: bool) -> dict[str, str] | None:
    release = rollout.stable if stable else rollout.candidate
    return None if release is None else {"id": release.id, "version": release.version, "artifact": release.artifact}
