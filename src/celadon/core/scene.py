"""One decision's view: what is observed, what is wanted, and the questions that several rules ask of both."""

import math
from enum import Enum, auto

import msgspec

from celadon.core.action import Action, SetNode
from celadon.core.intent import Intent, Rollout, Timing
from celadon.core.journal import EMPTY, Journal, Target
from celadon.core.observed import HostSight, Mode, NodeSight, PublicSight, SlotSight
from celadon.core.release import Colour, Instant, Seconds, Slot
from celadon.core.strategy import Approve


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the world plus the journal. Nodes are by id: two nodes at one address are both here."""

    nodes: dict[int, NodeSight] = {}
    listed_at: Instant = math.inf  # when the whole balancer was read last, and with it what others added to it
    hosts: dict[str, HostSight] = {}
    public: PublicSight = PublicSight()
    journal: Journal = EMPTY
    in_flight: frozenset[Action] = frozenset()


class Goal(Enum):
    """Where the world should be now. Going back is only another goal."""

    FORWARD = auto()  # until the commit point
    BAKE = auto()  # candidate serves, stable is the net
    RETIRE = auto()  # candidate serves, stable goes
    BACK = auto()  # stable serves, candidate goes


class Scene:
    """Built anew for each decision; cheap, and gone with it."""

    __slots__ = (
        "_at",
        "candidate_nodes",
        "goal",
        "intent",
        "journal",
        "now",
        "observed",
        "rollout",
        "stable_nodes",
        "test_nodes",
        "timing",
        "warm_slots",
    )

    def __init__(self, observed: Observed, intent: Intent, now: Instant) -> None:
        self.observed = observed
        self.intent = intent
        self.now = now
        self.rollout: Rollout = intent.rollout
        self.timing: Timing = intent.rollout.timing
        self.journal: Journal = observed.journal
        candidate = {slot.node_address for slot in self.rollout.candidate_slots}
        stable = {slot.node_address for slot in self.rollout.stable_slots}
        self.candidate_nodes: list[NodeSight] = []
        self.stable_nodes: list[NodeSight] = []
        self.test_nodes: list[NodeSight] = []  # both colours' on the test port: of no user's concern
        self._at: dict[str, list[NodeSight]] = {}
        for node in observed.nodes.values():
            address = node.facts.address
            if node.facts.port == self.rollout.test_port:
                self.test_nodes.append(node)
            elif address in candidate:
                self.candidate_nodes.append(node)
            elif address in stable:
                self.stable_nodes.append(node)
            else:
                continue
            self._at.setdefault(address, []).append(node)
        self.warm_slots = {key for key, _ in self.journal.warmed}
        self.goal = choose_goal(observed.journal, intent, now)

    # -- nodes ---------------------------------------------------------------------------------

    def asked(self, node: NodeSight) -> Target | None:
        return self.journal.asked.get(node.facts.id)

    def settled(self, node: NodeSight) -> bool:
        """Read as it is since it was last asked for anything, and read so again no earlier than settle after that."""
        return node.read_at - self.unchanged_since(node) >= self.timing.settle

    def unchanged_since(self, node: NodeSight) -> Instant:
        """Asking starts the time anew, also for what it shows already: an earlier write may still be on its way."""
        return max(node.since, self.journal.asked_at.get(node.facts.id, node.since))

    def fresh(self, node: NodeSight) -> bool:
        return self.now - node.read_at <= self.timing.fresh

    def up(self, node: NodeSight) -> bool:
        """Seen to take traffic: accept and UP, and nobody was last asked for anything else."""
        if node.facts.mode is not Mode.ACCEPT or node.facts.up is not True:
            return False
        asked = self.asked(node)
        return asked is None or asked.mode is Mode.ACCEPT

    def serving(self, node: NodeSight) -> bool:
        """Counts toward the serving floor (design, section 5, rule 5). What was the net always settles.

        So does what nobody knows to have been raised: an answer that shows it UP may be from before it was lowered.
        """
        id_, journal = node.facts.id, self.journal
        under_way = any(isinstance(action, SetNode) and action.node == id_ for action in self.observed.in_flight)
        rose = node.rose and id_ not in journal.netted and not under_way and not journal.is_refused(id_)
        return self.up(node) and (rose or self.settled(node))

    def was_lowered(self, node: NodeSight) -> bool:
        """In this rollout: while that applies, an UP may be from before it, whatever the API showed meanwhile."""
        return node.facts.id in self.journal.lowered

    def off(self, node: NodeSight) -> bool:
        """Gets no traffic for certain: asked, seen and settled as reject; or never anything else in this rollout."""
        if node.facts.mode is not Mode.REJECT:
            return False
        asked = self.asked(node)  # None: somebody else took it out, before this rollout asked anything of it
        found_open = node.facts.port == self.rollout.test_port and asked is not None
        if node.facts.id not in self.journal.raised and node.facts.id not in self.rollout.baseline and not found_open:
            return True
        return (asked is None or asked.mode is Mode.REJECT) and self.settled(node)

    def overdue(self, since: Instant | None, allowed: float) -> bool:
        """More than `allowed` seconds since then, under this driver: time without one is nobody's fault."""
        if since is None:
            return False
        began = self.journal.driving_at
        return self.now >= max(since, began if began is not None else since) + allowed

    # -- slots ---------------------------------------------------------------------------------

    def host(self, slot: Slot) -> HostSight | None:
        return self.observed.hosts.get(slot.host)

    def slot(self, slot: Slot) -> SlotSight | None:
        host = self.host(slot)
        return host.slots.get(slot.key) if host is not None else None

    def reachable(self, slot: Slot) -> bool:
        host = self.host(slot)
        return host is not None and host.facts is not None and host.lost_since is None

    def lost_for(self, slot: Slot) -> float:
        """Seconds for which the slot's host has left questions unanswered; 0 while it answers.

        To the newest question, and not to now: a driver that slept, or whose looks are late, has not been asking.
        """
        host = self.host(slot)
        if host is None or host.lost_since is None or host.lost_at is None:
            return 0.0
        return host.lost_at - host.lost_since

    def slot_at(self, node: NodeSight) -> Slot | None:
        """The slot that this node sends its requests to."""
        slots = (*self.rollout.candidate_slots, *self.rollout.stable_slots)
        return next((slot for slot in slots if slot.node_address == node.facts.address), None)

    def nodes_at(self, slot: Slot) -> list[NodeSight]:
        """On every port, the test port too: whatever may send a request there."""
        return self._at.get(slot.node_address, [])

    @property
    def candidate_test_nodes(self) -> list[NodeSight]:
        addresses = {slot.node_address for slot in self.rollout.candidate_slots}
        return [node for node in self.test_nodes if node.facts.address in addresses]

    # -- the rollout ---------------------------------------------------------------------------

    @property
    def leaving_slots(self) -> tuple[Slot, ...]:
        """The colour on its way out: candidate when going back, stable when it retires."""
        match self.goal:
            case Goal.BACK:
                return self.rollout.candidate_slots
            case Goal.RETIRE:
                return self.rollout.stable_slots
            case _:
                return ()

    @property
    def held_for(self) -> Seconds:
        """How long the present step has waited for a person, everything else being ready: no deadline counts it."""
        journal, steps = self.journal, self.rollout.steps
        if journal.steps_done >= len(steps) or not isinstance(steps[journal.steps_done], Approve):
            return 0.0
        if journal.step_at is None or journal.warmed_at is None:
            return 0.0
        return max(0.0, self.now - max(journal.step_at, journal.warmed_at))

    @property
    def has_traffic(self) -> bool:
        raised = self.journal.raised
        return bool(raised) and any(node.facts.id in raised for node in self.candidate_nodes)

    @property
    def live_colour(self) -> Colour | None:
        """The colour that this goal means to serve."""
        if self.goal is Goal.BACK or (self.goal is Goal.FORWARD and self.rollout.stable_colour is not None):
            return self.rollout.stable_colour
        return self.rollout.candidate_colour


def choose_goal(journal: Journal, intent: Intent, now: Instant) -> Goal:
    if journal.returning is not None:
        return Goal.BACK
    if journal.committed_at is None:
        return Goal.FORWARD
    if journal.retiring_at is not None or intent.rollout.stable_colour is None:
        return Goal.RETIRE
    over = now >= journal.committed_at + intent.rollout.timing.bake
    held = journal.paused_at is not None or intent.requests.until_commit
    return Goal.RETIRE if over and not held else Goal.BAKE
