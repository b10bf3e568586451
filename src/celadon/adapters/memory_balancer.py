"""A NodeBalancer in memory: the fake that passes the port's conformance suite, with the real one's bad habits.

Settable: changes that apply late (`lag`), reads that show an older state (`stale`), answers lost after the change was
made (`lose_answers`), requests that never arrive (`drop_requests`). Time comes in as a function.
"""

from collections.abc import Callable, Iterable

import msgspec

from celadon.core.errors import NoAnswer, Refused, Unavailable
from celadon.core.observed import BalancerFacts, Mode, NodeFacts
from celadon.core.release import Instant, Seconds


class Asked(msgspec.Struct, frozen=True):
    """One change as the balancer took it."""

    at: Instant
    mode: Mode
    weight: int


class _Held:
    """One node and everything that was ever asked of it, oldest first."""

    def __init__(self, facts: NodeFacts, asked: Asked) -> None:
        self.facts = facts
        self.asked = [asked]

    def as_of(self, instant: Instant) -> Asked | None:
        """The newest request made until then; None: the node was not there yet."""
        return next((asked for asked in reversed(self.asked) if asked.at <= instant), None)


class MemoryBalancer:
    """Implements `ports.Balancer`. `facts.configs[].nodes` are the nodes it starts with, as if made long ago."""

    def __init__(self, facts: BalancerFacts, now: Callable[[], Instant] = lambda: 0.0) -> None:
        self.lag: Seconds = 0.0
        self.stale: Seconds = 0.0
        self.rise: Seconds = 0.0  # how long checks take to find a node UP, once a mode with checks applies
        self.lose_answers = 0
        self.drop_requests = 0
        self.unwell: set[str] = set()  # addresses whose checks fail
        self.changes: list[tuple[str, Mode, int]] = []  # (address, mode, weight), in the order taken
        self.calls = 0
        self._facts = facts
        self._now = now
        self._nodes: dict[int, _Held] = {}
        for node in (node for config in facts.configs for node in config.nodes):
            self._nodes[node.id] = _Held(node, Asked(float("-inf"), node.mode, node.weight))

    async def read(self) -> BalancerFacts:
        self.calls += 1
        return self._as_of(self._now() - self.stale)

    async def read_node(self, node: NodeFacts) -> NodeFacts | None:
        self.calls += 1
        held = self._nodes.get(node.id)
        return None if held is None else self._seen(held, self._now() - self.stale)

    async def set_node(self, node: NodeFacts, mode: Mode, weight: int, deadline: Seconds) -> None:
        self._arrive(f"PUT {node.address}")
        held = self._nodes.get(node.id)
        if held is None:
            raise Refused(f"node {node.id} ({node.address}): Not found")
        if not 1 <= weight <= 255:
            raise Refused(f"{node.address}: weight {weight} is not in 1-255")
        held.asked.append(Asked(self._now(), mode, weight))
        self._answer(node.address, mode, weight, deadline)

    async def add_node(self, config_id: int, label: str, address: str) -> None:
        self._arrive(f"POST {address}")
        config = next((config for config in self._facts.configs if config.id == config_id), None)
        if config is None:
            raise Refused(f"config {config_id}: Not found")
        if not 3 <= len(label) <= 32:
            raise Refused(f"{address}: a node's label has 3-32 characters and {label!r} has not")
        number = max(self._nodes, default=1000) + 1
        facts = NodeFacts(
            port=config.port, config_id=config_id, id=number, label=label, address=address,
            mode=Mode.REJECT, weight=100, up=None,
        )  # fmt: skip
        self._nodes[number] = _Held(facts, Asked(self._now(), Mode.REJECT, 100))
        self._answer(address, Mode.REJECT, 100, 0.0)

    def applied(self) -> BalancerFacts:
        """What the traffic meets now: every change is `lag` old before it counts."""
        return self._as_of(self._now() - self.lag)

    def remove(self, addresses: Iterable[str]) -> None:
        """As when an instance is deleted: its nodes go without a word."""
        gone = set(addresses)
        self._nodes = {key: held for key, held in self._nodes.items() if held.facts.address not in gone}

    def _as_of(self, instant: Instant) -> BalancerFacts:
        seen = [node for held in self._nodes.values() if (node := self._seen(held, instant)) is not None]
        configs = tuple(
            msgspec.structs.replace(config, nodes=tuple(node for node in seen if node.config_id == config.id))
            for config in self._facts.configs
        )
        return msgspec.structs.replace(self._facts, configs=configs)

    def _seen(self, held: _Held, instant: Instant) -> NodeFacts | None:
        asked = held.as_of(instant)
        if asked is None:
            return None
        return msgspec.structs.replace(held.facts, mode=asked.mode, weight=asked.weight, up=self._up(held))

    def _up(self, held: _Held) -> bool | None:
        """The balancer's own verdict, now. A node in reject is not checked, and shown as down once that applies."""
        applied = held.as_of(self._now() - self.lag)
        if applied is None:
            return None
        if applied.mode is Mode.REJECT:
            return False
        if held.facts.address in self.unwell:
            return False
        checked_since = _checked_since(held, applied) + self.lag
        return True if self._now() >= checked_since + self.rise else None

    def _arrive(self, what: str) -> None:
        self.calls += 1
        if self.drop_requests > 0:
            self.drop_requests -= 1
            raise Unavailable(f"{what}: connection refused")

    def _answer(self, address: str, mode: Mode, weight: int, deadline: Seconds) -> None:
        self.changes.append((address, mode, weight))
        if self.lose_answers > 0:
            self.lose_answers -= 1
            raise NoAnswer(f"{address}: no answer in {deadline:g} s")


def _checked_since(held: _Held, applied: Asked) -> Instant:
    """When the unbroken run of modes with checks that `applied` belongs to was asked for."""
    since = applied.at
    for asked in reversed(held.asked[: held.asked.index(applied)]):
        if asked.mode is Mode.REJECT:
            break
        since = asked.at
    return since
