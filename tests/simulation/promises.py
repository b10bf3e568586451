"""What must never be seen in a simulated world, whatever goes wrong. A broken promise is a line in `world.broken`.

Three kinds: looked at in every tick, at every effect as it reaches the world, and once when the story is over.
"""

import msgspec

from celadon.core.intent import Intent
from celadon.core.observed import Mode
from celadon.core.release import Colour, ReleaseId, Slot
from celadon.drive.driver import decode_intent
from tests.simulation.ports import Guard
from tests.simulation.world import Node, SimWorld

CALLS = 30  # reads and changes of one node in a rollout in which nothing goes wrong
LISTS = 20
HEARD = 10.0  # seconds after which a living driver has heard what people asked for, also when its home answers late


class Promises(Guard):
    """One rollout's promises: blue is stable (or nothing, at first), green the candidate."""

    def __init__(self, world: SimWorld, intent: Intent) -> None:
        self.world = world
        rollout = intent.rollout
        self.first = rollout.stable_colour is None
        self.allowed = {rollout.candidate.id} | ({rollout.stable.id} if rollout.stable is not None else set())
        self.candidate = rollout.candidate.id
        self.green = {slot.node_address for slot in world.slots[Colour.GREEN]}
        self.kept = frozenset(self.allowed)
        self.unmanaged = rollout.unmanaged
        self.floor = rollout.floor
        self.frozen = False  # a process that sleeps hears nothing
        self.asked_back_at: float | None = None
        self.paused_at: float | None = None
        self.edited_at: float | None = None
        self.held = False
        self.tested = not rollout.tests
        self.raised = False  # a candidate node was asked to accept
        self.committed = False
        self.retiring_at: float | None = None
        self._read = 0
        world.watchers.append(self.tick)

    # -- in every tick -----------------------------------------------------------------------------

    def tick(self) -> None:
        self._read_journal()
        if not self.first:
            self._serving_floor()
        if strangers := self.world.served.keys() - self.allowed:
            self.world.broke(f"at most two releases serve: {strangers}")
            self.allowed |= strangers

    def _serving_floor(self) -> None:
        """Enough nodes take traffic and can answer it, while nothing but Celadon takes capacity away."""
        world = self.world
        if world.excused:
            return
        if any(r.restarts for host in world.hosts.values() for r in host.replicas.values()):
            world.excused = "a release died by itself"
            return
        for port in world.ports:
            takers = world.takers(port)
            well = sum(world.is_ready(world.by_address[node.address]) for node in takers)
            if well < self.floor[port] or any(node.applied is not Mode.ACCEPT for node in takers):
                world.broke(f"serving floor: {well} of {self.floor[port]} on port {port}")
                world.excused = "said once"

    def _read_journal(self) -> None:
        journal = self.world.journals.get(1, [])
        for raw in journal[self._read :]:
            event = msgspec.json.decode(raw)
            kind = event["type"]
            if kind == "Asked" and event["address"] in self.green and not self.raised:
                self._first_traffic()
            elif kind == "CommandFinished" and event["kind"] == "test":
                self.tested = event["ok"]
            elif kind == "Committed":
                self.committed = True
            elif kind == "Retiring" and self.retiring_at is None:
                self.retiring_at = self.world.now
        self._read = len(journal)

    # -- at every effect ---------------------------------------------------------------------------

    def put(self, node: Node, mode: Mode, weight: int) -> None:
        if node.address not in self.green:
            return
        if mode is Mode.ACCEPT:
            self._raise_candidate(node)
        elif self._serves(node) and self.committed and not self._stable_serves(node.port):
            self.world.broke(f"commit point: candidate's node {node.id} is taken out and stable does not serve")

    def _raise_candidate(self, node: Node) -> None:
        world = self.world
        slot = world.by_address[node.address]
        replica = world.hosts[slot.host].replicas.get(slot.key)
        if replica is None or (replica.release != self.candidate):
            if not world.excused:
                world.broke(f"no weight before probed: there is nothing in {slot.key}")
        elif replica.ready_at > world.now and not replica.restarts:
            world.broke(f"no weight before probed: {slot.key} is not ready")

    def _first_traffic(self) -> None:
        """Asked for the first time in this rollout: no gate was passed over."""
        self.raised = True
        if self.held:
            self.world.broke("traffic moved while a person held it")
        if not self.tested:
            self.world.broke("traffic moved before the tests had passed")
        if self.paused_at is not None and self.world.now > self.paused_at + HEARD and not self.frozen:
            self.world.broke("traffic moved while paused")

    def _serves(self, node: Node) -> bool:
        return (
            node.applied is Mode.ACCEPT and bool(node.up) and self.world.is_ready(self.world.by_address[node.address])
        )

    def _stable_serves(self, port: int) -> bool:
        """It does, or it would at once: a backup carries the users as soon as no accept node is UP."""
        stable = [n for n in self.world.nodes.values() if n.port == port and n.address not in self.green]
        slots = self.world.by_address
        return any(n.applied is not Mode.REJECT and n.up and self.world.is_ready(slots[n.address]) for n in stable)

    def start(self, slot: Slot, release: ReleaseId, before: ReleaseId | None) -> None:
        if release != self.candidate:
            self.world.broke(f"started {release} in {slot.key}")
        if before is not None and self.world.can_receive(slot):
            self.world.broke(f"started {release} over {before}, which could receive requests")

    def stop(self, slot: Slot) -> None:
        if self.world.can_receive(slot):
            self.world.broke(f"no signal to a replica that can still receive requests: {slot.key}")
        if slot.node_address not in self.green and not self.committed:
            self.world.broke(f"stable is signalled before the commit point: {slot.key}")

    def prune(self, host: str, keep: frozenset[ReleaseId]) -> None:
        if not self.kept <= keep:
            self.world.broke(f"prune on {host} removes what a rollback needs")

    # -- at the end --------------------------------------------------------------------------------

    def after(self, result: str, *, bad: bool) -> None:
        """`bad`: the candidate answers with errors often enough that nobody can overlook it."""
        world = self.world
        if world.lost:
            world.broke(f"{len(world.lost)} requests lost, first: {world.lost[0]}")
        if world.cut:
            world.broke(f"{world.cut} requests cut before the drain deadline")
        if result == "halted" and self._stable_is_dead():
            return  # neither colour can serve: a person must act, and was told so
        if result not in {"done", "rolled_back", "failed"}:
            world.broke(f"it did not end: {result}")
            return
        if result == "failed" and not self.first:
            world.broke("failed, yet there was a stable to go back to")
        stored = decode_intent(world.intent)
        if stored is not None and stored.requests.go_back and result == "done" and self._could_go_back():
            world.broke("going back was asked for, and it went on")
        if bad and result == "done":
            world.broke("a candidate that fails was kept")
        self._right_colour_serves(result)

    def after_calm(self, result: str) -> None:
        """Nothing went wrong: the release is deployed, and a node cost a bounded number of calls."""
        world = self.world
        if result != "done":
            world.broke(f"{result}, in a world in which nothing goes wrong")
        most = max(node.calls for node in world.nodes.values())
        if most > CALLS:
            world.broke(f"{most} calls for one node")
        if world.lists > LISTS:
            world.broke(f"{world.lists} reads of the whole balancer")

    def _could_go_back(self) -> bool:
        asked, retiring = self.asked_back_at, self.retiring_at
        return (
            not self.frozen and asked is not None and (retiring is None or asked + HEARD < retiring) and not self.first
        )

    def _stable_is_dead(self) -> bool:
        return not any(self.world.is_ready(slot) for slot in self.world.slots[Colour.BLUE])

    def _right_colour_serves(self, result: str) -> None:
        world = self.world
        winner = {"done": Colour.GREEN, "rolled_back": Colour.BLUE}.get(result)
        serving = {(n.port, n.address) for n in world.nodes.values() if n.mode is Mode.ACCEPT}
        slots = world.slots[winner] if winner is not None else ()
        wanted = {(port, slot.node_address) for slot in slots for port in world.ports}
        if winner is Colour.BLUE and self.first:
            wanted = set()
        edited_late = self.edited_at is not None and self.edited_at > world.now - HEARD
        if serving != wanted and not edited_late:
            world.broke(f"{result}, yet {sorted(serving)} serve")
        loser = {key for colour in Colour if colour is not winner for key in (s.key for s in world.slots[colour])}
        for host in world.hosts.values():
            for key, replica in host.replicas.items():
                if host.alive and key in loser and replica.release in self.kept and host.boots == 1:
                    world.broke(f"{result}, yet {replica.release} still runs in {key}")
