"""The same command again: whether what is open, or live, is what it asks for."""

from collections.abc import Iterator

from celadon.core.intent import Intent
from celadon.core.observed import HostFacts
from celadon.core.preflight import Opening, Scout
from celadon.core.release import Release, ReleaseId
from celadon.core.wanted import Wanted


def adopts(intent: Intent, release: Release, wanted: Wanted) -> bool:
    """The same reference and settings mean the same rollout: running deploy again goes on with it."""
    same = intent.rollout.candidate.version == release.version and intent.rollout.kind == "deploy"
    return same and intent.rollout.settings_hash == wanted.settings_hash


def goes_on(intent: Intent, release_id: ReleaseId | None) -> bool:
    """Whether `rollback` asked for now is the open rollback asked for again. `abort` is what turns it round."""
    rollout = intent.rollout
    if intent.finished or rollout.kind != "rollback" or intent.requests.go_back:
        return False
    return release_id is None or release_id in {rollout.candidate.id, rollout.candidate.version}


def is_live(opening: Opening) -> bool:
    """What would be opened is a rollout to the release that serves."""
    stable = opening.rollout.stable
    return stable is not None and stable.id == opening.rollout.candidate.id


def where_it_is_not(opening: Opening, scout: Scout) -> Iterator[str]:
    """Sentences on slots of the live colour that could serve the live release, and do not."""
    rollout = opening.rollout
    for slot in rollout.slots[rollout.candidate_colour.other]:
        ports = [str(node.port) for node in opening.add if node.address == slot.node_address]
        facts = scout.hosts[slot.host]
        if isinstance(facts, HostFacts) and not any(
            seen.key == slot.key and seen.replica is not None and seen.replica.running for seen in facts.slots
        ):
            yield f"{slot.host} does not run {rollout.candidate.version}"
        elif ports:
            yield f"{slot.host} runs {rollout.candidate.version}, and has no node on port {', '.join(ports)}"
