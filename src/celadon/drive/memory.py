"""What one driver saw over time: turns facts, as they arrive, into the sights that `decide` reads.

Nothing here is stored. A new driver starts with an empty memory, so everything that must be seen for a while
(settle, quiet, passes in a row) is seen anew.
"""

import math
from collections.abc import Iterable

import msgspec

from celadon.core.observed import (
    BalancerFacts,
    HostFacts,
    HostSight,
    Mode,
    NodeFacts,
    NodeSight,
    SlotFacts,
    SlotSight,
)
from celadon.core.release import Instant, ReleaseId, SlotKey


class Memory:
    """Nodes and hosts of one rollout. `addresses`: the nodes that are the app's; others are not looked at."""

    def __init__(self, addresses: Iterable[str], hosts: Iterable[str]) -> None:
        self._addresses = frozenset(addresses)
        self._opened: dict[SlotKey, int] = {}
        self.nodes: dict[int, NodeSight] = {}
        self.listed_at: Instant = -math.inf
        self.hosts: dict[str, HostSight] = {name: HostSight(None, None, None) for name in hosts}

    # -- the balancer --------------------------------------------------------------------------

    def saw_balancer(self, facts: BalancerFacts, at: Instant) -> None:
        """The whole list: nodes that are not in it are gone."""
        seen = [node for config in facts.configs for node in config.nodes if node.address in self._addresses]
        nodes = {node.id: self._sight(node, at) for node in seen}
        self.nodes = nodes
        self.listed_at = at

    def saw_node(self, id_: int, facts: NodeFacts | None, at: Instant) -> None:
        if facts is None:
            self.nodes = {key: node for key, node in self.nodes.items() if key != id_}
        else:
            self.nodes = self.nodes | {id_: self._sight(facts, at)}

    def changed_node(self, id_: int, at: Instant) -> None:
        """By then a request to change it has been done, or never will be: settle counts from there.

        Not from when it was written down, nor from an answer that may be older.
        """
        if (node := self.nodes.get(id_)) is not None:
            self.nodes = self.nodes | {id_: msgspec.structs.replace(node, since=max(node.since, at))}

    def _sight(self, facts: NodeFacts, at: Instant) -> NodeSight:
        before = self.nodes.get(facts.id)
        off = facts.mode is Mode.REJECT and facts.up is not True
        if before is None:
            return NodeSight(facts=facts, read_at=at, since=at, reads=1, was_off=off, rose=False)
        same = (before.facts.mode, before.facts.weight) == (facts.mode, facts.weight)
        accepts = facts.mode is Mode.ACCEPT
        was_off = off or (accepts and before.was_off)
        return NodeSight(
            facts=facts,
            read_at=at,
            since=before.since if same else max(before.since, at),
            reads=before.reads + 1 if same and before.facts.up == facts.up else 1,
            was_off=was_off,
            rose=accepts and (before.rose or (before.was_off and facts.up is True)),
        )

    # -- hosts ---------------------------------------------------------------------------------

    def saw_host(self, name: str, facts: HostFacts, at: Instant, expected: dict[SlotKey, ReleaseId | None]) -> None:
        before = self.hosts[name]
        if before.seen_at is not None and at < before.seen_at:
            return  # an answer to an older question came late
        slots = {slot.key: self._slot(before.slots.get(slot.key), slot, at, expected) for slot in facts.slots}
        sight = HostSight(facts=facts, seen_at=at, lost_since=None, slots=slots)
        self.hosts = self.hosts | {name: sight}

    def lost_host(self, name: str, problem: str, at: Instant) -> None:
        before = self.hosts[name]
        if before.seen_at is not None and at < before.seen_at:
            return  # it has answered a newer question since
        since = before.lost_since if before.lost_since is not None else at
        lost = msgspec.structs.replace(before, lost_since=since, lost_at=at, problem=problem)
        self.hosts = self.hosts | {name: lost}

    def did_not_ask(self, name: str, at: Instant) -> None:
        """This machine slept: what a host left unanswered before says nothing of the time since."""
        if (host := self.hosts[name]).lost_since is not None:
            self.hosts = self.hosts | {name: msgspec.structs.replace(host, lost_since=at, lost_at=at)}

    def _slot(
        self, before: SlotSight | None, facts: SlotFacts, at: Instant, expected: dict[SlotKey, ReleaseId | None]
    ) -> SlotSight:
        release = facts.replica.release if facts.replica is not None else None
        was = before.facts.replica if before is not None else None
        known = before is not None and (was.release if was is not None else None) == release
        since = before.since if before is not None and known else at
        same_run = before is not None and was is not None and facts.replica is not None and was.id == facts.replica.id
        passes, fails, failure = self._probes(before if known else None, facts, same_run=same_run)
        if expected.get(facts.key) is None:
            fails = 0
        return SlotSight(
            facts=facts,
            since=since,
            passes=passes,
            fails=fails,
            quiet_since=self._quiet(before, facts, at),
            last_failure=failure,
        )

    @staticmethod
    def _probes(before: SlotSight | None, facts: SlotFacts, *, same_run: bool) -> tuple[int, int, str]:
        passes = before.passes if before is not None and same_run else 0
        fails = before.fails if before is not None else 0
        failure = before.last_failure if before is not None else ""
        if facts.replica is None or not facts.replica.running:
            return 0, fails + 1, failure or "not running"
        if facts.probe is None:
            return passes, fails, failure
        if facts.probe.ok:
            return passes + 1, 0, ""
        return 0, fails + 1, facts.probe.error

    def _quiet(self, before: SlotSight | None, facts: SlotFacts, at: Instant) -> Instant | None:
        """Since when no connection was open and none was opened. Unknown is not quiet."""
        last = self._opened.get(facts.key)
        if facts.opened is not None:
            self._opened[facts.key] = facts.opened
        else:
            self._opened.pop(facts.key, None)
        if facts.open is None or facts.opened is None or facts.open > 0:
            return None
        if last is None or before is None or last != facts.opened:
            return at
        return before.quiet_since if before.quiet_since is not None else at
