"""The journal's events as lines for people and objects for machines. Pure."""

from typing import Any

import msgspec

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
            return f"stopped {slot}, {'an unknown number of' if cut is None else cut} connections cut"
        case Abandoned(slot=slot):
            return f"abandoned {slot}: its host is dead"
        case Pruned(host=host):
            return f"tidied {host}"
        case Paused(paused=paused):
            return "paused" if paused else "unpaused"
        case ActionFailed(action=action, error=error, hint=hint):
            return f"failed: {action}: {error}" + (f" ({hint})" if hint else "")
        case ActionWorked(action=action):
            return f"worked again: {action}"
        case Noted(text=text):
            return text
        case Verified(sent=sent, failed=failed):
            return f"users' door: {sent} requests, {failed} failed"
        case Finished(result=result, reason=reason):
            return f"finished, {result}: {reason}"


def reason(event: Event) -> str:
    """Of the decision that it came from; empty where there was none, or where `told` says it already."""
    return "" if event.because in told(event) else event.because


def as_line(event: Event) -> dict[str, Any]:
    """One JSON Line: `at, event, because`, what it tells, and the event's own fields."""
    fields: dict[str, Any] = {}
    if not isinstance(event, Opened):  # it holds the whole rollout, which history tells in its own words
        fields = msgspec.to_builtins(event)
        fields = {name: value for name, value in fields.items() if name not in ("at", "because", "type")}
    because, text = event.because or told(event), told(event)
    return {"at": event.at, "event": snake(type(event).__name__), "because": because, "text": text, "data": fields}


def snake(name: str) -> str:
    """`SetNode` -> `set_node`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
