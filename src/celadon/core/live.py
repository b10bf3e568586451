"""Which colour is live: one table over what the balancer says. It is derived, never stored.

The balancer overrules the journal; the journal only settles what the balancer leaves open in the middle of a
rollout. Ambiguous is an answer that asks, and never a guess.

A port on which every node is off says nothing: it was added and never used, and who serves is who serves elsewhere.
Celadon itself never leaves a port so: on each port it raises before it lowers.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from celadon.core.intent import Intent
from celadon.core.journal import Journal
from celadon.core.observed import Mode, NodeFacts
from celadon.core.release import Colour


class Live(msgspec.Struct, frozen=True):
    """`backup`: this colour serves only as the net; `none`: nothing serves; `ambiguous`: a person must say."""

    kind: Literal["serving", "backup", "none", "ambiguous"]
    colour: Colour | None
    because: str


def live(nodes: Mapping[Colour, Sequence[NodeFacts]], intent: Intent | None, journal: Journal | None) -> Live:
    """Decide from the nodes of both colours on all ports, and from the newest rollout where it is open."""
    ports = ports_in_use(nodes)
    accepting = {port: _colours(nodes, port, Mode.ACCEPT) for port in ports}
    if not any(accepting.values()):
        return _by_backup(nodes, ports)
    first = accepting[ports[0]]
    if len(first) == 1 and all(colours == first for colours in accepting.values()):
        (colour,) = first
        return _unless_down(nodes, colour)
    return _by_journal(accepting, intent, journal)


def ports_in_use(nodes: Mapping[Colour, Sequence[NodeFacts]]) -> list[int]:
    """Where at least one node is not in mode reject."""
    return sorted({node.port for its in nodes.values() for node in its if node.mode is not Mode.REJECT})


def _colours(nodes: Mapping[Colour, Sequence[NodeFacts]], port: int, mode: Mode) -> set[Colour]:
    return {colour for colour, its in nodes.items() if any(n.port == port and n.mode is mode for n in its)}


def _by_backup(nodes: Mapping[Colour, Sequence[NodeFacts]], ports: list[int]) -> Live:
    colours = {colour for port in ports for colour in _colours(nodes, port, Mode.BACKUP)}
    if not colours:
        return Live("none", None, "no node takes traffic")
    if len(colours) == 1:
        (colour,) = colours
        return Live("backup", colour, f"only {colour.value} is left, as backup")
    return Live("ambiguous", None, "both colours are backups and nobody accepts")


def _unless_down(nodes: Mapping[Colour, Sequence[NodeFacts]], colour: Colour) -> Live:
    """Accept nodes that are all DOWN serve nobody: then an UP backup of the other colour does."""
    mine = [node for node in nodes[colour] if node.mode is Mode.ACCEPT]
    net = [node for node in nodes.get(colour.other, ()) if node.mode is Mode.BACKUP and node.up]
    if net and all(node.up is False for node in mine):
        return Live(
            "backup", colour.other, f"every node of {colour.value} is DOWN: {colour.other.value} serves as backup"
        )
    return Live("serving", colour, f"only {colour.value} is in mode accept")


def _by_journal(accepting: Mapping[int, set[Colour]], intent: Intent | None, journal: Journal | None) -> Live:
    if intent is None or journal is None or intent.finished:
        return Live("ambiguous", None, "both colours take traffic and no rollout is open")
    rollout = intent.rollout
    forward = journal.committed_at is not None and journal.returning is None
    colour = rollout.candidate_colour if forward else rollout.stable_colour
    # A port that this rollout is the first to use has the candidate alone, until stable is raised there to go back.
    old = [colours for port, colours in accepting.items() if port not in rollout.new_ports]
    if colour is None or not old or not all(colour in colours for colours in old):
        return Live("ambiguous", None, f"rollout {rollout.number} is open and the ports disagree")
    where = "after" if forward else "before"
    return Live("serving", colour, f"both colours take traffic; rollout {rollout.number} is {where} its commit point")
