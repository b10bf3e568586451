"""Whether this host is the app's home, and how it becomes one or stops being one.

`seat.json` says what the store here is; a store without one is the first home there ever was (epoch 1, move 0).
`arriving.json` describes a copy that is being received, or waits whole to be opened. Becoming the home and ceasing
to be it are one atomic write of `seat.json` each: the documents themselves are never moved about.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from celadon.agent import fence as fences
from celadon.agent import paths, settings, store
from celadon.agent.errors import AgentError
from celadon.agent.wire import LEASE_LOST, NOT_HOME, REFUSED

Json = dict[str, Any]


class Seat(NamedTuple):
    epoch: int
    move: int
    home: str

    @property
    def rank(self) -> tuple[int, int]:
        return self.epoch, self.move

    @property
    def json(self) -> Json:
        return {"epoch": self.epoch, "move": self.move, "home": self.home}


def seat_of(value: Any) -> Seat:
    return Seat(int(value["epoch"]), int(value["move"]), paths.host_name(value["home"]))


def facts(app: str) -> Json:
    """`HomeFacts`."""
    state, seat = store.standing(app)
    arriving = _arriving(app)
    told = fences.told(app)
    return {
        "state": state,
        "seat": seat,
        "told": told,
        "arriving": seat_of(arriving).json if arriving is not None and arriving["sealed"] else None,
        "fence": fences.read(app),
        "last_rollout": max(store.journals(app), default=0),
    }


def claim(app: str, seat: Seat, fence: int) -> None:
    """Remember that the home is there. The first of two claims to one rank wins. A fence of 0 raises none."""
    with store.locked(app):
        _, here = store.standing(app)
        known = fences.told(app) or here
        newest = max((known, here), key=lambda one: (one["epoch"], one["move"]))
        rank = (newest["epoch"], newest["move"])
        if rank > seat.rank or (rank == seat.rank and newest["home"] not in ("", seat.home)):
            raise AgentError(
                NOT_HOME,
                f"{app}: this host was told that the home is {newest['home'] or 'elsewhere'}, epoch {rank[0]}",
                "run it again",
            )
        paths.write_json(fences.told_file(app), seat.json)
    if fence:
        fences.raise_to(app, fence)


# -- moving here -----------------------------------------------------------------------------------


def begin(app: str, seat: Seat, fence: int) -> None:
    """An empty copy, whatever an earlier attempt left."""
    with store.locked(app):
        state, here = store.standing(app)
        if state == "here" and (here["epoch"], here["move"]) >= seat.rank:
            raise AgentError(REFUSED, f"{app}: this host is the home already")
        before = _arriving(app)
        if before is not None and before["fence"] > fence:
            raise AgentError(LEASE_LOST, f"{app}: another driver moves the home here")
        data = f"copy-{seat.epoch}-{seat.move}-{fence}"
        for left in store.home(app).glob("copy-*"):
            if left != store.data(app):
                shutil.rmtree(str(left))
        paths.make_dir(store.home(app) / data)
        paths.write_json(_arriving_file(app), {**seat.json, "fence": fence, "data": data, "sealed": False})


def receive(app: str, seat: Seat, fence: int, documents: dict[str, str]) -> None:
    with store.locked(app):
        for name, text in documents.items():
            paths.write_atomically(store.document_in(_receiving(app, seat, fence), name), text.encode("utf-8"))


def receive_events(app: str, seat: Seat, fence: int, journal: int, start: int, events: list[str]) -> None:
    with store.locked(app):
        path = store.journal_in(_receiving(app, seat, fence), journal)
        there = store.events_of(path)
        if start > len(there):
            raise AgentError(REFUSED, f"{app}: journal {journal} would have a gap at {start}")
        store.write_events(path, there[:start], events)


def seal(app: str, seat: Seat, fence: int) -> str:
    """The copy is whole: its digest, for comparison with the original's."""
    with store.locked(app):
        directory = _receiving(app, seat, fence)
        arriving = _arriving(app)
        paths.write_json(_arriving_file(app), {**(arriving or {}), "sealed": True})
        return _digest(directory)


def open_copy(app: str, seat: Seat) -> None:
    """The old home has said that it moved here. Idempotent."""
    with store.locked(app):
        state, here = store.standing(app)
        if state == "here" and (here["epoch"], here["move"]) == seat.rank:
            return
        arriving = _arriving(app)
        if arriving is None or not arriving["sealed"] or seat_of(arriving).rank != seat.rank:
            raise AgentError(NOT_HOME, f"{app}: no whole copy of the home is here", "celadon store adopt")
        before = store.data(app)
        store.raise_mark(app, int(arriving["fence"]))
        _sit(app, seat, "here", str(arriving["data"]))
        with contextlib.suppress(FileNotFoundError):
            _arriving_file(app).unlink()
        _clear(app, before)


def digest(app: str) -> str:
    """Of everything that a move takes along; the lease is each home's own."""
    with store.locked(app):
        store.check_here(app)
        return _digest(store.data(app))


def leave(app: str, seat: Seat, fence: int, lease: str, copied: str) -> bool:
    """The home is there from now on, if nothing changed since it was copied (False: it did). Idempotent."""
    with store.locked(app):
        state, here = store.standing(app)
        if state == "moved" and here == seat.json:
            return True
        store.check_here(app)
        store.check_fence(app, fence)
        if store.read_document(app, "lease") != lease:
            raise AgentError(LEASE_LOST, f"{app}: another driver took the lease")
        if _digest(store.data(app)) != copied:
            return False
        _sit(app, seat, "moved", store.data_name(app))
        return True


# -- a new one -------------------------------------------------------------------------------------


def found(app: str, seat: Seat, fence: int, lease: str, adopted: str) -> None:
    """Begin an epoch here. Journals and key of an older home are kept; what was open in it is not. Idempotent."""
    with store.locked(app):
        state, here = store.standing(app)
        if state == "here" and (here["epoch"], here["move"]) == seat.rank:
            return
        if (here["epoch"], here["move"]) > seat.rank:
            raise AgentError(NOT_HOME, f"{app}: this host knows a newer home, epoch {here['epoch']}", "run it again")
        directory = store.data(app)
        paths.write_atomically(store.document_in(directory, "lease"), lease.encode("utf-8"))
        paths.write_atomically(store.document_in(directory, "adopted"), adopted.encode("utf-8"))
        with contextlib.suppress(FileNotFoundError):
            store.document_in(directory, "intent").unlink()
        store.raise_mark(app, fence)
        _sit(app, seat, "here", store.data_name(app))


def releases(app: str) -> list[Json]:
    """Releases whose settings are on this host, with the time they came."""
    found_here = []
    for release_id in settings.present(app):
        release = settings.release(app, release_id)
        if release:
            release.pop("id", None)
            came = (paths.release_dir(app, release_id) / "release.json").stat().st_mtime
            found_here.append({"release": release, "at": came})
    return found_here


# -- files -----------------------------------------------------------------------------------------


def _sit(app: str, seat: Seat, state: str, data: str) -> None:
    paths.write_json(store.seat_file(app), {**seat.json, "state": state, "data": data})


def _arriving_file(app: str) -> Path:
    return store.home(app) / "arriving.json"


def _arriving(app: str) -> Json | None:
    value = paths.read_json(_arriving_file(app))
    return None if value is None else dict(value)


def _receiving(app: str, seat: Seat, fence: int) -> Path:
    arriving = _arriving(app)
    if arriving is None or seat_of(arriving) != seat or arriving["fence"] != fence or arriving["sealed"]:
        raise AgentError(LEASE_LOST, f"{app}: another driver moves the home")
    return store.home(app) / str(arriving["data"])


def _digest(directory: Path) -> str:
    """Whole lines only: what a crash tore off was never there."""
    total = hashlib.sha256()
    for name in sorted(store.COPIED):
        path = store.document_in(directory, name)
        text = path.read_text("utf-8") if path.exists() else ""
        total.update(f"{name} {len(text)}\n{text}".encode())
    for number in store.journals_in(directory):
        events = store.events_of(store.journal_in(directory, number))
        total.update(f"{number} {len(events)}\n".encode())
        for event in events:
            total.update(f"{event}\n".encode())
    return total.hexdigest()


def _clear(app: str, directory: Path) -> None:
    """Documents that nobody is led to any more."""
    if directory != store.home(app):
        shutil.rmtree(str(directory), ignore_errors=True)
        return
    for name in store.DOCUMENTS:
        with contextlib.suppress(FileNotFoundError):
            store.document_in(directory, name).unlink()
    shutil.rmtree(str(directory / "journal"), ignore_errors=True)
