"""The store, wherever it is: `hosts.home` is where the search begins, and the hosts themselves say where it ends.

A home that moved says where to. A host that keeps nothing is believed only when no other host of the app knows
better: an empty home beside hosts that remember one is a lost home, and no first deploy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from celadon.core.errors import CeladonError, NotHome, Refused, Unavailable
from celadon.core.home import HomeFacts, Seat
from celadon.ports import Homes, KeyedStore

Value = TypeVar("Value")
HOPS = 8  # moves that are followed from one host to the next; more would be a circle


class Found(msgspec.Struct, frozen=True):
    """Where the home is. `fresh`: nothing was ever kept for the app, here or elsewhere."""

    host: str
    seat: Seat
    fresh: bool = False


class HomeStore:
    """Implements `ports.KeyedStore` on whichever of the app's hosts is the home; found when it is first needed."""

    def __init__(self, homes: Homes, app: str, home: str, hosts: Iterable[str]) -> None:
        self.homes = homes
        self.app = app
        self.configured = home
        self.hosts = tuple(sorted({home, *hosts}))
        self._found: Found | None = None
        self._one_search = asyncio.Lock()

    @property
    def advice(self) -> str | None:
        """What a person should change in the config, once the home was found elsewhere."""
        if self._found is None or self._found.host == self.configured:
            return None
        return f'the home of {self.app} is {self._found.host}; in celadon.toml: hosts.home = "{self._found.host}"'

    async def find(self) -> Found:
        async with self._one_search:
            if self._found is None:
                self._found = await find(self.homes, self.app, self.configured, self.hosts)
            return self._found

    def forget(self) -> None:
        """It may have moved: the next question searches again."""
        self._found = None

    async def read_lease(self) -> bytes | None:
        return await self._ask(lambda store: store.read_lease())

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        return await self._ask(lambda store: store.swap_lease(old, new))

    async def read_intent(self) -> bytes | None:
        return await self._ask(lambda store: store.read_intent())

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool:
        return await self._ask(lambda store: store.swap_intent(old, new))

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        return await self._ask(lambda store: store.read_journal(rollout, start))

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        await self._ask(lambda store: store.append(rollout, start, events, fence))

    async def rollouts(self) -> Sequence[int]:
        return await self._ask(lambda store: store.rollouts())

    async def read_adopted(self) -> bytes | None:
        return await self._ask(lambda store: store.read_adopted())

    async def read_key(self) -> bytes | None:
        return await self._ask(lambda store: store.read_key())

    async def swap_key(self, old: bytes | None, new: bytes) -> bool:
        return await self._ask(lambda store: store.swap_key(old, new))

    async def _ask(self, question: Callable[[KeyedStore], Awaitable[Value]]) -> Value:
        """A home that moved in the meantime has done nothing of what it was asked, so it is asked of the next."""
        found = await self.find()
        for _ in range(HOPS):
            try:
                return await question(self.homes.store(found.host))
            except NotHome as error:
                self.forget()
                after = await self.find()
                if after == found:
                    raise
                found, last = after, error
        raise last


async def find(homes: Homes, app: str, configured: str, hosts: Sequence[str]) -> Found:
    """Raises Unavailable where somebody who must be asked does not answer, and Refused where a person must act."""
    host, at_least = configured, Seat(0)
    for _ in range(HOPS):
        try:
            facts = await homes.facts(host)
        except Unavailable as error:
            return await _without(homes, app, host, hosts, error)
        if facts.state == "here" and facts.seat.rank >= at_least.rank:
            return Found(host, facts.seat)
        if facts.arriving is not None and facts.arriving == at_least:
            await homes.open(host, facts.arriving)  # its mover died in between; the old home has left for certain
            return Found(host, facts.arriving)
        newest = facts.newest
        if newest.rank <= at_least.rank or not newest.home or newest.home == host:
            return await _among_all(homes, app, host, hosts)
        if newest.home not in hosts:
            raise Refused(
                f"{host}: the home of {app} is {newest.home} now, which this config does not name",
                hint=f"git pull · where {newest.home} is gone for good: celadon store adopt",
                where=host,
            )
        host, at_least = newest.home, newest
    raise Refused(f"{configured} and others send each other for the home of {app}", hint="celadon store adopt")


async def _without(homes: Homes, app: str, silent: str, hosts: Sequence[str], error: Unavailable) -> Found:
    """The one that should be the home does not answer. Another is believed when all the rest agree."""
    others = [host for host in hosts if host != silent]
    answers = await ask_all(homes, others)
    seen = {host: facts for host, facts in answers.items() if isinstance(facts, HomeFacts)}
    newest = max((facts.newest.rank for facts in seen.values()), default=(0, 0))
    keeps = [host for host, facts in seen.items() if facts.state == "here" and facts.seat.rank == newest]
    moved = newest > Seat().rank  # the first home there ever was is nowhere else
    if len(keeps) == 1 and moved and len(seen) == len(others):
        return Found(keeps[0], seen[keeps[0]].seat)
    hint = f"run it again when it answers · gone for good: celadon store adopt HOST --dead {silent}"
    raise Unavailable(f"the home of {app} does not answer: {error.message}", hint=hint, where=silent) from error


async def _among_all(homes: Homes, app: str, empty: str, hosts: Sequence[str]) -> Found:
    """Who should be the home keeps nothing, or nothing that counts: somebody else must, or nobody ever did."""
    answers = await ask_all(homes, hosts)
    silent = {host: error for host, error in answers.items() if isinstance(error, CeladonError)}
    seen = {host: facts for host, facts in answers.items() if isinstance(facts, HomeFacts)}
    newest = max((facts.newest for facts in seen.values()), key=lambda seat: seat.rank, default=Seat())
    keeps = [host for host, facts in seen.items() if facts.state == "here" and facts.seat.rank == newest.rank]
    if len(keeps) == 1:
        return Found(keeps[0], seen[keeps[0]].seat)
    if len(keeps) > 1:
        raise Refused(
            f"{' and '.join(keeps)} both keep a store of {app}, and neither says that it moved",
            hint="celadon store adopt HOST begins anew on one of them",
        )
    if silent:
        name, error = next(iter(silent.items()))
        raise Unavailable(
            f"{empty} keeps no store of {app}, and whether another host does is not known: {error.message}",
            hint=f"run it again when it answers · gone for good: celadon store adopt --dead {name}",
            where=name,
        )
    if all(facts.blank for facts in seen.values()):
        return Found(empty, Seat(home=empty), fresh=True)
    raise lost(app, empty, seen)


def lost(app: str, empty: str, seen: Mapping[str, HomeFacts]) -> Refused:
    told = [
        f"{host} remembers epoch {facts.newest.epoch}, fence {facts.fence}"
        for host, facts in seen.items()
        if not facts.blank
    ]
    return Refused(
        f"the home of {app} is lost: {empty} keeps no store, and other hosts remember one",
        details=told,
        hint="celadon store adopt begins a new epoch; traffic stays as it is",
        where=empty,
    )


async def ask_all(homes: Homes, hosts: Sequence[str]) -> dict[str, HomeFacts | CeladonError]:
    async def ask(host: str) -> HomeFacts | CeladonError:
        try:
            return await homes.facts(host)
        except CeladonError as error:
            return error

    return dict(zip(hosts, await asyncio.gather(*(ask(host) for host in hosts)), strict=True))
