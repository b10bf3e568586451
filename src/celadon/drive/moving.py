"""`store move` and `store adopt`: the home goes to another host, or a lost one is replaced.

Moving is: copy, compare, *leave* (one write on the old home, the moment at which it has moved), open. Until the old
home has left nothing has happened; from then on whoever looks for the home ends what is left to do. Adopting is:
every host that lives hears of the new epoch, and refuses the old one; then the new home begins.
"""

import asyncio

import msgspec

from celadon.core.errors import CeladonError, NotHome, Refused, Unavailable
from celadon.core.home import Adopted, HomeFacts, KeptRelease, Seat, first_fence
from celadon.core.wanted import Wanted
from celadon.drive.home import Found, HomeStore, ask_all
from celadon.drive.lease import Lease, LeaseFacts
from celadon.ports import Homes, World

ATTEMPTS = 5  # copies; a person's request in the middle of one makes it stale


class Moved(msgspec.Struct, frozen=True):
    """Where the home is now. `changed` False: it was there already. `untold`: hosts that could not be told."""

    seat: Seat
    changed: bool = True
    untold: tuple[str, ...] = ()


async def move(store: HomeStore, world: World, wanted: Wanted, *, who: str, to: str) -> Moved:
    """Refused where another drives (`Held`). Run again after anything: it ends where it should."""
    _named(store, to)
    found = await store.find()  # a move whose mover died after the old home left is ended here
    if found.host == to:
        return Moved(found.seat, changed=False)
    if found.fresh:
        raise Refused(
            "nothing was ever deployed, so there is no home to move", hint=f'celadon.toml: hosts.home = "{to}"'
        )
    await store.homes.facts(to)  # it must answer before anything begins
    lease = Lease(world.store, world.clock, who, wanted.timing.lease)
    await lease.take()
    seat = Seat(found.seat.epoch, found.seat.move + 1, to)
    try:
        await _leave(store, found, seat, lease, utc=world.clock.utc())
    except BaseException:
        await lease.give_back()
        raise
    await store.homes.open(to, seat)
    store.forget()
    return Moved(seat, untold=await tell(store, seat))


async def _leave(store: HomeStore, found: Found, seat: Seat, lease: Lease, *, utc: float) -> None:
    """The new home's lease is free and has this fence: the next driver's is larger."""
    homes, fence = store.homes, lease.fence
    free = msgspec.json.encode(LeaseFacts("", fence, 0, utc))
    for _ in range(ATTEMPTS):
        await homes.begin(seat.home, seat, fence)
        await homes.receive(seat.home, seat, fence, "lease", free)
        await copy(homes, found.host, seat, fence)
        copied = await homes.seal(seat.home, seat, fence)
        if lease.problem is not None:
            raise lease.problem
        if copied != await homes.digest(found.host):
            continue
        if await homes.leave(found.host, seat, fence, await lease.freeze(), copied):
            return
    raise Unavailable(f"{found.host} was written to during each of {ATTEMPTS} copies", hint="run it again")


async def copy(homes: Homes, source: str, seat: Seat, fence: int) -> None:
    store = homes.store(source)
    documents = {
        "intent": await store.read_intent(),
        "key": await store.read_key(),
        "adopted": await store.read_adopted(),
    }
    for name, document in documents.items():
        if document is not None:
            await homes.receive(seat.home, seat, fence, name, document)
    for rollout in await store.rollouts():
        events = await store.read_journal(rollout)
        await homes.receive_events(seat.home, seat, fence, rollout, 0, events)


async def tell(store: HomeStore, seat: Seat) -> tuple[str, ...]:
    """Every other host remembers where the home is, for deployers who know only an older place."""

    async def one(host: str) -> str | None:
        try:
            await store.homes.claim(host, seat, 0)
        except NotHome:
            return None  # it knows of a newer one
        except CeladonError:
            return host
        return None

    return tuple(host for host in await asyncio.gather(*map(one, store.hosts)) if host is not None)


# -- a lost home -----------------------------------------------------------------------------------


async def adopt(
    store: HomeStore, world: World, wanted: Wanted, *, who: str, to: str | None, dead: frozenset[str] = frozenset()
) -> Moved:
    """Begin a new epoch. Every host must answer, or be named dead; traffic is not touched."""
    home = to if to is not None else store.configured
    for name in (home, *sorted(dead)):
        _named(store, name)
    if home in dead:
        raise Refused(f"{home} is named dead and cannot be the home", hint="celadon store adopt HOST --dead HOST")
    seen = await _all(store, home, dead)
    if all(facts.blank for facts in seen.values()):
        raise Refused("nothing was ever deployed, so no home was lost", hint="celadon deploy VERSION")
    newest = max((facts.newest for facts in seen.values()), key=lambda seat: seat.rank)
    if (there := await _still_there(store, home, seen, newest)) is not None:
        return there
    seat = Seat(newest.epoch + 1, 0, home)
    fence = first_fence(seat.epoch)
    await asyncio.gather(*(store.homes.claim(host, seat, fence) for host in seen))
    adopted = await _memory(store, world, wanted, seen, who)
    free = msgspec.json.encode(LeaseFacts("", fence, 0, world.clock.utc()))
    await store.homes.found(home, seat, fence, free, msgspec.json.encode(adopted))
    store.forget()
    return Moved(seat, untold=tuple(host for host in store.hosts if host not in seen))


async def _all(store: HomeStore, home: str, dead: frozenset[str]) -> dict[str, HomeFacts]:
    answers = await ask_all(store.homes, store.hosts)
    silent = {host: error for host, error in answers.items() if isinstance(error, CeladonError) and host not in dead}
    if silent:
        names = sorted({*silent, *dead})
        others = [host for host in store.hosts if host not in names]
        target = home if home in others else next(iter(others), "HOST")
        raise Refused(
            f"every host must hear of a new home, and {', '.join(sorted(silent))} "
            f"{'does' if len(silent) == 1 else 'do'} not answer",
            details=[error.message for error in silent.values()],
            hint="bring it back, take it out of the config, or, where it is gone for good:\n"
            f"celadon store adopt {target} --dead {','.join(names)}",
        )
    return {host: facts for host, facts in answers.items() if isinstance(facts, HomeFacts)}


async def _still_there(store: HomeStore, home: str, seen: dict[str, HomeFacts], newest: Seat) -> Moved | None:
    """A home that lives is moved and not replaced, and a second adoption of the same host changes nothing."""
    keeps = [host for host, facts in seen.items() if facts.state == "here" and facts.seat.rank == newest.rank]
    waiting = [host for host, facts in seen.items() if facts.arriving is not None and facts.arriving == newest]
    if not keeps and waiting == [newest.home]:
        await store.homes.open(newest.home, newest)  # a move that was not ended: nothing is lost
        keeps = waiting
    if keeps == [home]:
        return Moved(msgspec.structs.replace(newest, home=home), changed=False)
    if len(keeps) == 1:
        raise Refused(
            f"the home of {store.app} is {keeps[0]}, and it answers",
            hint=f'celadon store move {home} · or celadon.toml: hosts.home = "{keeps[0]}"',
        )
    return None


async def _memory(store: HomeStore, world: World, wanted: Wanted, seen: dict[str, HomeFacts], who: str) -> Adopted:
    """What the hosts remember of the time before: which releases can be started, and the last rollout's number."""
    kept: dict[str, KeptRelease] = {}
    for found in await asyncio.gather(*(store.homes.releases(host) for host in seen)):
        for one in found:
            before = kept.get(one.release.id)
            if before is None or one.at < before.at:  # the first host that got it: when the release came up
                kept[one.release.id] = one
    looks = await asyncio.gather(*(world.hosts.look(host, wanted.question(host)) for host in seen))
    labels = [each.replica.rollout for facts in looks for each in facts.slots if each.replica is not None]
    journals = [facts.last_rollout for facts in seen.values()]
    return Adopted(
        releases=tuple(one.release for one in sorted(kept.values(), key=lambda one: -one.at)),
        last_rollout=max([*labels, *journals], default=0),
        by=who,
        at=world.clock.utc(),
    )


def _named(store: HomeStore, host: str) -> None:
    if host not in store.hosts:
        raise Refused(f"no host is named {host}", hint=f"the config has {', '.join(store.hosts)}", where=host)
