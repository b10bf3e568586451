"""What must never be seen in a simulated world, whatever goes wrong. A broken promise is a line in `world.broken`.

PROMISES names them, each with its sentence from `docs/explanation/promises.md`. Three kinds of checks: in every
tick, at every effect as it reaches the world, and when the rollout says that it is over.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from celadon.core.intent import Rollout
from celadon.core.observed import Mode
from celadon.core.release import Colour, ReleaseId, Slot
from celadon.drive.driver import decode_intent
from celadon.drive.lease import decode as decode_lease
from tests.simulation.ports import SECRET, Guard
from tests.simulation.world import Node, SimWorld

PROMISES = {
    "no_request_lost": "No request fails by what Celadon does.",
    "serving_floor": "As many nodes serve as served when the rollout opened, at most the candidate's slots.",
    "no_weight_before_probed": "No node gets traffic before its replica was probed and the NodeBalancer called it UP.",
    "gates": "No traffic moves past a failed test, a gate that waits for a person, or a pause.",
    "no_signal": "No replica is signalled while it can still receive requests.",
    "commit_point": "Before the commit point stable is not stopped; after it nothing removes the candidate "
    "before stable serves.",
    "confirmed": "The commit point is written down only when all traffic really is on the candidate.",
    "same_end": "Crash anywhere and run again: the same end, and nothing is left over.",
    "truth": "What is said at the end is what serves.",
    "balancer_overrules": "The balancer overrules the journal: what others changed is seen and put right.",
    "one_driver": "Of two drivers one acts, and the late one is refused or healed.",
    "two_releases": "At most two releases serve.",
    "deadlines": "Every wait has a deadline and a result: once faults stop, every rollout ends.",
    "going_back": "Going back is possible until stable is signalled, asks nothing and passes no gate.",
    "recovery": "While stable could serve, users are not left with a dead or failing candidate.",
    "missing_data": "Missing data is never success: what cannot be counted is drained to the deadline.",
    "good_release": "A good release is deployed when nothing goes wrong.",
    "kept": "What a rollback needs is not removed.",
    "few_calls": "A deploy's calls to the API do not grow with how long it waits.",
    "secrets": "Secrets are written down nowhere.",
    "terraform": "A rollout makes and removes no node: `terraform plan` shows no change.",
    "idempotent": "Running a finished deploy again changes nothing, and another one is refused while it is open.",
}

CALLS = 30  # reads and changes of one node in a rollout in which nothing goes wrong
LISTS = 20
HEARD = 10.0  # seconds after which a living driver has heard what people asked for, also when its home answers late
HARM = 150.0  # seconds under a driver that hears everything, after which users are with what works


class Promises(Guard):
    """One rollout's promises: blue is stable (or nothing, at first), green the candidate."""

    def __init__(self, world: SimWorld, rollout: Rollout) -> None:
        self.world = world
        self.rollout = rollout
        self.number = rollout.number
        self.first = rollout.stable_colour is None
        self.allowed = {rollout.candidate.id} | ({rollout.stable.id} if rollout.stable is not None else set())
        self.candidate = rollout.candidate.id
        self.green = {slot.node_address for slot in rollout.slots[rollout.candidate_colour]}
        self.first_green = rollout.candidate_slots[0].node_address
        self.kept = frozenset(self.allowed)
        self.floor = rollout.floor
        self.nodes = frozenset(world.nodes)
        self.frozen = False  # a process that sleeps hears nothing
        self.driven = 0  # drivers that live and hear
        self.asked_back_at: float | None = None
        self.paused_at: float | None = None
        self.held = False
        self.tested = not rollout.tests
        self.raised = False  # a candidate node was asked to accept
        self.committed = False
        self.retiring_at: float | None = None
        self.returning = False
        self.finished: str | None = None
        self.harmed_for: dict[int, float] = {}
        self.up_seen: set[int] = set()  # ports on which the balancer called the first candidate UP since it was raised
        self.events = 0
        self._ticked_at = world.now if world._loop is not None else 0.0
        world.watchers.append(self.tick)

    def broke(self, promise: str, what: str = "") -> None:
        assert promise in PROMISES, promise
        self.world.broke(promise, what)

    # -- in every tick -----------------------------------------------------------------------------

    def tick(self) -> None:
        world = self.world
        for port in world.ports:
            if port not in self.up_seen and any(n.address == self.first_green for n in world.takers(port)):
                self.up_seen.add(port)
        if not self.first:
            self._serving_floor()
            self._recovery()
        if strangers := world.served.keys() - self.allowed:
            self.broke("two_releases", str(strangers))
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
                self.broke("serving_floor", f"{well} of {self.floor[port]} on port {port}")
                world.excused = "said once"

    def _recovery(self) -> None:
        """Nobody UP, or dead candidates alone: not for long while a replica of stable could serve."""
        world, now = self.world, self.world.now
        since, self._ticked_at = now - self._ticked_at, now
        if self.retiring_at is not None or self.finished or self.frozen or world.home_lost or not self.driven:
            return
        if not all(world.is_ready(slot) for slot in world.slots[Colour.BLUE]):
            return
        for port in world.ports:
            takers = world.takers(port)
            bad = all(node.address in self.green and not self._works(node) for node in takers)
            self.harmed_for[port] = self.harmed_for.get(port, 0.0) + since if bad else 0.0
            if self.harmed_for[port] > HARM:
                self.broke("recovery", f"port {port}: for {HARM:.0f} s")
                self.harmed_for[port] = -1e9

    def _works(self, node: Node) -> bool:
        behaviour = self.world.behaviours.get(self.candidate)
        failing = behaviour is not None and behaviour.fails > 0
        return self.world.is_ready(self.world.by_address[node.address]) and not failing

    def wrote(self, rollout: int, event: bytes) -> None:
        """At the very moment at which it is in the journal."""
        if rollout == self.number:
            self.events += 1
            self._event(msgspec.json.decode(event))

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "Asked" and event["address"] in self.green and not self.raised:
            self._first_traffic()
        elif kind == "CommandFinished" and event["kind"] == "test":
            self.tested = event["ok"]
        elif kind == "Committed":
            self.committed = True
            self._all_on_candidate()
        elif kind == "Returning":
            self.returning = True
        elif kind == "CommandStarted" and self.returning and event["name"] != "after_rollback":
            self.broke("going_back", f"passed the gate {event['name']}")
        elif kind == "Retiring" and self.retiring_at is None:
            self.retiring_at = self.world.now
        elif kind == "Finished" and self.finished is None:
            self.finished = event["result"]
            self._right_colour_serves(event["result"])

    def _all_on_candidate(self) -> None:
        """As the data plane has it; what somebody changed or a host that died a moment ago cannot be known."""
        world = self.world
        for node in world.nodes.values():
            if node.id not in self.nodes or world.now < world.edited_at.get(node.port, -1e9) + 30.0:
                continue
            wanted = Mode.ACCEPT if node.address in self.green else Mode.REJECT
            if node.applied is not wanted:
                self.broke("confirmed", f"node {node.id} is {node.applied.value} at the commit")

    # -- at every effect ---------------------------------------------------------------------------

    def send(self, driver: str) -> None:
        lease = decode_lease(self.world.lease)
        if driver and lease is not None and lease.holder != driver:
            self.broke("one_driver", f"{driver} changes the balancer, and {lease.holder or 'nobody'} has the lease")

    def put(self, node: Node, mode: Mode, weight: int) -> None:
        if node.address not in self.green:
            return
        if mode is Mode.ACCEPT:
            self._raise_candidate(node)
        elif self._serves(node) and self.committed and not self._stable_serves(node.port):
            self.broke("commit_point", f"candidate's node {node.id} is taken out and stable does not serve")

    def _raise_candidate(self, node: Node) -> None:
        world = self.world
        slot = world.by_address[node.address]
        replica = world.hosts[slot.host].replicas.get(slot.key)
        if replica is None or replica.release != self.candidate:
            if not world.excused:
                self.broke("no_weight_before_probed", f"there is nothing in {slot.key}")
        elif replica.probed < self.rollout.health.passes and not replica.restarts and not world.excused:
            self.broke("no_weight_before_probed", f"{slot.key} passed {replica.probed} probes")
        if node.address != self.first_green and node.port not in self.up_seen:
            self.broke("no_weight_before_probed", f"{slot.key} before port {node.port} called the first one UP")

    def _first_traffic(self) -> None:
        """Asked for the first time in this rollout: no gate was passed over."""
        self.raised = True
        if self.held:
            self.broke("gates", "traffic moved while a person held it")
        if not self.tested:
            self.broke("gates", "traffic moved before the tests had passed")
        if self.paused_at is not None and self.world.now > self.paused_at + HEARD and not self.frozen:
            self.broke("gates", "traffic moved while paused")

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
            self.broke("same_end", f"started {release} in {slot.key}")
        if before is not None and self.world.can_receive(slot):
            self.broke("no_signal", f"started {release} over {before}, which could receive requests")

    def stop(self, slot: Slot) -> None:
        if self.world.can_receive(slot):
            self.broke("no_signal", slot.key)
        if slot.node_address not in self.green and not self.committed:
            self.broke("commit_point", f"stable is signalled before it: {slot.key}")
        if slot.node_address not in self.green and self.returning:
            self.broke("going_back", f"stable is signalled on the way back to it: {slot.key}")

    def prune(self, host: str, keep: frozenset[ReleaseId]) -> None:
        if not self.kept <= keep:
            self.broke("kept", f"prune on {host}")

    # -- at the end --------------------------------------------------------------------------------

    def after(self, result: str, *, bad: bool) -> None:
        """`bad`: the candidate answers with errors often enough that nobody can overlook it."""
        world = self.world
        if world.lost:
            self.broke("no_request_lost", f"{len(world.lost)} lost, first: {world.lost[0]}")
        if world.cut:
            self.broke("missing_data", f"{world.cut} requests cut before the drain deadline")
        if any(SECRET.encode() in raw for raw in self._written()):
            self.broke("secrets")
        if result == "halted" and self._stable_is_dead():
            return  # neither colour can serve: a person must act, and was told so
        if result == "homeless" or (result == "refused" and not self.events):
            return  # nothing more can be decided, or nothing was opened
        self._right_end(result)
        if bad and result == "done":
            self.broke("recovery", "a candidate that fails was kept")

    def _right_end(self, result: str) -> None:
        if result not in {"done", "rolled_back", "failed"}:
            self.broke("deadlines", f"it did not end: {result}")
            return
        if self.finished is not None and self.finished != result:
            self.broke("truth", f"the journal says {self.finished}, the intent {result}")
        if result == "failed" and not self.first:
            self.broke("same_end", "failed, yet there was a stable to go back to")
        stored = decode_intent(self.world.intent)
        if stored is not None and stored.requests.go_back and result == "done" and self._could_go_back():
            self.broke("going_back", "it was asked for, and it went on")

    def after_calm(self, result: str) -> None:
        """Nothing went wrong: the release is deployed, and a node cost a bounded number of calls."""
        world = self.world
        if result != "done":
            self.broke("good_release", result)
        most = max(node.calls for node in world.nodes.values())
        if most > CALLS:
            self.broke("few_calls", f"{most} for one node")
        if world.lists > LISTS:
            self.broke("few_calls", f"{world.lists} reads of the whole balancer")

    def _written(self) -> Iterator[bytes]:
        yield from (raw for journal in self.world.journals.values() for raw in journal)
        yield from (raw for raw in (self.world.intent, self.world.lease) if raw is not None)

    def _could_go_back(self) -> bool:
        asked, retiring = self.asked_back_at, self.retiring_at
        return (
            not self.frozen and asked is not None and (retiring is None or asked + HEARD < retiring) and not self.first
        )

    def _stable_is_dead(self) -> bool:
        return not any(self.world.is_ready(slot) for slot in self.world.slots[Colour.BLUE])

    def _right_colour_serves(self, result: str) -> None:
        """Looked at when the journal says that it is over: what comes later is another story."""
        world = self.world
        winner = {"done": Colour.GREEN, "rolled_back": Colour.BLUE}.get(result)
        serving = {(n.port, n.address) for n in world.nodes.values() if n.mode is Mode.ACCEPT and n.id in self.nodes}
        slots = world.slots[winner] if winner is not None and not (winner is Colour.BLUE and self.first) else ()
        addresses = {slot.node_address for slot in slots}
        there = {(n.port, n.address) for n in world.nodes.values() if n.id in self.nodes}
        wanted = {(port, address) for port, address in there if address in addresses}
        edited = max(world.edited_at.values(), default=-1e9)
        if serving != wanted and edited < world.now - HEARD:
            promise = "truth" if not world.edited_at else "balancer_overrules"
            self.broke(promise, f"{result}, yet {sorted(serving)} serve")
        losers = {slot.key for colour in Colour if colour is not winner for slot in world.slots[colour]}
        for host in world.hosts.values():
            for key, replica in host.replicas.items():
                if host.alive and key in losers and replica.release in self.kept and host.boots == 1:
                    self.broke("same_end", f"{result}, yet {replica.release} still runs in {key}")
        if not world.edited_at and self.nodes != frozenset(world.nodes):
            self.broke("terraform", f"nodes {sorted(self.nodes ^ frozenset(world.nodes))}")
