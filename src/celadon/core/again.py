"""The same command again: whether a rollout that is open is the one that it asks for."""

from celadon.core.intent import Intent
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
