"""The app's home: lease, intent and journal. Texts in and out; the driver knows their meaning."""

from __future__ import annotations

import os
import re
from pathlib import Path

from celadon.agent import fence as fences
from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG, LEASE_LOST, REFUSED

DOCUMENTS = ("lease", "intent", "key")  # key: of the secrets' fingerprints, one for all who deploy the app
PAGE = 1 << 20  # bytes of events in one answer
_JOURNAL = re.compile(r"([0-9]{1,9})\.jsonl")


def read_document(app: str, name: str) -> str | None:
    try:
        return _document(app, name).read_text("utf-8")
    except FileNotFoundError:
        return None


def swap_document(app: str, name: str, old: str | None, new: str) -> bool:
    """Compare and swap; False: it is not `old` any more."""
    with paths.locked(_home(app) / "lock"):
        if read_document(app, name) != old:
            return False
        paths.write_atomically(_document(app, name), new.encode("utf-8"))
        return True


def read_journal(app: str, rollout: int, start: int) -> tuple[list[str], bool]:
    """(events from number `start` on, whether there are more than fit one answer)."""
    page: list[str] = []
    size = 0
    for event in _events(_journal(app, rollout))[start:]:
        size += len(event)
        if page and size > PAGE:
            return page, True
        page.append(event)
    return page, False


def append(app: str, rollout: int, start: int, events: list[str], fence: int) -> None:
    """Durable when it returns. An event that is there already is not written again."""
    if any("\n" in event for event in events):
        raise AgentError(BUG, "an event of a journal is one line")
    with paths.locked(_home(app) / "lock"):
        _check_fence(app, fence)
        path = _journal(app, rollout)
        there = _events(path)
        if start > len(there):
            message = f"{app}: journal {rollout} has {len(there)} events: number {start} would leave a gap"
            raise AgentError(REFUSED, message)
        known = there[start : start + len(events)]
        if known != events[: len(known)]:
            message = f"{app}: another driver wrote event {start} of rollout {rollout}"
            raise AgentError(LEASE_LOST, message)
        if events[len(known) :]:
            _write(path, there, events[len(known) :])


def rollouts(app: str) -> list[int]:
    names = os.listdir(str(_home(app) / "journal")) if (_home(app) / "journal").is_dir() else []
    return sorted(int(match.group(1)) for match in map(_JOURNAL.fullmatch, names) if match)


def _check_fence(app: str, fence: int) -> None:
    # The home's own mark beside the host's fence: the journal moves on while an older driver's stop still runs.
    fences.check(app, fence)
    mark = _home(app) / "fence"
    seen = int(mark.read_bytes()) if mark.exists() else 0
    if fence < seen:
        message = f"{app}: another driver has taken over the journal (fence {seen}, ours is {fence})"
        raise AgentError(LEASE_LOST, message)
    if fence > seen:
        paths.write_atomically(mark, b"%d" % fence)


def _events(path: Path) -> list[str]:
    """Whole lines only: a crash may leave a torn last one, which was never acknowledged."""
    if not path.exists():
        return []
    return path.read_text("utf-8").split("\n")[:-1]


def _write(path: Path, there: list[str], events: list[str]) -> None:
    paths.make_dir(path.parent)
    new = not path.exists()
    whole = sum(len(event.encode("utf-8")) + 1 for event in there)
    with open(str(path), "ab", opener=paths.private) as file:
        file.truncate(whole)
        file.write("".join(event + "\n" for event in events).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    if new:
        paths.sync_dir(path.parent)


def _home(app: str) -> Path:
    return paths.app_dir(app) / "home"


def _document(app: str, name: str) -> Path:
    if name not in DOCUMENTS:
        raise AgentError(BUG, f"no document {name!r:.40} in a home")
    return _home(app) / (name + ".json")


def _journal(app: str, rollout: int) -> Path:
    if rollout < 0:
        raise AgentError(BUG, f"no rollout {rollout}")
    return _home(app) / "journal" / (f"{rollout}.jsonl")
