"""`celadon status [--follow|--wait]`: both colours, the balancer, the open rollout."""

import asyncio
from typing import Any

from celadon.cli import ending as endings
from celadon.cli import events
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.figures import age, table, time_of_day
from celadon.cli.output import Result
from celadon.cli.situation import Situation, see
from celadon.core.action import Finish
from celadon.core.errors import CeladonError, Unavailable
from celadon.core.journal import Event
from celadon.core.observed import BalancerFacts, HostFacts, SlotFacts
from celadon.core.release import Colour, Release, Slot
from celadon.drive.app import Ending


async def run(call: Call) -> Result:
    async with call.connected() as connected:
        if call.values["wait"] is not None:
            return await _wait(call, connected)
        if call.values["follow"]:
            call.follows = True
            return await _follow(call, connected)
        situation = await see(connected)
        call.output.data(lines(situation, connected))
        return Result(keys=keys(situation, connected), next=_next(situation))


# -- once ------------------------------------------------------------------------------------------


def lines(situation: Situation, connected: Connected) -> list[str]:
    wanted = connected.wanted
    told = [f"{wanted.app}: {_headline(situation)}"]
    rows = [_row(situation, colour, slot) for colour in Colour for slot in wanted.slots.get(colour, ())]
    told += ["", *table(("colour", "slot", "release", "health", "open", "balancer"), rows)]
    unseen = [f"{name}: {f.message}" for name, f in situation.hosts.items() if isinstance(f, CeladonError)]
    if unseen:
        told += ["", *unseen]
    if isinstance(situation.balancer, CeladonError):
        told += ["", f"balancer: {situation.balancer.message}"]
    return [*told, "", *_rollout(situation)]


def _headline(situation: Situation) -> str:
    now = situation.live
    if now is None:
        return "the balancer could not be read, so which colour is live is not known"
    if now.colour is None:
        return "nothing serves" if now.kind == "none" else f"ambiguous: {now.because}"
    release = _release_of(situation, now.colour)
    version = f" ({release.version})" if release is not None else ""
    note = f": only as the net, {now.because}" if now.kind == "backup" else ""
    return f"{now.colour} is live{version}{note}"


def _release_of(situation: Situation, colour: Colour) -> Release | None:
    rollout = situation.last
    if rollout is None:
        return None
    return rollout.candidate if colour is rollout.candidate_colour else rollout.stable


def _row(situation: Situation, colour: Colour, slot: Slot) -> tuple[str, ...]:
    facts = situation.slot(slot)
    nodes = situation.nodes(slot)
    modes = ", ".join(dict.fromkeys(f"{n.mode.value} {_up(n.up)}" for n in nodes)) or "no node"
    return (colour.value, slot.key, _holds(situation, facts), _health(facts), _count(facts), modes)


def _up(up: bool | None) -> str:  # noqa: FBT001 - the API's own three answers
    return {True: "UP", False: "DOWN", None: "Unknown"}[up]


def _holds(situation: Situation, facts: SlotFacts | None) -> str:
    if facts is None:
        return "?"
    if facts.foreign is not None:
        return f"{facts.foreign} (not ours)"
    if facts.replica is None:
        return "-"
    return situation.version(facts.replica.release) + ("" if facts.replica.running else " (stopped)")


def _health(facts: SlotFacts | None) -> str:
    if facts is None:
        return "?"
    if facts.probe is None:
        return "-"
    return "ok" if facts.probe.ok else facts.probe.error or f"status {facts.probe.status}"


def _count(facts: SlotFacts | None) -> str:
    return "?" if facts is None or facts.open is None else str(facts.open)


def _rollout(situation: Situation) -> list[str]:
    if isinstance(situation.intent, CeladonError):
        return [f"home: {situation.intent.message}"]
    if situation.intent is None and situation.adopted is not None:
        return [f"the home was replaced by {situation.adopted.by}: what was under way before is not known"]
    if situation.intent is None:
        return ["nothing was deployed by Celadon yet"]
    rollout, requests = situation.intent.rollout, situation.intent.requests
    stable = rollout.stable.version if rollout.stable is not None else "nothing"
    versions = f"{stable} → {rollout.candidate.version}"
    if situation.intent.finished:
        return [f"rollout {rollout.number} ({versions}): {situation.intent.finished.replace('_', ' ')}"]
    where = "going back" if requests.go_back else "paused" if requests.paused else stage(situation)
    return [f"rollout {rollout.number} ({versions}) is open: {where}", f"  {_driver(situation)}"]


def stage(situation: Situation) -> str:
    journal = situation.journal
    if journal is None:
        return "not begun"
    if journal.returning is not None:
        return f"going back: {journal.returning.reason}"
    if journal.retiring_at is not None:
        return "retiring stable"
    if journal.committed_at is not None:
        return "bake"
    return f"step {journal.steps_done + 1}"


def _driver(situation: Situation) -> str:
    lease = situation.lease
    if isinstance(lease, CeladonError) or lease is None or not lease.holder:
        return "nobody drives it: celadon resume · celadon abort"
    since = age(situation.as_of - lease.since_utc)
    return f"driven by {lease.holder}, since {since} ago; if that process is dead: celadon resume"


def _next(situation: Situation) -> tuple[str, ...]:
    return ("celadon status --follow", "celadon abort") if situation.open is not None else ()


def keys(situation: Situation, connected: Connected) -> dict[str, Any]:
    rollout = situation.open
    lease = situation.lease
    now = situation.live
    release = _release_of(situation, now.colour) if now is not None and now.colour is not None else None
    return {
        "live_colour": now.colour if now is not None else None,
        "live": {"kind": now.kind, "because": now.because} if now is not None else None,
        "stable": _brief(rollout.stable if rollout is not None else release),
        "candidate": _brief(rollout.candidate) if rollout is not None else None,
        "slots": [_slot_key(situation, c, s) for c, its in connected.wanted.slots.items() for s in its],
        "balancer": situation.balancer if isinstance(situation.balancer, BalancerFacts) else None,
        "rollout": {"number": rollout.number, "stage": stage(situation)} if rollout is not None else None,
        "lease": {"holder": lease.holder, "fence": lease.fence, "since": lease.since_utc}
        if lease is not None and not isinstance(lease, CeladonError)
        else None,
        "unseen": {name: f.message for name, f in situation.hosts.items() if not isinstance(f, HostFacts)},
        "as_of": situation.as_of,
    }


def _brief(release: Release | None) -> dict[str, str] | None:
    return None if release is None else {"id": release.id, "version": release.version}


def _slot_key(situation: Situation, colour: Colour, slot: Slot) -> dict[str, Any]:
    facts = situation.slot(slot)
    replica = facts.replica if facts is not None else None
    return {
        "colour": colour,
        "host": slot.host,
        "address": slot.node_address,
        "release": replica.release if replica is not None else None,
        "running": replica.running if replica is not None else None,
        "healthy": facts.probe.ok if facts is not None and facts.probe is not None else None,
        "open": facts.open if facts is not None else None,
        "foreign": facts.foreign if facts is not None else None,
        "nodes": [{"port": n.port, "mode": n.mode, "weight": n.weight, "up": n.up} for n in situation.nodes(slot)],
    }


# -- for as long as it takes -----------------------------------------------------------------------


async def _follow(call: Call, connected: Connected) -> Result:
    situation = await see(connected)
    if situation.open is None:
        call.output.data(lines(situation, connected))
        return Result(keys=keys(situation, connected))

    def each(event: Event) -> None:
        call.output.stream(events.as_line(event))
        call.output.data(f"{time_of_day(event.at)}  {events.told(event)}")

    call.stop = connected.app.stop
    ending = await connected.app.follow(each)
    return Result(keys=endings.keys(ending, endings.verdict(ending, "forward")))


async def _wait(call: Call, connected: Connected) -> Result:
    """Exits as the deploy does: also when it ended before anybody waited."""
    within = call.values["wait"].total_seconds()
    intent = await connected.app.intent()
    if intent is None:
        raise Unavailable("nothing was deployed yet, so there is nothing to wait for", hint="celadon deploy VERSION")
    if intent.finished:
        past = await connected.app.journal(intent.rollout.number)
        finished = past.journal.finished
        end = Finish(finished.result, finished.reason) if finished is not None else None
        ending = Ending(intent=intent, end=end, journal=past.journal, events=past.events, seconds=_took(past.events))
        return endings.tell(call.output, ending)
    call.stop = connected.app.stop
    try:
        async with asyncio.timeout(within):
            ending = await connected.app.follow()
    except TimeoutError:
        hint = "celadon status · wait longer: celadon status --wait 1h"
        raise Unavailable(f"rollout {intent.rollout.number} is still open after {within:.0f} s", hint=hint) from None
    if ending.end is None:
        call.output.error(["Stopped waiting; the rollout goes on."])
        return Result(result="unfinished", exit=4, next=("celadon status",))
    return endings.tell(call.output, ending)


def _took(events: tuple[Event, ...]) -> float:
    return events[-1].at - events[0].at if events else 0.0
