"""What is under way or failed a moment ago is not tried again yet."""

from celadon.core.action import (
    Act,
    Action,
    Decision,
    Prune,
    PutArtifact,
    PutSettings,
    Record,
    RunCommand,
    SetNode,
    Start,
    Stop,
    Wait,
    WarmUpSlot,
)
from celadon.core.journal import Target, asking
from celadon.core.release import Instant
from celadon.core.scene import Scene

RETRY_DOUBLINGS = 5  # the pause after a failure grows to 32 times the first


def subject(action: Action) -> tuple[object, ...]:
    """What an action is about: two about the same thing never run at once."""
    match action:
        case SetNode(node=node):
            return ("node", node)
        case Start(slot=slot) | Stop(slot=slot) | WarmUpSlot(slot=slot):
            return ("slot", slot.key)
        case PutSettings(host=host):
            return ("settings", host)
        case PutArtifact(host=host):
            return ("artifact", host)
        case Prune(host=host):
            return ("prune", host)
        case RunCommand(kind=kind, name=name):
            return ("command", kind, name)
        case Record(event=event):
            return ("record", event)


def failure_key(action: Action) -> str:
    """The words failures of this action are counted by."""
    if isinstance(action, SetNode):
        return asking(action.node, Target(action.mode, action.weight))
    return " ".join(str(part) for part in (type(action).__name__, *subject(action)[1:]))


def hold_back(decision: Decision, scene: Scene) -> Decision:
    """Leave out what is under way or failed a moment ago. Trying again gets rarer; giving up is the judge's."""
    if isinstance(decision, Wait) and decision.until is not None and decision.until <= scene.now:
        return Wait(None, decision.because)  # a rule waits for something else by now; the loop must not spin
    if not isinstance(decision, Act):
        return decision
    busy = {subject(action) for action in scene.observed.in_flight}
    free = [action for action in decision.actions if subject(action) not in busy]
    if not free:
        return Wait(None, decision.because)
    due = {action: _retry_at(scene, action) for action in free}
    ready = tuple(action for action in free if due[action] <= scene.now)
    if ready:
        return Act(ready, decision.because)
    first = min(free, key=due.__getitem__)
    _, _, error, _ = scene.journal.failures[failure_key(first)]  # what waits has failed
    return Wait(due[first], f"{decision.because}: a moment ago this failed: {error}")


def _retry_at(scene: Scene, action: Action) -> Instant:
    failed = scene.journal.failures.get(failure_key(action))
    if failed is None:
        return scene.now
    return failed[1] + scene.timing.retry * 2.0 ** min(failed[0] - 1, RETRY_DOUBLINGS)
