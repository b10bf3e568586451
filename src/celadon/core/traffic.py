"""Moving traffic without losing a request: which node may change now, and what must be seen before the next one.

Used alike to go forward, to bake, to retire and to go back; only the targets differ. Raise before lower, read back
after each change, and never below the serving floor. Nothing here knows about steps.
"""

from celadon.core.action import Act, Decision, Look, SetNode, Wait
from celadon.core.journal import Target
from celadon.core.observed import Mode, NodeSight
from celadon.core.release import Instant
from celadon.core.scene import Goal, Scene

Targets = dict[int, Target]

OFF = Target(Mode.REJECT, 1)


def move(scene: Scene, targets: Targets) -> Decision | None:
    """The next change towards `targets`, or what to wait for; None once every node is asked, seen and in place.

    In place does not mean settled: `settle` says when it is.
    """
    nodes = [scene.observed.nodes[id_] for id_ in targets if id_ in scene.observed.nodes]
    wrong = [node for node in nodes if not in_place(scene, node, targets[node.facts.id])]
    raises = [node for node in wrong if targets[node.facts.id].mode is Mode.ACCEPT]
    if raises:
        return _ask(scene, raises, targets)
    if unready := [n for n in nodes if targets[n.facts.id].mode is Mode.ACCEPT and not scene.serving(n)]:
        needed = [n for n in wrong if _takes_traffic_away(scene, n)]
        if needed and (blocked := _await_floor(scene, unready)) is not None:
            return blocked
    if wrong:
        return _lower(scene, wrong, targets)
    return None


def settle(scene: Scene, nodes: list[NodeSight]) -> Decision | None:
    """None once these nodes have been read as they are for the whole settle time."""
    waiting = [node for node in nodes if not scene.settled(node)]
    if not waiting:
        return None
    due = min(scene.unchanged_since(node) for node in waiting) + scene.timing.settle
    if scene.now >= due:
        ready = [n for n in waiting if scene.unchanged_since(n) + scene.timing.settle <= scene.now]
        return Look(_ids(ready), "is it settled?")
    return Wait(due, "settle: the balancer may still act on its last setting")


def await_up(scene: Scene, nodes: list[NodeSight]) -> Decision | None:
    """None once all are UP. Reads grow rarer: the number of calls must not grow with the wait."""
    down = [node for node in nodes if not scene.up(node)]
    if not down:
        return None
    return poll(scene, down, f"the balancer checks {_names(down)}")


def in_place(scene: Scene, node: NodeSight, target: Target) -> bool:
    """Both asked and seen: either alone can be stale. A node that nobody touched need only be seen."""
    if not _matches(node, target):
        return False
    asked = scene.asked(node)
    if asked is None:
        return True
    return asked == target and node.read_at > scene.journal.asked_at[node.facts.id]


def floor(scene: Scene, port: int) -> int:
    """The fewest serving nodes this port may have: at least one, and as many as when the rollout opened.

    Going back lowers it to what stable can still give once its nodes have had their time to come UP: capacity
    that died with a machine must not keep a bad candidate in front of users. On the test port there are no users.
    After the commit nobody waits for a node that somebody deleted: a net adds nothing to those that serve.
    """
    if port == scene.rollout.test_port:
        return 0
    if scene.goal is Goal.BACK and scene.rollout.stable_colour is None:
        return 0  # a first deploy that failed: there is nothing to go back to
    opened = scene.rollout.floor.get(port, 1)
    if scene.goal is Goal.BACK and _time_to_rise_is_over(scene):
        stable = sum(1 for node in scene.stable_nodes if node.facts.port == port and scene.serving(node))
        opened = min(opened, stable)
    if scene.goal in {Goal.BAKE, Goal.RETIRE}:
        opened = min(opened, sum(1 for node in scene.candidate_nodes if node.facts.port == port))
    return max(1, opened)


def rise_is_late(scene: Scene, nodes: list[NodeSight]) -> bool:
    """Asked to accept, and not UP within the time that the balancer's checks take."""
    wanted = [node.facts.id for node in nodes if (it := scene.asked(node)) is not None and it.mode is Mode.ACCEPT]
    asked = [scene.journal.asked_at[id_] for id_ in wanted]
    late = bool(asked) and scene.overdue(max(asked), scene.timing.up_within)
    return late and not all(scene.up(node) for node in nodes)


def _matches(node: NodeSight, target: Target) -> bool:
    facts = node.facts
    if facts.mode is not target.mode:
        return False
    return facts.mode is Mode.REJECT or facts.weight == target.weight


def _ask(scene: Scene, nodes: list[NodeSight], targets: Targets, *, lowers: bool = False) -> Decision:
    """PUT what was not asked for yet; read back what was; ask again for what is not seen in time."""
    journal = scene.journal
    busy = {action.node for action in scene.observed.in_flight if isinstance(action, SetNode)}
    changes: list[SetNode] = []
    unread: list[NodeSight] = []
    lagging: list[NodeSight] = []
    for node in nodes:
        id_, target = node.facts.id, targets[node.facts.id]
        asked_at = journal.asked_at.get(id_)
        if id_ in busy:
            continue
        if journal.asked.get(id_) != target or asked_at is None:
            changes.append(_change(node, target, lowers=lowers))
        elif node.read_at <= asked_at:
            unread.append(node)
        elif scene.now >= asked_at + scene.timing.repeat:
            changes.append(_change(node, target, lowers=lowers))
        else:
            lagging.append(node)
    if changes:
        return Act(tuple(changes), f"{'lower' if lowers else 'raise'} {_names_of(changes)}")
    if unread:
        return Look(_ids(unread), f"read back {_names(unread)}")
    if not lagging:
        return Wait(None, f"asking the balancer about {_names(nodes)}")
    return poll(scene, lagging, f"{_names(lagging)} not seen yet as asked for")


def _change(node: NodeSight, target: Target, *, lowers: bool) -> SetNode:
    facts = node.facts
    return SetNode(
        node=facts.id,
        port=facts.port,
        address=facts.address,
        mode=target.mode,
        weight=target.weight,
        lowers=lowers and facts.mode in {Mode.ACCEPT, Mode.BACKUP},
    )


def _lower(scene: Scene, nodes: list[NodeSight], targets: Targets) -> Decision:
    """Take these out, where the floor of their port holds without them, on answers that are fresh."""
    needs = [node for node in nodes if _takes_traffic_away(scene, node)]
    ports = {node.facts.port for node in needs if not _is_down(scene, node)}
    keeping = [
        node
        for node in scene.observed.nodes.values()
        if node.facts.port in ports and scene.serving(node) and _stays(node, targets)
    ]
    for port in sorted(ports):
        here = [node for node in keeping if node.facts.port == port]
        fresh = [node for node in here if scene.fresh(node)]
        if len(fresh) >= floor(scene, port):
            continue
        if len(here) >= floor(scene, port):
            return Look(_ids([n for n in here if not scene.fresh(n)]), f"port {port}: still serving without it?")
        because = f"port {port}: {len(here)} of {floor(scene, port)} nodes serve without it"
        if scene.goal is Goal.BACK and not _has_stable(scene, port):
            because += ": nothing of stable is left there"
        others = [n for n in scene.observed.nodes.values() if n.facts.port == port and _stays(n, targets)]
        return poll(scene, others, because)
    if stale := [node for node in needs if _is_down(scene, node) and not scene.fresh(node)]:
        return Look(_ids(stale), f"is {_names(stale)} still down?")
    return _ask(scene, nodes, targets, lowers=True)


def _await_floor(scene: Scene, unready: list[NodeSight]) -> Decision | None:
    """Wait for raised nodes: all of them on the way forward; on the way back the floor is enough in the end."""
    if scene.goal is Goal.BACK and _time_to_rise_is_over(scene):
        return None
    up = [node for node in unready if scene.up(node)]
    if len(up) < len(unready):
        return await_up(scene, unready)
    return settle(scene, up)


def poll(scene: Scene, nodes: list[NodeSight], because: str) -> Decision:
    """Look when due. Each read of an unchanged node makes the next pause half as long again."""
    if not nodes:
        return Wait(None, because)
    if ready := due(scene, nodes):
        return Look(ready, because)
    return Wait(min(_poll_at(scene, node) for node in nodes), because)


def due(scene: Scene, nodes: list[NodeSight]) -> tuple[int, ...]:
    """Which of these `poll` would read now."""
    return tuple(node.facts.id for node in nodes if _poll_at(scene, node) <= scene.now)


def _poll_at(scene: Scene, node: NodeSight) -> Instant:
    return node.read_at + scene.timing.poll * 1.5 ** min(node.reads - 1, 6)


def _time_to_rise_is_over(scene: Scene) -> bool:
    return scene.overdue(scene.journal.returning_at, scene.timing.up_within)


def _takes_traffic_away(scene: Scene, node: NodeSight) -> bool:
    """It takes traffic now, or would if no accept node were UP; what was asked counts, too: an answer may be old."""
    asked = scene.asked(node)
    return bool({Mode.ACCEPT, Mode.BACKUP} & {node.facts.mode, asked.mode if asked is not None else node.facts.mode})


def _is_down(scene: Scene, node: NodeSight) -> bool:
    """Going back, a candidate that the balancer itself calls down gives nothing: taking it out takes nothing.

    Unless nothing of stable is left on its port: then it is all that users have, if it comes back.
    """
    asked = scene.asked(node)
    # Asked to take traffic and not seen so yet: its status is from before, and says nothing.
    unseen = asked is not None and asked.mode is not Mode.REJECT and asked.mode is not node.facts.mode
    if scene.goal is not Goal.BACK or node.facts.up is not False or unseen:
        return False
    return _has_stable(scene, node.facts.port) or _stays_down(scene, node)


def _has_stable(scene: Scene, port: int) -> bool:
    """Listed there, and not known to be dead. What is out is never UP, and may be well."""
    here = [node.facts for node in scene.stable_nodes if node.facts.port == port]
    return any(facts.mode is Mode.REJECT or facts.up is not False for facts in here)


def _stays_down(scene: Scene, node: NodeSight) -> bool:
    """As its host sees it, for as long as coming up may take; or its host is silent, too."""
    slot = scene.slot_at(node)
    if slot is None:
        return True
    sight = scene.slot(slot)
    if not scene.reachable(slot) or sight is None:
        return scene.lost_for(slot) >= scene.timing.lost
    return sight.fails * scene.timing.interval >= scene.timing.up_within


def _stays(node: NodeSight, targets: Targets) -> bool:
    target = targets.get(node.facts.id)
    return target is None or target.mode is Mode.ACCEPT


def _ids(nodes: list[NodeSight]) -> tuple[int, ...]:
    return tuple(node.facts.id for node in nodes)


def _names(nodes: list[NodeSight]) -> str:
    return ", ".join(sorted({node.facts.label or node.facts.address for node in nodes}))


def _names_of(changes: list[SetNode]) -> str:
    return ", ".join(sorted({change.address for change in changes})) + f" to {changes[0].mode.value}"
