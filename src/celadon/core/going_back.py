"""Going back: stable serves again, and nobody is without an answer meanwhile. Two rules of `decide.RULES`.

The difficulty is the net. In the bake stable is the balancer's backup; while no candidate is UP, it alone serves.
Whether a backup's health is checked is not documented, so raising one may start its checks anew: a net is left one
address at a time, unless the candidate serves for certain.
"""

from celadon.core import traffic
from celadon.core.action import Act, Decision, Look, Record, Wait
from celadon.core.journal import Returning, Target
from celadon.core.observed import Mode, NodeSight
from celadon.core.release import Instant, Slot
from celadon.core.scene import Goal, Scene


def go_back_if_asked(scene: Scene) -> Decision | None:
    """Going back is possible until stable is signalled, asks nothing, and passes no gate.

    A first deploy has nothing to go back to once it is committed: its candidate is all that users have.
    """
    who = scene.intent.requests.go_back
    if not who or scene.goal is Goal.BACK or scene.journal.retiring_at is not None:
        return None
    if scene.journal.committed_at is not None and scene.rollout.stable_colour is None:
        return None
    return Act((Record(Returning(reason="asked for", asked_by=who)),), f"{who} asked to go back")


def restore_stable(scene: Scene) -> Decision | None:
    """Going back is safe with little knowledge, so it comes before looking around."""
    if scene.goal is not Goal.BACK:
        return None
    targets = {node.facts.id: traffic.OFF for node in scene.candidate_nodes}
    stable = [node for node in scene.stable_nodes if node.facts.id in scene.rollout.baseline]
    home = {node.facts.id: Target(Mode.ACCEPT, scene.rollout.baseline[node.facts.id]) for node in stable}
    away = [node for node in stable if not traffic.in_place(scene, node, home[node.facts.id])]
    # Whether the net may be raised at once hangs on the candidate, and the bake reads it ever more rarely.
    net = away and any(_may_be_net(scene, node) for node in stable)
    if net and (decision := _seen_since(scene, scene.journal.returning_at)) is not None:
        return decision
    if net and (old := [n for n in scene.candidate_nodes if scene.up(n) and _is_old_news(scene, n)]):
        return Look(tuple(node.facts.id for node in old), "does the candidate still serve?")
    if away and _served_by_backup(scene):
        # That it is the net may be an old answer: then nobody serves, and waiting would harm.
        if late := traffic.due(scene, [node for node in stable if _may_be_net(scene, node)]):
            return Look(late, "is the net still there?")
        return _leave_backup(scene, stable, home, targets)
    return traffic.move(scene, home | targets) or _seen_since(scene, scene.journal.returning_at)


def _may_be_net(scene: Scene, node: NodeSight) -> bool:
    """Seen as a backup, or last asked to be one: until it has settled as something else, that answer may be old."""
    asked = scene.asked(node)
    wanted = asked is not None and asked.mode is Mode.BACKUP
    return node.facts.mode is Mode.BACKUP or (wanted and not scene.settled(node))


def _served_by_backup(scene: Scene) -> bool:
    """No accept node is UP somewhere, and stable is a backup there: users are on the net now.

    A stable node that was raised out of it counts once it has settled: whether a backup's health is checked is not
    documented, so its UP may be from before, and the rest of the net must hold until then.
    """
    sick = {slot.node_address for slot in scene.rollout.candidate_slots if _is_sick(scene, slot)}
    up = {node.facts.port for node in scene.candidate_nodes if scene.up(node) and node.facts.address not in sick}
    up |= {node.facts.port for node in scene.stable_nodes if scene.serving(node)}
    return any(_may_be_net(scene, node) and node.facts.port not in up for node in scene.stable_nodes)


def _is_sick(scene: Scene, slot: Slot) -> bool:
    """As its host sees it, since going back began; the balancer's own check is slower to notice.

    A host that is silent says nothing good, and one that was looked at before says nothing of now: what made us go
    back may be that the candidate died since. One that was started again counts once it has passed a probe.
    """
    host, sight, since = scene.host(slot), scene.slot(slot), scene.journal.returning_at
    if host is None or host.seen_at is None or sight is None or not scene.reachable(slot):
        return True
    if since is not None and host.seen_at < since:
        return True
    return sight.fails > 0 or sight.passes == 0


def _is_old_news(scene: Scene, node: NodeSight) -> bool:
    """Its UP is too old to rest on; of a replica that was started again also where it is from before it was well.

    The balancer notices a death seconds later than its host: an UP may be from before it did.
    """
    if not scene.fresh(node):
        return True
    slot = scene.slot_at(node)
    host = scene.host(slot) if slot is not None else None
    sight = scene.slot(slot) if slot is not None else None
    if slot is None or host is None or host.seen_at is None or sight is None:
        return False
    replica = sight.facts.replica
    again = replica is not None and (slot.key, replica.id) not in scene.journal.warmed
    return again and not _is_sick(scene, slot) and node.read_at <= host.seen_at


def _leave_lone_backup(scene: Scene, home: traffic.Targets, off: traffic.Targets) -> Decision | None:
    """A lone backup holds everything, so it moves beside a candidate that is UP, or when that one stays down.

    A candidate that died is often back in seconds; until then the net serves, and waiting harms nobody.
    """
    sick = any(_is_sick(scene, slot) for slot in scene.rollout.candidate_slots)
    if not sick and all(scene.up(node) for node in scene.candidate_nodes):
        return traffic.move(scene, home | off)
    return _await_candidate(scene, off) or traffic.move(scene, home)


def _await_candidate(scene: Scene, off: traffic.Targets) -> Decision | None:
    """None once a candidate that died has had its time to come back, and then is out for certain.

    Settled: one that came back as it was taken out carries users until the change applies, and then the net does.
    Where taking it out was refused and it is UP again, it serves there, and the net may be raised beside it.
    """
    if scene.overdue(scene.journal.returning_at, scene.timing.up_within):
        kept_on = _kept_on(scene)
        if old := tuple(node.facts.id for node in kept_on if not scene.fresh(node)):
            return Look(old, "does the candidate still serve?")
        ports = {node.facts.port for node in kept_on}
        others = [node for node in scene.candidate_nodes if node.facts.port not in ports]
        out = traffic.move(scene, {node.facts.id: off[node.facts.id] for node in others})
        return out or traffic.settle(scene, others + kept_on)
    sick = [slot.key for slot in scene.rollout.candidate_slots if _is_sick(scene, slot)]
    look = traffic.await_up(scene, scene.candidate_nodes)
    return look or Wait(None, f"the net serves: is {', '.join(sick)} well?")


def _kept_on(scene: Scene) -> list[NodeSight]:
    """Candidates that were asked out, and that serve as they did: also as their hosts see it."""
    well = {slot.node_address for slot in scene.rollout.candidate_slots if not _is_sick(scene, slot)}
    up = [n for n in scene.candidate_nodes if n.facts.mode is Mode.ACCEPT and n.facts.up and n.facts.address in well]
    return [node for node in up if (asked := scene.asked(node)) is not None and asked.mode is Mode.REJECT]


def _leave_backup(
    scene: Scene, stable: list[NodeSight], home: traffic.Targets, off: traffic.Targets
) -> Decision | None:
    """One address at a time, each UP before the next, while the rest of the net is certain to hold."""
    addresses = sorted({node.facts.address for node in stable})
    if len(addresses) == 1:
        return _leave_lone_backup(scene, home, off)
    patience: Decision | None = None
    for address in addresses:
        here = [node for node in stable if node.facts.address == address]
        others = [node for node in stable if node.facts.address != address]
        targets = {node.facts.id: home[node.facts.id] for node in here}
        if traffic.rise_is_late(scene, here):
            continue  # it may be dead: the next one is tried
        if (decision := _rest_must_hold(scene, others)) is not None:
            return decision
        if _holds_alone(scene, here, others):  # moved as a lone backup is; who carries nothing may be raised meanwhile
            first = _await_candidate(scene, off)
            patience = patience or first
            if first is not None:
                continue
        decision = traffic.move(scene, targets) or traffic.await_up(scene, here) or traffic.settle(scene, here)
        if decision is not None:
            return decision
    return patience or traffic.move(scene, home | off)


def _holds_alone(scene: Scene, here: list[NodeSight], others: list[NodeSight]) -> bool:
    """On some port nobody else of stable would carry the users while its checks begin anew."""
    held = {node.facts.port for node in others if _holds(scene, node) or scene.serving(node)}
    return any((_holds(scene, node) or _is_unseen(scene, node)) and node.facts.port not in held for node in here)


def _is_unseen(scene: Scene, node: NodeSight) -> bool:
    """Asked to be the net a moment ago and seen as something else: that answer may be old, and it holds."""
    return node.facts.mode is not Mode.BACKUP and _may_be_net(scene, node)


def _holds(scene: Scene, node: NodeSight) -> bool:
    """Seen as the net, and neither its host nor the balancer calls it dead; where one is silent, the other must say.

    What was asked to be the net and has settled as something else was refused: it carries nobody. Until it has settled,
    the balancer may call it down from before it was asked.
    """
    if node.facts.mode is not Mode.BACKUP or (node.facts.up is False and scene.settled(node)):
        return False
    slot = scene.slot_at(node)
    if slot is None:
        return False
    sight = scene.slot(slot)
    return sight is None or sight.fails == 0 if scene.reachable(slot) else node.facts.up is True


def _rest_must_hold(scene: Scene, others: list[NodeSight]) -> Decision | None:
    """What was asked to be the net a moment ago may not have joined it yet, however surely it is seen as one."""
    return traffic.settle(scene, [node for node in others if _may_be_net(scene, node)])


def _seen_since(scene: Scene, since: Instant | None) -> Decision | None:
    """Who serves is said of answers younger than the wish to go back: the balancer overrules what we know."""
    old = [n for n in scene.candidate_nodes + scene.stable_nodes if since is not None and n.read_at < since]
    return Look(tuple(node.facts.id for node in old), "who serves now?") if old else None
