"""Who served, by counting: connections that a release's slots got, less Celadon's own and the balancer's checks.

Second-best evidence, for an application whose answers do not say who gave them. It says how many connections came,
from users and anybody else, and never which request a release answered or failed: nothing is decided by it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from celadon.core.evidence import summed
from celadon.core.foreign import Count
from celadon.core.observed import Mode, NodeFacts, SlotFacts
from celadon.core.release import ReleaseId, Seconds

CHECKED = (Mode.ACCEPT, Mode.BACKUP)  # whether backups are checked is not documented: the error holds both


class Opens(msgspec.Struct, frozen=True):
    """Sums by release. `checks`: what the balancer's interval makes of the time; `uncounted`: looks without a count."""

    connections: dict[ReleaseId, Count] = {}  # opened, less Celadon's own
    checks: dict[ReleaseId, Annotated[float, msgspec.Meta(ge=0, lt=2**53)]] = {}
    uncounted: Count = 0

    def after(self, before: SlotFacts | None, now: SlotFacts, checks: float) -> "Opens":
        """One more look at a slot. `checks`: how many the balancer sent there since the look before."""
        if before is None or now.replica is None or not now.replica.running:
            return self
        new = _between(before, now)
        if new is None:
            return msgspec.structs.replace(self, uncounted=self.uncounted + 1)
        if not new and not checks:
            return self
        return self.add(Opens({now.replica.release: new}, {now.replica.release: checks}))

    def add(self, other: "Opens") -> "Opens":
        return Opens(
            summed((self.connections, other.connections)),
            summed((self.checks, other.checks)),
            self.uncounted + other.uncounted,
        )

    def figures(self) -> dict[ReleaseId, tuple[int, int]]:
        """By release: (connections of others, error).

        The error is as large as what was taken off: the real balancer may check from more than one place, and does not
        say so.
        """
        found = {}
        for release, connections in self.connections.items():
            checks = math.ceil(self.checks.get(release, 0.0))
            found[release] = (max(0, connections - checks), checks)
        return found


def checks_between(address: str, nodes: Iterable[NodeFacts], interval: Mapping[int, Seconds], passed: Seconds) -> float:
    """Health checks that a slot got in `passed`. `interval`: by config, of those that check at all."""
    return sum(
        passed / interval[node.config_id]
        for node in nodes
        if node.address == address and node.mode in CHECKED and interval.get(node.config_id)
    )


def _between(before: SlotFacts, now: SlotFacts) -> int | None:
    """New connections of others between two looks; None: not to be known (uncountable, or counted anew)."""
    if before.opened is None or now.opened is None or now.opened < before.opened or now.own < before.own:
        return None
    return max(0, now.opened - before.opened - (now.own - before.own))
