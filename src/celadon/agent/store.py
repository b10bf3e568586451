"""The app's store: lease, intent and journal. Texts in and out; the driver knows their meaning.

Only the app's home answers: a host whose store has moved, or that knows of a newer home, says so instead (`home.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celadon.agent import fence as fences
from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import BUG, LEASE_LOST, NOT_HOME, REFUSED

COPIED = ("intent", "key", "adopted")  # key: of the secrets' fingerprints, one for all who deploy the app
DOCUMENTS = ("lease", *COPIED)
PAGE = 1 << 20  # bytes of events in one answer
_JOURNAL = re.compile(r"([0-9]{1,9})\.jsonl")


def read_document(app: str, name: str) -> str | None:
    check_here(app)
    try:
        return document_in(data(app), name).read_text("utf-8")
    except FileNotFoundError:
        return None


def swap_document(app: str, name: str, old: str | None, new: str) -> bool:
    """Compare and swap; False: it is not `old` any more."""
    with locked(app):
        if read_document(app, name) != old:
            return False
        paths.write_atomically(document_in(data(app), name), new.encode("utf-8"))
        return True


def read_journal(app: str, rollout: int, start: int) -> tuple[list[str], bool]:
    """(events from number `start` on, whether there are more than fit one answer)."""
    check_here(app)
    page: list[str] = []
    size = 0
    for event in events_of(journal_in(data(app), rollout))[start:]:
        size += len(event)
        if page and size > PAGE:
            return page, True
        page.append(event)
    return page, False


def append(app: str, rollout: int, start: int, events: list[str], fence: int) -> None:
    """Durable when it returns. An event that is there already is not written again."""
    if any("\n" in event for event in events):
        raise AgentError(BUG, "an event of a journal is one line")
    with locked(app):
        check_here(app)
        check_fence(app, fence)
        raise_mark(app, fence)
        path = journal_in(data(app), rollout)
        there = events_of(path)
        if start > len(there):
            message = f"{app}: journal {rollout} has {len(there)} events: number {start} would leave a gap"
            raise AgentError(REFUSED, message)
        known = there[start : start + len(events)]
        if known != events[: len(known)]:
            message = f"{app}: another driver wrote event {start} of rollout {rollout}"
            raise AgentError(LEASE_LOST, message)
        if events[len(known) :]:
            write_events(path, there, events[len(known) :])


def rollouts(app: str) -> list[int]:
    check_here(app)
    return journals(app)


# -- is this the home? ---------------------------------------------------------------------------


def standing(app: str) -> tuple[str, dict[str, Any]]:
    """(state, seat) as in `HomeFacts`. A store without a seat is the first home."""
    seat = paths.read_json(seat_file(app))
    if seat is None:
        state, here = ("here" if _has_store(app) else "none"), {"epoch": 1, "move": 0, "home": ""}
    else:
        state, here = str(seat["state"]), {key: seat[key] for key in ("epoch", "move", "home")}
    told = fences.told(app) or {"epoch": 1, "move": 0}
    newest = max((told["epoch"], told["move"]), (fences.epoch_of(fences.read(app)), 0))
    if state == "here" and newest > (here["epoch"], here["move"]):
        return "old", here
    return state, here


def check_here(app: str) -> None:
    """Nobody writes to, or believes, a store that is not the app's."""
    state, seat = standing(app)
    told = fences.told(app)
    if state == "here" or (state == "none" and told is None and fences.epoch_of(fences.read(app)) == 1):
        return
    none: dict[str, Any] = {"epoch": 0, "home": ""}
    named = [one for one in (seat if state == "moved" else None, told) if one is not None]
    newest = max(named, key=lambda one: (one["epoch"], one["move"]), default=none)
    if newest["epoch"] >= fences.epoch_of(fences.read(app)):
        where = newest["home"]
        raise AgentError(NOT_HOME, f"{app}: its home is {where} now", f'celadon.toml: hosts.home = "{where}"')
    message = f"{app}: this host's store is of an old epoch: the home was replaced meanwhile"
    raise AgentError(NOT_HOME, message, "celadon.toml: hosts.home is the host that celadon store adopt named")


def check_fence(app: str, fence: int) -> None:
    # The home's own mark beside the host's fence: the journal moves on while an older driver's stop still runs.
    fences.check(app, fence)
    seen = _mark(app)
    if fence < seen:
        message = f"{app}: another driver has taken over the journal (fence {seen}, ours is {fence})"
        raise AgentError(LEASE_LOST, message)


def raise_mark(app: str, fence: int) -> None:
    if fence > _mark(app):
        paths.write_atomically(home(app) / "fence", b"%d" % fence)


def _mark(app: str) -> int:
    mark = home(app) / "fence"
    return int(mark.read_bytes()) if mark.exists() else 0


def _has_store(app: str) -> bool:
    return any(document_in(home(app), name).exists() for name in DOCUMENTS) or bool(journals_in(home(app)))


# -- files ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(app: str) -> Iterator[None]:
    with paths.locked(home(app) / "lock"):
        yield


def home(app: str) -> Path:
    return paths.app_dir(app) / "home"


def seat_file(app: str) -> Path:
    return home(app) / "seat.json"


def data_name(app: str) -> str:
    seat = paths.read_json(seat_file(app))
    return "" if seat is None else str(seat["data"])


def data(app: str) -> Path:
    """Where the documents are: the home itself, or the copy that was opened last."""
    name = data_name(app)
    return home(app) / name if name else home(app)


def document_in(directory: Path, name: str) -> Path:
    if name not in DOCUMENTS:
        raise AgentError(BUG, f"no document {name!r:.40} in a home")
    return directory / (name + ".json")


def journal_in(directory: Path, rollout: int) -> Path:
    if rollout < 0:
        raise AgentError(BUG, f"no rollout {rollout}")
    return directory / "journal" / (f"{rollout}.jsonl")


def journals(app: str) -> list[int]:
    return journals_in(data(app))


def journals_in(directory: Path) -> list[int]:
    names = os.listdir(str(directory / "journal")) if (directory / "journal").is_dir() else []
    return sorted(int(match.group(1)) for match in map(_JOURNAL.fullmatch, names) if match)


def events_of(path: Path) -> list[str]:
    """Whole lines only: a crash may leave a torn last one, which was never acknowledged."""
    if not path.exists():
        return []
    return path.read_text("utf-8").split("\n")[:-1]


def write_events(path: Path, there: list[str], events: list[str]) -> None:
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
