"""What the guard knows besides the plan: who serves now, on which machine, which is the home. Pure values.

`cli/` fills them in: the machines from the config, modes from the balancer, the open rollout from the home.
"""

from collections.abc import Mapping

import msgspec

from celadon.core.intent import Intent
from celadon.core.live import Live
from celadon.core.observed import BalancerFacts, Mode, NodeFacts
from celadon.core.release import Colour, Slot


class Machine(msgspec.Struct, frozen=True):
    """One host of the app."""

    name: str  # as Celadon calls it; with labels it is the label
    addresses: frozenset[str]
    colours: tuple[Colour, ...] = ()
    id: int | None = None  # Linode's, where it was asked for


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`busy`: why a colour is not idle now; a colour that is not in it is idle.

    `balancer` None: there is none yet. `taken`: (resource type, label) of what the account already has.
    `unknown`: why something could not be seen; then whatever may serve is taken to serve.
    """

    app: str
    balancer: BalancerFacts | None = None
    machines: tuple[Machine, ...] = ()
    home: str = ""
    busy: Mapping[Colour, str] = {}
    taken: frozenset[tuple[str, str]] = frozenset()
    unknown: str = ""

    def node(self, node_id: int) -> NodeFacts | None:
        return next((n for n in self.nodes if n.id == node_id), None)

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        configs = self.balancer.configs if self.balancer is not None else ()
        return tuple(node for config in configs for node in config.nodes)

    def at(self, addresses: frozenset[str]) -> tuple[NodeFacts, ...]:
        """The nodes at a machine's addresses."""
        return tuple(node for node in self.nodes if node.address.rpartition(":")[0] in addresses)


def busy_colours(
    slots: Mapping[Colour, tuple[Slot, ...]], balancer: BalancerFacts, *, live: Live | None, intent: Intent | str | None
) -> dict[Colour, str]:
    """Why each colour is not idle. `intent`: the newest rollout; a text says why the home could not be asked."""
    busy = {}
    nodes = [node for config in balancer.configs for node in config.nodes]
    for colour, its in slots.items():
        addresses = {slot.node_address for slot in its}
        serving = next((n for n in nodes if n.address in addresses and n.mode is not Mode.REJECT), None)
        if serving is not None:
            busy[colour] = f"{colour.value} is not idle: {serving.label} is {serving.mode.value} on port {serving.port}"
    if isinstance(intent, Intent) and not intent.finished:
        number = intent.rollout.number
        for colour in slots:
            busy.setdefault(colour, f"rollout {number} is open, so {colour.value} is not idle")
    if isinstance(intent, str) and (live is None or live.kind != "none"):
        for colour in slots:
            busy.setdefault(colour, f"whether a rollout is open is unknown: {intent}")
    return busy
