"""`celadon history [ROLLOUT] [--html FILE]`: all rollouts, or the evidence of one."""

from pathlib import Path
from typing import Any

from celadon.cli import ending as endings
from celadon.cli import events, evidence
from celadon.cli.call import Call
from celadon.cli.figures import clock, table
from celadon.cli.output import Result
from celadon.core.errors import Refused
from celadon.drive.app import Past


async def run(call: Call) -> Result:
    if call.values["verify"] is not None:
        raise Refused("history --verify is not in this version", hint="certificates come with their own issue")
    number = _number(call.values["rollout"])
    if number is None and call.values["html"] is not None:
        raise Refused("--html belongs to one rollout", hint="celadon history 14 --html FILE")
    async with call.connected() as connected:
        if number is None:
            return _all(call, await connected.app.history())
        return _one(call, await connected.app.journal(number))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refused(f"{text!r} is not a rollout's number", hint="celadon history lists them")
    return int(text)


def _all(call: Call, pasts: list[Past]) -> Result:
    rows = [
        (
            str(past.rollout.number),
            evidence.day(past.events[0].at if past.events else past.rollout.opened_utc),
            " → ".join(evidence.versions(past)),
            evidence.result(past),
            f"{past.journal.sent:,}",
            f"{past.journal.failed:,}",
            clock(evidence.seconds(past)),
            past.rollout.opened_by or "-",
        )
        for past in pasts
    ]
    if rows:
        call.output.data(table(("rollout", "opened", "release", "result", "requests", "failed", "took", "by"), rows))
    else:
        call.output.say("nothing was deployed yet")
    return Result(keys={"rollouts": [_brief(past) for past in pasts]})


def _brief(past: Past) -> dict[str, Any]:
    before, after = evidence.versions(past)
    return {
        "rollout": past.rollout.number,
        "kind": past.rollout.kind,
        "from": before if before != "-" else None,
        "to": after,
        "result": past.journal.finished.result if past.journal.finished is not None else None,
        "requests": past.journal.sent,
        "failed": past.journal.failed,
        "opened": past.events[0].at if past.events else past.rollout.opened_utc,
        "opened_by": past.rollout.opened_by,
        "seconds": round(evidence.seconds(past), 1),
    }


def _one(call: Call, past: Past) -> Result:
    target: Path | None = call.values["html"]
    if target is not None:
        path = call.cwd / target
        try:
            path.write_text(evidence.html(past), "utf-8")
        except OSError as error:
            raise Refused(f"{target}: cannot be written: {error.strerror}", hint="another FILE") from None
        call.output.say(f"wrote {target}")
    else:
        call.output.data(evidence.lines(past))
    ending = evidence.ending_of(past)
    return Result(
        keys={
            "rollout": past.rollout.number,
            "events": [events.as_line(event) for event in past.events],
            "evidence": endings.keys(ending, endings.verdict(ending, "back")),
        }
    )
