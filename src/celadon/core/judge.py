"""Is the candidate good enough to go on? Facts in, verdict out; missing data is never a pass.

Only what is certain to be the candidate's fault returns a rollout by itself. Failures of stable, or of nobody
known, are reported and change nothing.
"""

from celadon.core.action import Look
from celadon.core.journal import Returning
from celadon.core.observed import Mode, SlotSight
from celadon.core.release import Slot
from celadon.core.scene import Goal, Scene

ATTEMPTS = 6  # failures in a row of one action before the way forward is given up
EXITS = 3  # of a replica that never passed a probe


def candidate(scene: Scene) -> Returning | Look | None:
    """Why the candidate must be left; or what must be read to know; or None: nothing speaks against it."""
    reason = _public(scene)
    if reason is None and scene.goal is Goal.FORWARD:
        reason = _forward(scene)
    if reason is not None:
        return Returning(reason=reason)
    for slot in scene.rollout.candidate_slots:
        verdict = _replica(scene, slot)
        if verdict is not None:
            return verdict
    return None


def _public(scene: Scene) -> str | None:
    failed, allowed = scene.observed.public.failed_on_candidate, scene.rollout.verify.max_failed
    if failed <= allowed:
        return None
    return f"{scene.rollout.candidate.version} failed {failed} requests through the users' door (allowed: {allowed})"


def _forward(scene: Scene) -> str | None:
    return _out_of_time(scene) or _command_failed(scene) or _action_failed(scene) or _nodes_wrong(scene)


def _out_of_time(scene: Scene) -> str | None:
    opened = scene.journal.opened_at
    if opened is None or scene.journal.paused_at is not None:
        return None
    used = scene.now - opened - scene.journal.paused_for - scene.held_for
    return f"not done within its deadline of {scene.timing.deadline:.0f} s" if used > scene.timing.deadline else None


def _command_failed(scene: Scene) -> str | None:
    for (kind, name), ok in scene.journal.commands.items():
        if not ok and (kind == "test" or name.startswith("before_")):
            return f"{kind} {name} failed"
    return None


def _action_failed(scene: Scene) -> str | None:
    for action, (count, _, error, final) in scene.journal.failures.items():
        if final or count >= ATTEMPTS:
            host = action.rpartition(" ")[2].partition(":")[0]
            return error if error.startswith(f"{host}:") else f"{action}: {error}"
    return None


def _nodes_wrong(scene: Scene) -> str | None:
    """A node missing or doubled, or one that was raised and never came UP."""
    seen: set[tuple[int, str]] = set()
    testing = scene.rollout.tested_first and not scene.has_traffic  # later the test port is no gate any more
    testers, ports = scene.candidate_test_nodes if testing else [], set(scene.rollout.ports)
    if testing and scene.rollout.test_port is not None:
        ports.add(scene.rollout.test_port)
    for node in scene.candidate_nodes + scene.stable_nodes + testers:
        key = (node.facts.port, node.facts.address)
        if key in seen:
            return f"port {key[0]} has two nodes for {key[1]}"
        seen.add(key)
    for slot in scene.rollout.candidate_slots:
        address = slot.node_address
        for port in sorted(ports):
            if (port, address) not in seen:
                return f"port {port} lost its node for {slot.key} ({address})"
    for node in scene.candidate_nodes + testers:
        asked_at = scene.journal.asked_at.get(node.facts.id)
        late = scene.overdue(asked_at, scene.timing.up_within)
        asked = scene.asked(node)
        wanted = node in scene.candidate_nodes or (asked is not None and asked.mode is Mode.ACCEPT)
        if late and wanted and node.facts.id in scene.journal.raised and not scene.up(node):
            return f"the balancer did not call {node.facts.label} UP on port {node.facts.port} in time"
    return None


def _replica(scene: Scene, slot: Slot) -> Returning | Look | None:
    sight = scene.slot(slot)
    if not scene.reachable(slot):
        return _lost(scene, slot)
    if sight is None:
        return None
    if slot.key not in scene.warm_slots:
        return _starting(scene, slot, sight)
    replica = sight.facts.replica
    if replica is not None and replica.restarts and (slot.key, replica.id) not in scene.journal.warmed:
        return Returning(reason=f"{slot.key} exited after it had been found well, and was started again")
    if sight.fails >= scene.rollout.health.passes:
        return Returning(reason=f"{slot.key} became unhealthy: {sight.last_failure or 'not running'}")
    return None


def _starting(scene: Scene, slot: Slot, sight: SlotSight) -> Returning | None:
    replica = sight.facts.replica
    if replica is None or replica.release != scene.rollout.candidate.id:
        return None
    if sight.passes == 0 and replica.restarts >= EXITS:
        code = f" (exit code {replica.exit_code})" if replica.exit_code is not None else ""
        return Returning(reason=f"{slot.key} exited {replica.restarts} times before it was ever well{code}")
    if sight.passes >= scene.rollout.health.passes:
        return None  # well, and not warm yet: a pause may last
    waited = scene.now - sight.since
    if waited > scene.timing.start_within:
        within = f"{scene.timing.start_within:.0f} s"
        return Returning(reason=f"{slot.key} did not become healthy in {within}: {sight.last_failure or 'no answer'}")
    return None


def _lost(scene: Scene, slot: Slot) -> Returning | Look | None:
    """A host that does not answer us may serve all the same: with traffic, the balancer's own view decides."""
    if scene.lost_for(slot) < scene.timing.lost:
        return None
    gone = Returning(reason=f"{slot.host} does not answer")
    nodes = [n for n in scene.candidate_nodes if n.facts.address == slot.node_address]
    nodes = [node for node in nodes if node.facts.id in scene.journal.raised]
    if not nodes:
        return gone if scene.goal is Goal.FORWARD else None
    stale = tuple(n.facts.id for n in nodes if scene.now - n.read_at > scene.timing.lost)
    if stale:
        return Look(stale, f"{slot.host} does not answer: does the balancer call it UP?")
    return gone if all(node.facts.up is False for node in nodes) else None
