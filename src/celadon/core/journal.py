"""What happened, in order, and what it adds up to. Only what cannot be asked again is written down.

Events are written with the driver's UTC and read back on the reader's own monotonic clock (`fold`): an instant
that lies in the reader's future, because clocks differ, counts as now.
"""

from collections.abc import Iterable
from typing import Literal, assert_never

import msgspec

from celadon.core.evidence import Latency, summed
from celadon.core.foreign import Count, Utc
from celadon.core.observed import Mode
from celadon.core.opens import Opens
from celadon.core.release import Instant, ReleaseId, SlotKey


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    at: Utc = 0.0  # UTC, seconds since 1970; stamped when it is written
    because: str = ""  # the reason of the decision that it came from; empty: nobody decided it


class Opened(_Event, frozen=True, kw_only=True):
    """Preflight passed. `rollout`: the whole of it as JSON, so that a journal explains itself years later."""

    rollout: msgspec.Raw = msgspec.Raw(b"null")


class Driving(_Event, frozen=True, kw_only=True):
    """A driver took the lease."""

    who: str
    fence: Count


class Asked(_Event, frozen=True, kw_only=True):
    """The balancer is asked for this, now: written before the PUT, because its answer may be lost."""

    node: int
    mode: Mode
    weight: int
    port: int = 0
    address: str = ""


class Started(_Event, frozen=True, kw_only=True):
    """This rollout started the candidate here: one that is not running now exited, and is not merely left over."""

    slot: SlotKey


class Warmed(_Event, frozen=True, kw_only=True):
    slot: SlotKey
    replica: str


class CommandStarted(_Event, frozen=True, kw_only=True):
    kind: Literal["test", "hook"]
    name: str


class CommandFinished(_Event, frozen=True, kw_only=True):
    kind: Literal["test", "hook"]
    name: str
    ok: bool
    detail: tuple[str, ...] = ()


class StepDone(_Event, frozen=True, kw_only=True):
    index: Count
    waited: float = 0.0  # seconds of it that were a declared pause: no deadline counts them


class Committed(_Event, frozen=True, kw_only=True):
    """All traffic was confirmed on the candidate. From here nothing automatic removes it before stable is back."""


class Returning(_Event, frozen=True, kw_only=True):
    """It was decided to go back to stable."""

    reason: str
    asked_by: str = ""  # empty: Celadon decided
    detail: tuple[str, ...] = ()


class Retiring(_Event, frozen=True, kw_only=True):
    """Stable is about to be signalled: from here the balancer alone cannot bring it back."""


class Stopped(_Event, frozen=True, kw_only=True):
    slot: SlotKey
    release: ReleaseId
    cut: Count | None  # connections open when it was signalled; None: they could not be counted


class Abandoned(_Event, frozen=True, kw_only=True):
    """Its host is dead past its deadline and the balancer sends it nothing: swept when the host returns."""

    slot: SlotKey


class Pruned(_Event, frozen=True, kw_only=True):
    host: str


class Paused(_Event, frozen=True, kw_only=True):
    paused: bool


class ActionFailed(_Event, frozen=True, kw_only=True):
    action: str  # the action's own words: what failures are counted by
    error: str
    final: bool = False  # trying again is useless
    hint: str = ""  # what somebody must do then; for people


class ActionWorked(_Event, frozen=True, kw_only=True):
    """What had failed before has worked: its failures are forgotten."""

    action: str


class Noted(_Event, frozen=True, kw_only=True):
    """For people: a change of health, what was served, how long something took. Never read by `decide`."""

    text: str
    data: dict[str, object] = {}


class Verified(_Event, frozen=True, kw_only=True):
    """What the verifier saw since the last such event."""

    sent: Count
    failed: Count
    failed_on_candidate: Count
    unknown: Count = 0
    served: dict[ReleaseId, Count] = {}
    unproven: Count = 0
    latency: Latency = Latency()  # of the good answers
    opens: Opens = Opens()


class Finished(_Event, frozen=True, kw_only=True):
    result: Literal["done", "rolled_back", "failed"]
    reason: str


Event = (
    Opened
    | Driving
    | Asked
    | Started
    | Warmed
    | CommandStarted
    | CommandFinished
    | StepDone
    | Committed
    | Returning
    | Retiring
    | Stopped
    | Abandoned
    | Pruned
    | Paused
    | ActionFailed
    | ActionWorked
    | Noted
    | Verified
    | Finished
)


class Target(msgspec.Struct, frozen=True):
    """What a node was, or should be, asked for."""

    mode: Mode
    weight: int


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What the events add up to. Instants are on the reader's clock."""

    length: int = 0
    last_at: Instant | None = None
    driving_at: Instant | None = None  # when the present driver began: time without a driver counts for no deadline
    opened_at: Instant | None = None
    asked: dict[int, Target] = {}
    asked_at: dict[int, Instant] = {}
    raised: frozenset[int] = frozenset()  # nodes ever asked to take traffic in this rollout
    netted: frozenset[int] = frozenset()  # nodes ever asked to be the net: their UP may be from before
    lowered: frozenset[int] = frozenset()  # nodes ever asked out
    started: frozenset[SlotKey] = frozenset()
    warmed: frozenset[tuple[SlotKey, str]] = frozenset()
    warmed_at: Instant | None = None  # the last warm-up: from here a gate waits for nobody but a person
    started_commands: frozenset[tuple[str, str]] = frozenset()
    commands: dict[tuple[str, str], bool] = {}
    steps_done: int = 0
    step_at: Instant | None = None  # when the present step began
    committed_at: Instant | None = None
    returning: Returning | None = None
    returning_at: Instant | None = None
    retiring_at: Instant | None = None
    stopped: frozenset[tuple[SlotKey, ReleaseId]] = frozenset()
    cut: int = 0
    abandoned: frozenset[SlotKey] = frozenset()
    pruned: frozenset[str] = frozenset()
    paused_at: Instant | None = None
    paused_for: float = 0.0
    failures: dict[str, tuple[int, Instant, str, bool]] = {}  # count, last, error, final
    sent: int = 0
    failed: int = 0
    failed_on_candidate: int = 0
    unknown: int = 0  # lost by our own machine or network: evidence of nothing
    served: dict[ReleaseId, int] = {}
    unproven: int = 0
    opens: Opens = Opens()
    finished: Finished | None = None

    def is_refused(self, node: int) -> bool:
        """The last request for this node failed, and none like it has worked since."""
        target = self.asked.get(node)
        return target is not None and asking(node, target) in self.failures


EMPTY = Journal()


def asking(node: int, target: Target) -> str:
    """The words by which failures of this request are counted."""
    return f"SetNode {node} {target.mode.value} {target.weight}"


def fold(journal: Journal, events: Iterable[Event], *, offset: float, now: Instant) -> Journal:
    """Add events to what is known. `offset` turns their UTC into this reader's clock: instant = at + offset."""
    for event in events:
        journal = _remember(journal, event, min(event.at + offset, now))
    return journal


def _remember(journal: Journal, event: Event, at: Instant) -> Journal:  # noqa: C901, PLR0912, PLR0915 - one case an event
    changes: dict[str, object]
    match event:
        case Opened():
            changes = {"opened_at": at, "step_at": at}
        case Asked():
            target = Target(event.mode, event.weight)
            changes = {"asked": journal.asked | {event.node: target}, "asked_at": journal.asked_at | {event.node: at}}
            if event.mode in {Mode.ACCEPT, Mode.BACKUP}:
                changes["raised"] = journal.raised | {event.node}
            if event.mode is Mode.BACKUP:
                changes["netted"] = journal.netted | {event.node}
            if event.mode is Mode.REJECT:
                changes["lowered"] = journal.lowered | {event.node}
        case Started():
            changes = {"started": journal.started | {event.slot}}
        case Warmed():
            changes = {"warmed": journal.warmed | {(event.slot, event.replica)}, "warmed_at": at}
        case CommandStarted():
            changes = {"started_commands": journal.started_commands | {(event.kind, event.name)}}
        case CommandFinished():
            changes = {"commands": journal.commands | {(event.kind, event.name): event.ok}}
        case StepDone():
            changes = {"steps_done": max(journal.steps_done, event.index + 1), "step_at": at}
            changes["paused_for"] = journal.paused_for + event.waited
        case Committed():
            changes = {"committed_at": journal.committed_at if journal.committed_at is not None else at}
        case Returning():
            changes = {} if journal.returning is not None else {"returning": event, "returning_at": at, "failures": {}}
        case Retiring():
            changes = {"retiring_at": at}
        case Stopped():
            stopped = journal.stopped | {(event.slot, event.release)}
            changes = {"stopped": stopped, "cut": journal.cut + (event.cut or 0)}
        case Abandoned():
            changes = {"abandoned": journal.abandoned | {event.slot}}
        case Pruned():
            changes = {"pruned": journal.pruned | {event.host}}
        case Paused():
            changes = _pause(journal, event, at)
        case ActionFailed():
            count = journal.failures.get(event.action, (0, at, "", False))[0] + 1
            changes = {"failures": journal.failures | {event.action: (count, at, event.error, event.final)}}
        case ActionWorked():
            changes = {"failures": {key: value for key, value in journal.failures.items() if key != event.action}}
        case Verified():
            changes = {
                "sent": journal.sent + event.sent,
                "failed": journal.failed + event.failed,
                "failed_on_candidate": journal.failed_on_candidate + event.failed_on_candidate,
                "unknown": journal.unknown + event.unknown,
                "unproven": journal.unproven + event.unproven,
                "served": summed((journal.served, event.served)),
                "opens": journal.opens.add(event.opens),
            }
        case Finished():
            changes = {"finished": event}
        case Driving():
            idle = at - journal.last_at if journal.last_at is not None else 0.0
            changes = {
                "driving_at": at,
                "paused_for": journal.paused_for + (idle if journal.paused_at is None else 0.0),
            }
        case Noted():
            changes = {}
        case _:
            assert_never(event)
    return msgspec.structs.replace(journal, length=journal.length + 1, last_at=at, **changes)


def _pause(journal: Journal, event: Paused, at: Instant) -> dict[str, object]:
    if event.paused:
        return {"paused_at": journal.paused_at if journal.paused_at is not None else at}
    if journal.paused_at is None:
        return {}
    return {"paused_at": None, "paused_for": journal.paused_for + (at - journal.paused_at)}
