"""What is ahead if nothing goes wrong: `decide` run forward over what each action should bring about.

A forecast: nothing executes it. The driver decides afresh each time, so a stale plan is harmless.
"""

from collections.abc import Iterator
from typing import assert_never

import msgspec

from celadon.core.action import (
    Act,
    Action,
    Decision,
    Finish,
    Halt,
    Look,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    RunCommand,
    SetNode,
    Start,
    Stop,
    Wait,
    WarmUpSlot,
)
from celadon.core.decide import decide
from celadon.core.intent import Intent
from celadon.core.journal import Asked, CommandFinished, Event, Pruned, Started, Stopped, Warmed, fold
from celadon.core.observed import HostSight, Mode, PublicSight, ReplicaFacts, SlotFacts, SlotSight
from celadon.core.release import Instant, Slot
from celadon.core.scene import Observed

LIMIT = 2000  # decisions: many times more than any good path has
MOMENT = 0.2  # seconds that an action or a look is taken to last
GUESS = {"PutArtifact": 10.0, "Start": 2.0, "RunCommand": 10.0, "WarmUpSlot": 1.0, "Stop": 1.0}


def plan(observed: Observed, intent: Intent, now: Instant) -> Iterator[tuple[Instant, Decision]]:
    """The decisions ahead and when, in seconds on the given clock. Ends with Finish or Halt."""
    check = max(intent.rollout.timing.poll, 1.0) * 2
    for _ in range(LIMIT):
        decision = decide(observed, intent, now)
        yield now, decision
        match decision:
            case Finish() | Halt():
                return
            case Act(actions=actions):
                now += max(GUESS.get(type(action).__name__, MOMENT) for action in actions)
                for action in actions:
                    observed = expect(observed, intent, action, now)
                now += MOMENT
            case Look(nodes=nodes):
                observed = _read(observed, nodes or tuple(observed.nodes), now)
                now += MOMENT
            case Wait(until=until):
                if "promote" in decision.because:
                    intent = _approved(intent)
                step = intent.rollout.timing.interval
                now = min(until, now + max(check, step)) if until is not None and until > now else now + step
                observed = _all_well(observed, intent, now)
    raise RuntimeError(f"no end after {LIMIT} decisions: {decision}")


def expect(observed: Observed, intent: Intent, action: Action, now: Instant) -> Observed:
    """What we believe the world looks like once the action has worked."""
    candidate = intent.rollout.candidate
    match action:
        case Record(event=event):
            return _remember(observed, event, now)
        case PutSettings(host=host):
            return _host(observed, host, now, settings=candidate.id)
        case PutArtifact(host=host):
            return _host(observed, host, now, artifact=candidate.artifact)
        case Start(slot=slot):
            replica = ReplicaFacts(candidate.id, "expected", running=True, restarts=0, exit_code=None)
            facts = SlotFacts(slot.key, replica, listening=True, open=0, opened=0)
            return _remember(_slot(observed, slot, SlotSight(facts=facts, since=now)), Started(slot=slot.key), now)
        case WarmUpSlot(slot=slot, replica=replica_id):
            return _remember(observed, Warmed(slot=slot.key, replica=replica_id), now)
        case RunCommand(kind=kind, name=name):
            return _remember(observed, CommandFinished(kind=kind, name=name, ok=True), now)
        case SetNode():
            return _set(observed, action, now)
        case Stop(slot=slot, release=release):
            gone = _slot(observed, slot, SlotSight(facts=SlotFacts(slot.key, open=0, opened=0), since=now))
            return _remember(gone, Stopped(slot=slot.key, release=release, cut=0), now)
        case Prune(host=host):
            return _remember(observed, Pruned(host=host), now)
        case _:
            assert_never(action)


def _remember(observed: Observed, event: Event, now: Instant) -> Observed:
    journal = fold(observed.journal, [msgspec.structs.replace(event, at=now)], offset=0.0, now=now)
    return msgspec.structs.replace(observed, journal=journal)


def _set(observed: Observed, action: SetNode, now: Instant) -> Observed:
    asked = Asked(node=action.node, mode=action.mode, weight=action.weight)
    observed = _remember(observed, asked, now)
    node = observed.nodes[action.node]
    rises = action.mode is Mode.ACCEPT and node.facts.mode is not Mode.ACCEPT
    up = None if rises else (node.facts.up if action.mode is not Mode.REJECT else False)
    facts = msgspec.structs.replace(node.facts, mode=action.mode, weight=action.weight, up=up)
    was_off = node.was_off or node.facts.mode is Mode.REJECT
    changed = msgspec.structs.replace(node, facts=facts, since=now + MOMENT, read_at=now, reads=1, was_off=was_off)
    return msgspec.structs.replace(observed, nodes=observed.nodes | {action.node: changed})


def _read(observed: Observed, nodes: tuple[int, ...], now: Instant) -> Observed:
    """A read that shows what was asked for; a node that accepts has passed its checks by the second one."""
    read = {}
    for id_ in nodes:
        node = observed.nodes[id_]
        up = node.facts.up
        if node.facts.mode is not Mode.REJECT and (up or node.reads > 1):
            up = True
        facts = msgspec.structs.replace(node.facts, up=up)
        rose = node.rose or (node.was_off and facts.mode is Mode.ACCEPT and up is True)
        read[id_] = msgspec.structs.replace(node, facts=facts, read_at=now + MOMENT, reads=node.reads + 1, rose=rose)
    return msgspec.structs.replace(observed, nodes=observed.nodes | read)


def _host(observed: Observed, name: str, now: Instant, *, settings: str = "", artifact: str = "") -> Observed:
    sight = observed.hosts[name]
    facts = sight.facts
    if facts is None:
        return observed
    facts = msgspec.structs.replace(
        facts,
        settings=facts.settings | ({settings} if settings else set()),
        artifacts=facts.artifacts | ({artifact} if artifact else set()),
    )
    changed = msgspec.structs.replace(sight, facts=facts, seen_at=now)
    return msgspec.structs.replace(observed, hosts=observed.hosts | {name: changed})


def _slot(observed: Observed, slot: Slot, sight: SlotSight) -> Observed:
    host = observed.hosts[slot.host]
    changed = msgspec.structs.replace(host, slots=host.slots | {slot.key: sight})
    return msgspec.structs.replace(observed, hosts=observed.hosts | {slot.host: changed})


def _all_well(observed: Observed, intent: Intent, now: Instant) -> Observed:
    """Probes pass, connections end, users are answered, and every host answers."""
    hosts = {}
    for name, host in observed.hosts.items():
        slots = {
            key: msgspec.structs.replace(
                sight,
                passes=sight.passes + 1,
                fails=0,
                quiet_since=sight.quiet_since if sight.quiet_since is not None else now,
            )
            for key, sight in host.slots.items()
        }
        hosts[name] = HostSight(facts=host.facts, seen_at=now, lost_since=None, slots=slots)
    public = PublicSight(passes=intent.rollout.verify.passes, since=now)
    return msgspec.structs.replace(observed, hosts=hosts, public=public)


def _approved(intent: Intent) -> Intent:
    requests = msgspec.structs.replace(intent.requests, promotions=intent.requests.promotions + 1)
    return msgspec.structs.replace(intent, requests=requests)
