"""The journal's events as lines for people and objects for machines. Pure."""

from typing import Any

import msgspec

from celadon.cli.live import snake
from celadon.core.journal import (
    Abandoned,
    ActionFailed,
    ActionWorked,
    Asked,
    CommandFinished,
    CommandStarted,
    Committed,
    Driving,
    Event,
    Finished,
    Noted,
    Opened,
    Paused,
    Pruned,
    Retiring,
    Returning,
    Started,
    StepDone,
    Stopped,
    Verified,
    Warmed,
)


def told(event: Event) -> str:  # noqa: C901, PLR0912 - one case an event
    match event:
        case Opened():
            return "opened: preflight passed"
        case Driving(who=who, fence=fence):
            return f"driven by {who} (fence {fence})"
        case Asked(address=address, mode=mode, weight=weight):
            return f"balancer asked: {address or event.node} {mode.value}, weight {weight}"
        case Started(slot=slot):
            return f"started {slot}"
        case Warmed(slot=slot):
            return f"warmed up {slot}"
        case CommandStarted(kind=kind, name=name):
            return f"{kind} {name} started"
        case CommandFinished(kind=kind, name=name, ok=ok):
            return f"{kind} {name} {'passed' if ok else 'failed'}"
        case StepDone(index=index):
            return f"step {index + 1} done"
        case Committed():
            return "committed: all traffic is confirmed on the candidate"
        case Returning(reason=reason, asked_by=asked_by):
            return f"going back: {reason}" + (f" by {asked_by}" if asked_by else "")
        case Retiring():
            return "stable retires"
        case Stopped(slot=slot, cut=cut):
            return f"stopped {slot}, {cut} connections cut"
        case Abandoned(slot=slot):
            return f"abandoned {slot}: its host is dead"
        case Pruned(host=host):
            return f"tidied {host}"
        case Paused(paused=paused):
            return "paused" if paused else "unpaused"
        case ActionFailed(action=action, error=error):
            return f"failed: {action}: {error}"
        case ActionWorked(action=action):
            return f"worked again: {action}"
        case Noted(text=text):
            return text
        case Verified(sent=sent, failed=failed):
            return f"users' door: {sent} requests, {failed} failed"
        case Finished(result=result, reason=reason):
            return f"finished, {result}: {reason}"


def as_line(event: Event) -> dict[str, Any]:
    """One JSON Line: `at, event, because`, and the event's own fields."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    fields.pop("type", None)
    at = fields.pop("at", None)
    return {"at": at, "event": snake(type(event).__name__), "because": told(event), "data": fields}
