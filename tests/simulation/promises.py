"""What must never be seen in a simulated world, whatever goes wrong. A broken promise is a line in `world.broken`.

`sentences.py` has what they say. Three kinds of checks: in every tick, at every effect, and when the rollout is over.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from celadon.core.intent import Rollout
from celadon.core.observed import Mode
from celadon.core.release import Colour, ReleaseId, Slot
from celadon.core.strategy import Approve
from celadon.drive.driver import decode_intent
from celadon.drive.lease import decode as decode_lease
from tests.simulation.machines import Node
from tests.simulation.ports import SECRET, Guard
from tests.simulation.sentences import PROMISES
from tests.simulation.world import OLD_NEWS, STALE, SimWorld

ASKED = {"accept": "Raised", "backup": "Netted", "reject": "Lowered", "drain": "Drained"}
CALLS = 30  # reads and changes of one node in a rollout in which nothing goes wrong
LISTS = 20
AWAY = 5  # for each node, and one every two seconds
HEARD = 10.0  # seconds after which a living driver has heard what people asked for, also when its home answers late
LATE = 30.0  # seconds after the deadline of the way forward
REFUSED = 1  # of one action, for good
NEVER = 1e9  # seconds after its start: a release that does not get ready
SEEN = 2.8  # seconds after which a driver has seen that a replica exited: an interval, and the way of its own call
ON_ITS_WAY = 0.5  # seconds for which a change may still be that was sent before another was decided
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
        self.unused = set(rollout.new_ports)  # until somebody takes traffic there for the first time
        self.filling = set(rollout.new_ports)  # until as many do as on the others
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
        self.returning_at = float("inf")
        self.finished: str | None = None
        self.finished_at: float | None = None
        self.harmed_for: dict[int, float] = {}
        self.up_seen: set[int] = set()  # ports on which the balancer called the first candidate UP since it was raised
        self.up_for_testers: set[str] = set()  # addresses that the balancer called UP there since they were raised
        self.events = 0
        self.puts = 0
        self.opened_at = 0.0
        self.settled = False  # a person said so of every hook
        self.ran: set[str] = set()
        self.test_failed = False
        self.refusals: Counter[str] = Counter()
        self.listeners: list[Callable[[str], None]] = []  # told of each event by its name, or by what was asked for
        self.hopeless_at: float | None = None  # since when the candidate cannot be deployed
        self.deciders: set[str] = set()  # drivers that have looked around, and so fenced every host, and decided
        self.good_seen = 0  # answers of the candidate that a verifier saw since it had its first traffic
        self._ticked_at = world.now if world._loop is not None else 0.0
        self._seen_ready: object = None
        self._seen_taking: object = None
        self._served = 0  # releases that served
        self._stable_could_serve = False
        self._harmed: list[int] = []  # ports on which nobody serves, or dead and failing candidates alone
        world.watchers.append(self.tick)

    def broke(self, promise: str, what: str = "") -> None:
        assert promise in PROMISES, promise
        self.world.broke(promise, what)

    # -- in every tick -----------------------------------------------------------------------------

    def tick(self) -> None:
        world = self.world
        if self._seen_ready is not world.ready or self._seen_taking is not world.taking:
            self._seen_ready, self._seen_taking = world.ready, world.taking
            self._when_something_changed()
        if not self.first:
            self._recovery()
        if len(world.served) > self._served:
            self._served = len(world.served)
            if strangers := world.served.keys() - self.allowed:
                self.broke("two_releases", str(strangers))

    def _when_something_changed(self) -> None:
        """What hangs on nothing but who is ready and who takes traffic: the world makes both anew when they change."""
        world = self.world
        for port in world.ports:
            if port not in self.up_seen and any(n.address == self.first_green for n in world.taking[port]):
                self.up_seen.add(port)
        self._who_is_up_for_testers()
        if self.first:
            return
        self._serving_floor()
        blue = world.slots[Colour.BLUE]
        self._stable_could_serve = all(world.ready[slot.node_address] and self.world.is_listed(slot) for slot in blue)
        self.unused -= {port for port in world.ports if world.taking[port]}
        ports = [port for port in world.ports if port not in self.unused]
        self._harmed = [port for port in ports if all(map(self._is_bad, world.taking[port]))]

    def _who_is_up_for_testers(self) -> None:
        self.up_for_testers |= {n.address for n in self._testers() if n.up and n.applied is Mode.ACCEPT}

    def _testers(self) -> list[Node]:
        return [n for n in self.world.nodes.values() if n.port == self.world.test_port]

    def _serving_floor(self) -> None:
        """Enough nodes take traffic and can answer it, while nothing but Celadon takes capacity away."""
        world = self.world
        if world.excused:
            return
        if any(r.restarts for host in world.hosts.values() for r in host.replicas.values()):
            world.excused = "a release died by itself"
            return
        for port, takers in world.taking.items():
            if port == world.test_port:
                continue
            well = sum(world.ready[node.address] for node in takers)
            if port in self.filling:
                self.filling -= {port} if well >= self.floor[port] else set()
                continue
            if well < self.floor[port] or any(node.applied is not Mode.ACCEPT for node in takers):
                self.broke("serving_floor", f"{well} of {self.floor[port]} on port {port}")
                world.excused = "said once"

    def _recovery(self) -> None:
        """Nobody UP, or dead candidates alone: not for long while a replica of stable could serve."""
        world, now = self.world, self.world.now
        since, self._ticked_at = now - self._ticked_at, now
        if self.retiring_at is not None or self.finished or self.frozen or world.home_lost or not self.driven:
            return
        if not (self._harmed or self.harmed_for) or not self._stable_could_serve:
            return
        self.harmed_for = {port: self.harmed_for.get(port, 0.0) + since for port in self._harmed}
        for port in self._harmed:
            if self.harmed_for[port] > HARM:
                self.broke("recovery", f"port {port}: for {HARM:.0f} s")
                self.harmed_for[port] = -1e9

    def _is_bad(self, node: Node) -> bool:
        """The candidate's, and dead or failing."""
        behaviour = self.world.behaviours.get(self.candidate)
        failing = behaviour is not None and behaviour.fails > 0
        return node.address in self.green and (failing or not self.world.ready[node.address])

    def wrote(self, rollout: int, event: bytes) -> None:
        """At the very moment at which it is in the journal."""
        if rollout == self.number:
            self.events += 1
            self._event(msgspec.json.decode(event))

    def _event(self, event: dict[str, Any]) -> None:
        by_kind = {
            "Opened": self._opened,
            "Driving": lambda _event: self.harmed_for.clear(),  # each driver has its own time to see it
            "Asked": self._asked,
            "CommandStarted": self._command_started,
            "CommandFinished": self._command_finished,
            "Committed": self._committed,
            "Returning": self._returning,
            "Started": self._started,
            "Retiring": self._retiring,
            "Finished": self._finished,
        }
        kind = event["type"]
        moment = ASKED[event["mode"]] if kind == "Asked" else kind
        if kind == "CommandStarted" and event["name"] == "after_commit":
            moment = "Hooked"
        for listener in self.listeners:
            listener(moment)
        if self.finished is not None and kind in {"Asked", "Started", "Stopped", "Warmed", "Committed"}:
            self.broke("idempotent", f"{kind} after the end")
        if kind in by_kind:
            by_kind[kind](event)

    def _opened(self, _event: dict[str, Any]) -> None:
        self.opened_at = self.world.now

    def _asked(self, event: dict[str, Any]) -> None:
        if event["address"] in self.green and event["port"] in self.world.ports and not self.raised:
            self._first_traffic()

    def _command_started(self, event: dict[str, Any]) -> None:
        if event["kind"] == "test" and self.test_failed:
            self.broke("gates", "a failed test is run again")
        if self.returning and event["name"] != "after_rollback":
            self.broke("going_back", f"passed the gate {event['name']}")
        if event["kind"] == "hook" and event["name"] in self.ran:
            self.broke("hooks", f"{event['name']} runs again")

    def _command_finished(self, event: dict[str, Any]) -> None:
        if event["kind"] == "test":
            self.tested, self.test_failed = event["ok"], not event["ok"]
        else:
            self.ran.add(event["name"])

    def _committed(self, _event: dict[str, Any]) -> None:
        self.committed = True
        self._all_on_candidate()
        if self.good_seen < self.rollout.verify.passes:
            self.broke("missing_data", "committed, and nobody saw the candidate answer")
        late = self.world.now - self.opened_at - self.rollout.timing.deadline
        gates = any(isinstance(step, Approve) for step in self.rollout.steps)
        if late > LATE and not gates and not self.crashed and not self.world.faults["pause"]:
            self.broke("deadlines", f"committed {late:.0f} s after the deadline of the way forward")

    def is_left_to(self, still_driving: int) -> None:
        """One that died while it waited for the lease never wrote that it drives: its time ends with it, too."""
        if not still_driving:
            self.harmed_for.clear()

    def saw_good(self, answers: int) -> None:
        self.good_seen += answers

    def _started(self, _event: dict[str, Any]) -> None:
        behaviour = self.world.behaviours.get(self.candidate)
        if behaviour is not None and behaviour.ready_after >= NEVER:
            if self.world.faults["host"]:
                self.hopeless_at = None  # one that was started anew on a host that came back has its time again
            self.hopeless()

    def hopeless(self) -> None:
        """From here on the candidate cannot be deployed; unless it is so already."""
        if self.hopeless_at is None and self.events:
            self.hopeless_at = self.world.now

    def _returning(self, event: dict[str, Any]) -> None:
        self.returning, self.returning_at = True, min(self.world.now, self.returning_at)
        self.world.patient_until = self.world.now + self.rollout.timing.up_within - 1.0
        if self.hopeless_at is None or event.get("asked_by") or self._disturbed:
            return
        timing = self.rollout.timing
        due = timing.start_within + (timing.lost if self.world.faults["host"] else 0.0)  # one that is lost has its own
        if (late := self.world.now - self.hopeless_at - due) > LATE:
            self.broke("deadlines", f"the candidate was left {late:.0f} s after its time")

    @property
    def _disturbed(self) -> bool:
        """Something kept the driver itself from seeing or doing what it should."""
        return self.crashed or any(self.world.faults[kind] for kind in ("pause", "limited", "host_silent", "refuse"))

    def _retiring(self, _event: dict[str, Any]) -> None:
        self.retiring_at = self.world.now if self.retiring_at is None else self.retiring_at
        if self.returning:
            self.broke("going_back", "stable retires on the way back to it")

    def _finished(self, event: dict[str, Any]) -> None:
        if self.finished is not None:
            return
        self.finished, self.finished_at = event["result"], self.world.now
        self._right_colour_serves(event["result"])
        self._hooks_ran(event["result"])

    def _hooks_ran(self, result: str) -> None:
        if not self.rollout.hooks or self.settled:
            return
        wanted = {"before_prepare", "before_shift", "after_commit", "after_finish"} if result == "done" else set()
        if missing := wanted - self.ran:
            self.broke("hooks", f"{result}, and {sorted(missing)} did not run")
        if result == "rolled_back" and "after_rollback" not in self.ran and not self.crashed:
            self.broke("hooks", "rolled back, and after_rollback did not run")

    def refused(self, what: str) -> None:
        self.refusals[what] += 1
        if self.refusals[what] > REFUSED and not self.crashed:
            self.broke("deadlines", f"tried again what was refused for good: {what}")

    @property
    def crashed(self) -> bool:
        return any(self.world.faults[kind] for kind in ("crash", "home", "freeze"))

    def _all_on_candidate(self) -> None:
        """As the data plane has it; what somebody changed or a host that died a moment ago cannot be known."""
        world = self.world
        for node in world.nodes.values():
            if self.first and node.address not in self.green and node.applied is Mode.REJECT:
                continue  # of the colour that a first deploy does not use, and it carries nobody
            twins = [n for n in world.nodes.values() if (n.port, n.address) == (node.port, node.address)]
            if len(twins) > 1 and not world.edited_within(60.0, node.port):
                self.broke("confirmed", f"port {node.port} has {len(twins)} nodes for {node.address} at the commit")
            if node.port not in world.ports or node.id not in self.nodes or world.edited_within(30.0, node.port):
                continue
            wanted = Mode.ACCEPT if node.address in self.green else Mode.REJECT
            if node.applied is not wanted:
                self.broke("confirmed", f"node {node.id} is {node.applied.value} at the commit")

    # -- at every effect ---------------------------------------------------------------------------

    def send(self, driver: str) -> None:
        lease = decode_lease(self.world.lease)
        if driver and lease is not None and lease.holder != driver:
            self.broke("one_driver", f"{driver} changes the balancer, and {lease.holder or 'nobody'} has the lease")

    def acts(self, driver: str) -> None:
        """At a host, where fences count: a driver raises them everywhere before it decides anything."""
        lease = decode_lease(self.world.lease)
        if not driver or lease is None or self.world.faults["host"] or self.world.faults["host_silent"]:
            return
        if lease.holder in self.deciders - {driver}:
            self.broke("one_driver", f"{driver} acts on a host, and {lease.holder} has taken over")

    def put(self, node: Node, mode: Mode, weight: int) -> None:
        self.puts += 1
        self._still_open(f"node {node.id} is asked to {mode.value}")
        if node.port == self.world.test_port:
            self._let_testers_in(node, mode)
        elif node.address not in self.green:
            return
        elif mode is Mode.ACCEPT:
            self._raise_candidate(node)
            if not self.rollout.tested_first and node.address != self.first_green and node.port not in self.up_seen:
                self.broke("no_weight_before_probed", f"{node.address} before port {node.port} called the first one UP")
        elif self._serves(node) and self.committed and not self._stable_serves(node.port):
            self.broke("commit_point", f"candidate's node {node.id} is taken out and stable does not serve")

    def _let_testers_in(self, node: Node, mode: Mode) -> None:
        if mode is not Mode.ACCEPT:
            return
        self.up_for_testers.discard(node.address)
        self._seen_taking = None
        if node.address not in self.green:
            self.broke("testers", f"stable's node {node.id} is let in")
        elif self.world.now > self.returning_at + ON_ITS_WAY and not self.frozen:
            self.broke("testers", f"node {node.id} is let in on the way back")
        else:
            self._raise_candidate(node)

    def _raise_candidate(self, node: Node) -> None:
        world = self.world
        slot = world.by_address[node.address]
        replica = world.hosts[slot.host].replicas.get(slot.key)
        if replica is None or replica.release != self.candidate:
            if not world.excused:
                self.broke("no_weight_before_probed", f"there is nothing in {slot.key}")
        elif world.excused or (replica.restarts and (self._disturbed or world.now < replica.restarted_at + SEEN)):
            return
        elif replica.probed < self.rollout.health.passes:
            self.broke("no_weight_before_probed", f"{slot.key} passed {replica.probed} probes")
        elif not replica.warm:
            self.broke("no_weight_before_probed", f"{slot.key} is cold")

    def _first_traffic(self) -> None:
        """Asked for the first time in this rollout: no gate was passed over."""
        self.raised = True
        self.good_seen = 0
        self._who_is_up_for_testers()
        listed = {n.address for n in self._testers()} & self.green
        if missing := listed - self.up_for_testers:
            self.broke("testers", f"users are moved before {sorted(missing)} were UP there")
        if self.held:
            self.broke("gates", "traffic moved while a person held it")
        if not self.tested:
            self.broke("gates", "traffic moved before the tests had passed")
        if self.rollout.hook("before_shift") is not None and "before_shift" not in self.ran and not self.settled:
            self.broke("hooks", "traffic moved before before_shift had run")
        if self.paused_at is not None and self.world.now > self.paused_at + HEARD and not self.frozen:
            self.broke("gates", "traffic moved while paused")

    def _serves(self, node: Node) -> bool:
        ready = self.world.is_ready(self.world.by_address[node.address])
        return node.applied is Mode.ACCEPT and bool(node.up) and ready

    def _stable_serves(self, port: int) -> bool:
        """It does, or would at once: a backup carries the users as soon as no accept node is UP.

        Or it did: what somebody changed by hand a moment ago, or what died then, nobody could know.
        """
        world = self.world
        stable = [n for n in world.nodes.values() if n.port == port and n.address not in self.green]
        if any(n.applied is not Mode.REJECT and n.up and world.ready[n.address] for n in stable):
            return True
        died = max((world.died_at.get(n.address, -1e9) for n in stable), default=-1e9)
        return world.edited_within(OLD_NEWS, port) or world.now - died < OLD_NEWS

    def _still_open(self, what: str) -> None:
        if self.finished is not None and not self.frozen:
            self.broke("same_end", f"after the end: {what}")

    def start(self, slot: Slot, release: ReleaseId, before: ReleaseId | None) -> None:
        self._still_open(f"{slot.key} is started")
        if release != self.candidate:
            self.broke("same_end", f"started {release} in {slot.key}")
        if before is not None and self.world.can_receive(slot):
            self.broke("no_signal", f"started {release} over {before}, which could receive requests")

    def stop(self, slot: Slot) -> None:
        self._still_open(f"{slot.key} is stopped")
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
        if len(self.deciders) == 1 and world.calls_away > len(world.nodes) * (AWAY + world.outages / 2):
            self.broke("few_calls", f"{world.calls_away} calls in {world.outages:.0f} s in which the API was away")
        if any(SECRET.encode() in raw for raw in self.world.written()):
            self.broke("secrets")
        if result == "halted" and self.world.is_gone(Colour.BLUE):
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
        slots = (*self.rollout.candidate_slots, *self.rollout.stable_slots)
        if dirty := [slot.host for slot in slots if "ancient" in world.hosts[slot.host].settings]:
            self.broke("kept", f"what no rollback needs is still on {dirty}")
        most = max(node.calls for node in world.nodes.values())
        if most > CALLS:
            self.broke("few_calls", f"{most} for one node")
        if world.lists > LISTS:
            self.broke("few_calls", f"{world.lists} reads of the whole balancer")

    def _could_go_back(self) -> bool:
        asked = self.asked_back_at
        retiring = self.retiring_at if self.retiring_at is not None else self.finished_at
        in_time = asked is not None and (retiring is None or asked + HEARD < retiring)
        return in_time and not self.frozen and not self.first

    def _right_colour_serves(self, result: str) -> None:
        """Looked at when the journal says that it is over: what comes later is another story."""
        world = self.world
        winner = {"done": Colour.GREEN, "rolled_back": Colour.BLUE}.get(result)
        if left := [n.id for n in self._testers() if n.mode is Mode.ACCEPT and n.id in self.nodes]:
            self.broke("testers", f"{result}, and nodes {left} are still open")
        users = [n for n in world.nodes.values() if n.port in world.ports]
        serving = {(n.port, n.address) for n in users if n.mode is Mode.ACCEPT and n.id in self.nodes}
        slots = world.slots[winner] if winner is not None and not (winner is Colour.BLUE and self.first) else ()
        addresses = {slot.node_address for slot in slots}
        wanted = {(n.port, n.address) for n in users if n.id in self.nodes and n.address in addresses}
        stored = decode_intent(world.intent)
        if winner is Colour.BLUE and stored is not None and stored.rollout.number == self.number:
            back_to = stored.rollout.baseline  # as it was when it opened, whatever had been changed before
            wanted = {(n.port, n.address) for n in world.nodes.values() if n.id in back_to and not self.first}
        edited = max(world.edited_at.values(), default=-1e9)
        read_old = world.recent.get("stale_read", -1e9) >= edited  # the newest answer, too, may be from before it
        known = HEARD + (STALE if read_old else 0.0)
        if serving != wanted and edited < world.now - known:
            promise = "truth" if not world.edited_at else "balancer_overrules"
            self.broke(promise, f"{result}, yet {sorted(serving)} serve")
        losers = {slot.key for colour in Colour if colour is not winner for slot in world.slots[colour]}
        for host in world.hosts.values():
            for key, replica in host.replicas.items():
                if host.alive and key in losers and replica.release in self.kept and host.boots == 1:
                    self.broke("same_end", f"{result}, yet {replica.release} still runs in {key}")
        if not world.edited_at and self.nodes != frozenset(world.nodes):
            self.broke("terraform", f"nodes {sorted(self.nodes ^ frozenset(world.nodes))}")
