"""Homes in memory, for tests: which of a `MemoryHosts`' machines keeps the store. The real ones pass the same suite."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from celadon.adapters.memory import MemoryHosts, MemoryStore
from celadon.core.errors import LeaseLost, NotHome, Refused, Unavailable
from celadon.core.home import HomeFacts, KeptRelease, Seat, epoch_of

State = Literal["none", "here", "moved", "old"]


class _Copy(msgspec.Struct):
    seat: Seat
    fence: int
    store: MemoryStore
    sealed: bool = False


class _Place(msgspec.Struct):
    """One machine's part. `seat` None: a store there is the first home."""

    store: MemoryStore
    seat: Seat | None = None
    left: bool = False
    told: Seat | None = None
    arriving: _Copy | None = None


class MemoryHomes:
    """Implements `ports.Homes` for one app."""

    def __init__(self, app: str, hosts: MemoryHosts) -> None:
        self.app = app
        self.hosts = hosts
        self.calls: list[tuple[str, str]] = []
        self.places: dict[str, _Place] = {}
        for name in hosts.machines:
            self.wipe(name)

    def wipe(self, host: str) -> None:
        """A new machine in the old one's place."""
        self.places[host] = _Place(MemoryStore(lambda: self._check_here(host)))

    def store(self, host: str) -> MemoryStore:
        return self.places[host].store

    async def facts(self, host: str) -> HomeFacts:
        place = self._reach(host, "facts")
        state, seat = self._standing(host)
        copy = place.arriving
        return HomeFacts(
            state=state,
            seat=seat,
            told=place.told,
            arriving=copy.seat if copy is not None and copy.sealed else None,
            fence=self._fence(host),
            last_rollout=max(place.store.journals, default=0),
        )

    async def claim(self, host: str, seat: Seat, fence: int) -> None:
        place = self._reach(host, "claim")
        _, here = self._standing(host)
        newest = max((place.told or here, here), key=lambda one: one.rank)
        if newest.rank > seat.rank or (newest.rank == seat.rank and newest.home not in ("", seat.home)):
            raise NotHome(f"{host}: this host was told that the home is {newest.home}", where=host)
        place.told = seat
        if fence:
            seen = self._fence(host)
            if fence < seen:
                raise LeaseLost(f"{host}: another driver has taken over", where=host)
            self.hosts.machines[host].fences[self.app] = fence

    async def begin(self, host: str, seat: Seat, fence: int) -> None:
        place = self._reach(host, "begin")
        state, here = self._standing(host)
        if state == "here" and here.rank >= seat.rank:
            raise Refused(f"{host}: this host is the home already", where=host)
        if place.arriving is not None and place.arriving.fence > fence:
            raise LeaseLost(f"{host}: another driver moves the home here", where=host)
        place.arriving = _Copy(seat, fence, MemoryStore(lambda: self._check_here(host)))

    async def receive(self, host: str, seat: Seat, fence: int, name: str, document: bytes) -> None:
        self._receiving(host, seat, fence).documents[name] = document

    async def receive_events(
        self, host: str, seat: Seat, fence: int, rollout: int, start: int, events: Sequence[bytes]
    ) -> None:
        journals = self._receiving(host, seat, fence).journals
        journals[rollout] = [*journals.get(rollout, [])[:start], *events]

    async def seal(self, host: str, seat: Seat, fence: int) -> str:
        store = self._receiving(host, seat, fence)
        copy = self.places[host].arriving
        assert copy is not None  # noqa: S101 - `_receiving` has seen it; for the type checker
        copy.sealed = True
        return _digest(store)

    async def digest(self, host: str) -> str:
        place = self._reach(host, "digest")
        self._check_here(host)
        return _digest(place.store)

    async def leave(self, host: str, seat: Seat, fence: int, lease: bytes, digest: str) -> bool:
        place = self._reach(host, "leave")
        if place.left and place.seat == seat:
            return True
        self._check_here(host)
        if fence < max(self._fence(host), place.store.fence) or place.store.documents.get("lease") != lease:
            raise LeaseLost(f"{host}: another driver took the lease", where=host)
        if _digest(place.store) != digest:
            return False
        place.seat, place.left = seat, True
        return True

    async def open(self, host: str, seat: Seat) -> None:
        place = self._reach(host, "open")
        state, here = self._standing(host)
        if state == "here" and here.rank == seat.rank:
            return
        copy = place.arriving
        if copy is None or not copy.sealed or copy.seat.rank != seat.rank:
            raise NotHome(f"{host}: no whole copy of the home is here", where=host)
        copy.store.fence = max(copy.store.fence, copy.fence)
        place.store, place.seat, place.left, place.arriving = copy.store, copy.seat, False, None

    async def found(self, host: str, seat: Seat, fence: int, lease: bytes, adopted: bytes) -> None:
        place = self._reach(host, "found")
        state, here = self._standing(host)
        if state == "here" and here.rank == seat.rank:
            return
        if here.rank > seat.rank:
            raise NotHome(f"{host}: this host knows a newer home", where=host)
        place.store.documents |= {"lease": lease, "adopted": adopted}
        place.store.documents.pop("intent", None)
        place.store.fence = max(place.store.fence, fence)
        place.seat, place.left = seat, False

    async def releases(self, host: str) -> Sequence[KeptRelease]:
        self._reach(host, "releases")
        replicas = self.hosts.machines[host].replicas
        found = {one.release.id: one.release for (app, _, _), one in replicas.items() if app == self.app}
        return tuple(KeptRelease(release, float(number)) for number, release in enumerate(found.values()))

    def _reach(self, host: str, call: str) -> _Place:
        self.calls.append((call, host))
        if not self.hosts.machines[host].reachable:
            raise Unavailable(f"{host}: ssh timed out", hint=f"celadon check --host {host}", where=host)
        return self.places[host]

    def _fence(self, host: str) -> int:
        return self.hosts.machines[host].fences.get(self.app, 0)

    def _standing(self, host: str) -> tuple[State, Seat]:
        place = self.places[host]
        state: State
        if place.seat is None:
            state, here = ("here" if place.store.documents or place.store.journals else "none"), Seat()
        else:
            state, here = ("moved" if place.left else "here"), place.seat
        newest = max((place.told or Seat()).rank, (epoch_of(self._fence(host)), 0))
        return ("old" if state == "here" and newest > here.rank else state), here

    def _check_here(self, host: str) -> None:
        """As the agent: called before everything that is asked of the store."""
        place = self._reach(host, "store")
        state, here = self._standing(host)
        if state == "here" or (state == "none" and place.told is None and epoch_of(self._fence(host)) == 1):
            return
        named = [seat for seat in (here if state == "moved" else None, place.told) if seat is not None]
        newest = max(named, key=lambda seat: seat.rank, default=Seat(0))
        where = newest.home if newest.epoch >= epoch_of(self._fence(host)) else ""
        raise NotHome(f"{host}: {self.app}: its home is {where or 'elsewhere'} now", where=host)

    def _receiving(self, host: str, seat: Seat, fence: int) -> MemoryStore:
        copy = self._reach(host, "receive").arriving
        if copy is None or copy.seat != seat or copy.fence != fence or copy.sealed:
            raise LeaseLost(f"{host}: another driver moves the home", where=host)
        return copy.store


def _digest(store: MemoryStore) -> str:
    kept = {name: text for name, text in store.documents.items() if name != "lease"}
    return hashlib.sha256(msgspec.json.encode((sorted(kept.items()), sorted(store.journals.items())))).hexdigest()
