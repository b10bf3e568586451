"""One app on one world: everything a verb asks for. The command line renders; this drives.

A verb that changes something takes the lease and drives; where another driver lives, it writes a request and
follows. Opening a rollout looks at everything first and changes nothing before all of it is known to be well.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import msgspec

from celadon import __version__
from celadon.core import restore
from celadon.core.action import Finish, Halt
from celadon.core.again import adopts, goes_on, is_live, where_it_is_not
from celadon.core.errors import CeladonError, Refused, Unavailable
from celadon.core.home import Adopted
from celadon.core.intent import Intent, Requests, Rollout
from celadon.core.journal import EMPTY, Event, Finished, Journal, Noted, Opened, fold
from celadon.core.observed import HostFacts
from celadon.core.preflight import Opening, Scout, live_release, open_rollout, plan_id
from celadon.core.release import Colour, Release, ReleaseId
from celadon.core.wanted import Options, Wanted
from celadon.drive.driver import Driver, Watcher, decode_intent, silent
from celadon.drive.forecast import Forecast, forecast
from celadon.drive.lease import Held, Lease, decode
from celadon.drive.log import decode_events, kept
from celadon.ports import World

Confirm = Callable[[Forecast], Awaitable[bool]]
Each = Callable[[Event], None]
"""Told of every event of a driver that is followed."""

HISTORY = 1000  # rollouts that are read at once
HISTORY_EVENTS = 100_000  # of all of them together: some 50 MB in memory


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a drive ended. `end` None: it was told to stop (Ctrl-C); the rollout stays as it is."""

    intent: Intent
    end: Finish | Halt | None
    journal: Journal
    events: tuple[Event, ...]
    seconds: float


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout as its journal tells it."""

    rollout: Rollout
    journal: Journal
    events: tuple[Event, ...]


class Declined(Refused):
    """The person asked said no."""

    code = "declined"


class App:
    """What every verb asks for. `who`: names this driver in the lease and the journal."""

    def __init__(self, world: World, wanted: Wanted, *, who: str, watch: Watcher = silent) -> None:
        self.world = world
        self.wanted = wanted
        self._who = who
        self._watch = watch
        self._driver: Driver | None = None
        self._stopping = False

    @property
    def who(self) -> str:
        return self._who

    def stop(self) -> None:
        """End the drive: nothing new starts, what is in flight gets a few seconds, the lease is given back."""
        self._stopping = True
        if self._driver is not None:
            self._driver.stop()

    # -- going forward -------------------------------------------------------------------------

    async def deploy(self, release: Release, options: Options, confirm: Confirm | None = None) -> Ending:
        """Open a rollout to this release, or adopt the open one, and drive it."""
        async with self._held() as lease:
            intent = await self.intent()
            if intent is not None and not intent.finished:
                if adopts(intent, release, self.wanted):
                    return await self._drive(lease, await self._until_commit(intent, wanted=options.until_commit))
                await self._finish_baked(lease, intent)
            if self._stopping:
                raise Unavailable("stopped before the rollout was opened", hint="run it again")
            return await self._roll_out(lease, self.wanted, release, options, confirm)

    async def resume(self, each: Each | None = None) -> Ending:
        """Unpause and drive what is open, from wherever this runs. `each`: told of another driver's events."""
        intent = await self._open_intent()
        if intent.requests.paused or intent.requests.until_commit:
            await self.request(lambda asked: msgspec.structs.replace(asked, paused=False, until_commit=False))
        return await self._drive_or_follow(each)

    async def promote(self, *, full: bool, each: Each | None = None) -> Ending:
        """Approve the gate that holds the rollout, or the hook that nobody knows the end of."""
        journal = await self._folded(await self._open_intent())
        unsure = tuple(
            name for kind, name in journal.started_commands if kind == "hook" and (kind, name) not in journal.commands
        )

        def approve(requests: Requests) -> Requests:
            return msgspec.structs.replace(
                requests,
                promotions=requests.promotions + 1,
                promote_all=requests.promote_all or full,
                settled_hooks=tuple(sorted({*requests.settled_hooks, *unsure})),
                paused=False,
            )

        await self.request(approve)
        return await self._drive_or_follow(each)

    async def pause(self) -> Intent:
        return await self.request(lambda requests: msgspec.structs.replace(requests, paused=True))

    # -- going back ----------------------------------------------------------------------------

    async def abort(self, keep: Colour | None = None, each: Each | None = None) -> Ending:
        """Stable serves again. Where a lost home took the history along, the labels or `keep` say which that is."""
        intent = await self.intent()
        if intent is None or intent.finished:
            if keep is None and (intent is not None or await self._adopted() is None):
                raise _none_is_open()
            return await self._restore(keep)
        stable = intent.rollout.stable_colour
        if keep is not None and keep != stable:
            raise Refused(
                f"rollout {intent.rollout.number} is open, and its stable is {stable or 'nothing'}",
                hint="celadon abort goes back to it · celadon resume goes on",
            )
        return await self.go_back(each)

    async def _restore(self, keep: Colour | None) -> Ending:
        async with self._held() as lease:
            scout = await self.scout()
            stays = keep if keep is not None else restore.which_stays(self.wanted, scout)
            rollout = restore.open_return(self.wanted, stays, scout)
            return await self._drive(lease, await self._open(lease, rollout, Requests(go_back=self.who)))

    async def go_back(self, each: Each | None = None) -> Ending:
        """Abort, or rollback while the rollout is open: stable serves again. Asks nothing, passes no gate."""
        intent = await self._open_intent()
        journal = await self._folded(intent)
        if journal.retiring_at is not None:
            raise Refused(
                f"rollout {intent.rollout.number} has retired its stable: the balancer alone cannot bring it back",
                hint="celadon resume finishes it; then celadon rollback starts the kept release",
            )
        if journal.committed_at is not None and intent.rollout.stable_colour is None:
            raise Refused(
                f"rollout {intent.rollout.number} is a first deploy and serves: there is nothing to go back to",
                hint="celadon resume finishes it; then deploy another release",
            )
        await self.request(lambda requests: msgspec.structs.replace(requests, go_back=self.who, paused=False))
        return await self._drive_or_follow(each)

    async def rollback(self, release_id: ReleaseId | None = None, each: Each | None = None) -> Ending:
        """The way back: by the balancer alone while a rollout is open, by starting a kept release later.

        Asked again it goes on: a rollback that is open is driven to its end, and never undone by being repeated.
        """
        intent = await self.intent()
        if intent is None or intent.finished:
            return await self._roll_to(await self._kept(intent, release_id))
        if goes_on(intent, release_id):
            return await self.resume(each)
        stable = intent.rollout.stable
        if release_id is not None and (stable is None or release_id not in {stable.id, stable.version}):
            raise Refused(
                f"rollout {intent.rollout.number} is open: it can only go back to its own stable",
                hint="celadon rollback, then celadon rollback RELEASE",
            )
        return await self.go_back(each)

    async def _kept(self, intent: Intent | None, release_id: ReleaseId | None) -> Release:
        if intent is None and await self._adopted() is None:
            raise Refused("nothing was ever deployed, so there is nothing to go back to", hint="celadon deploy VERSION")
        if intent is None:
            live = live_release(self.wanted, await self.scout())  # a lost home took the history along
        else:
            live = intent.rollout.candidate if intent.finished == "done" else intent.rollout.stable
        if live is not None and release_id in {live.id, live.version}:
            return live  # the same command again, after its end: nothing is left to do
        known = [release for release in await self.known() if live is None or release.id != live.id]
        if release_id is None:
            if not known:
                raise Refused("no earlier release is known", hint="celadon history")
            return known[0]
        for release in known:
            if release_id in {release.id, release.version}:
                return release
        kept = ", ".join(f"{release.version} ({release.id})" for release in known) or "none"
        raise Refused(f"release {release_id} is not kept", hint=f"kept: {kept}")

    async def _roll_to(self, release: Release) -> Ending:
        async with self._held() as lease:
            plain = msgspec.structs.replace(self.wanted, tests=())  # going back passes no gate
            return await self._roll_out(lease, plain, release, Options(gates=False), kind="rollback")

    # -- looking -------------------------------------------------------------------------------

    async def intent(self) -> Intent | None:
        return decode_intent(await self.world.store.read_intent())

    async def journal(self, rollout: int) -> Past:
        events = decode_events(await self.world.store.read_journal(rollout))
        clock = self.world.clock
        journal = fold(EMPTY, events, offset=clock.now() - clock.utc(), now=clock.now())
        opened = next((event for event in events if isinstance(event, Opened)), None)
        if opened is None:
            raise Refused(f"there is no rollout {rollout}", hint="celadon history")
        told: Rollout = kept(opened.rollout, Rollout, f"journal of rollout {rollout}")
        return Past(rollout=told, journal=journal, events=tuple(events))

    async def history(self, most: int = HISTORY) -> list[Past]:
        """Newest first: at most this many, and no more than a memory of modest size can hold."""
        numbers = sorted(await self.world.store.rollouts(), reverse=True)[:most]
        pasts: list[Past] = []
        events = 0
        for number in numbers:
            past = await self.journal(number)
            pasts.append(past)
            events += len(past.events)
            if events > HISTORY_EVENTS:
                break
        return pasts

    async def known(self) -> tuple[Release, ...]:
        """Releases that earlier rollouts brought to serving, newest first, each once."""
        seen: dict[ReleaseId, Release] = {}
        for past in await self.history(4 * self.wanted.keep):
            done = past.journal.finished is not None and past.journal.finished.result == "done"
            for release in (past.rollout.candidate if done else None, past.rollout.stable):
                if release is not None:
                    seen.setdefault(release.id, release)
        adopted = await self._adopted()
        for release in adopted.releases if adopted is not None else ():
            seen.setdefault(release.id, release)
        return tuple(seen.values())

    async def scout(self) -> Scout:
        """Look at everything that opening rests on. Changes nothing."""
        intent = await self.intent()
        journal = await self._folded(intent) if intent is not None else None
        hosts = sorted({slot.host for slots in self.wanted.slots.values() for slot in slots})
        seen = await asyncio.gather(*(self._see(host) for host in hosts))
        lease = decode(await self.world.store.read_lease())  # after the hosts: whoever raised theirs raised this first
        adopted = await self._adopted()
        return Scout(
            balancer=await self.world.balancer.read(),
            hosts=dict(zip(hosts, seen, strict=True)),
            utc=self.world.clock.utc(),
            intent=intent,
            journal=journal,
            known=await self.known(),
            fence=lease.fence if lease is not None else 0,
            last_rollout=adopted.last_rollout if adopted is not None else 0,
        )

    async def _adopted(self) -> Adopted | None:
        """Of a home that replaced a lost one: what the hosts remembered."""
        return decode_adopted(await self.world.store.read_adopted())

    async def _see(self, host: str) -> HostFacts | str:
        try:
            return await self.world.hosts.look(host, self.wanted.question(host))
        except Refused:
            raise
        except CeladonError as error:
            return error.message

    async def foresee(self, release: Release, options: Options) -> Forecast:
        """`plan`: what deploy would do. Reads only; raises Refused as deploy would."""
        scout = await self.scout()
        return forecast(open_rollout(self.wanted, release, options, scout), scout)

    async def follow(self, each: Each | None = None, *, start: int = 0) -> Ending:
        """Another driver's journal as it grows, until the rollout ends or nobody drives it. Told from event `start`."""
        intent = await self._newest()
        number, began, clock = intent.rollout.number, self.world.clock.now(), self.world.clock
        seen, quiet_since, lease = 0, clock.now(), await self.world.store.read_lease()
        events: list[Event] = []
        while not self._stopping:
            new = decode_events(await self.world.store.read_journal(number, seen))
            seen += len(new)
            events += new
            if each is not None:
                for event in new[max(0, start - seen + len(new)) :]:
                    each(event)
            if any(isinstance(event, Finished) for event in events):
                break
            now_lease = await self.world.store.read_lease()
            if now_lease != lease:
                lease, quiet_since = now_lease, clock.now()
            if clock.now() - quiet_since > self.wanted.timing.lease:
                raise Unavailable(f"rollout {number} is open and nobody drives it", hint="celadon resume")
            await clock.sleep(min(1.0, self.wanted.timing.interval))
        return await self._told(number, began)

    async def _told(self, number: int, began: float) -> Ending:
        """How a rollout ended that another driver drove."""
        past = await self.journal(number)
        finished = past.journal.finished
        end = Finish(finished.result, finished.reason) if finished is not None else None
        stored, seconds = await self._newest(), self.world.clock.now() - began
        return Ending(intent=stored, end=end, journal=past.journal, events=past.events, seconds=seconds)

    # -- what they share -------------------------------------------------------------------------

    async def request(self, change: Callable[[Requests], Requests]) -> Intent:
        """Write down what a person wants; a living driver acts on it within two seconds."""
        while True:
            raw = await self.world.store.read_intent()
            intent = _open_one(decode_intent(raw))
            wanted = msgspec.structs.replace(intent, requests=change(intent.requests))
            if await self.world.store.swap_intent(raw, msgspec.json.encode(wanted)):
                return wanted

    async def _take(self, lease: Lease) -> None:
        try:
            await lease.take()
        except Held as held:
            intent = await self.intent()
            if intent is not None and not intent.finished:
                raise Held(
                    held.lease, f"rollout {intent.rollout.number} ({_versions(intent.rollout)}) is open, "
                ) from held
            raise

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[Lease]:
        """The lease, for as long as the block lasts."""
        lease = Lease(self.world.store, self.world.clock, self.who, self.wanted.timing.lease)
        await self._take(lease)
        try:
            yield lease
        finally:
            await lease.give_back()

    async def _open_intent(self) -> Intent:
        return _open_one(await self.intent())

    async def _newest(self) -> Intent:
        intent = await self.intent()
        if intent is None:
            raise Refused("nothing was ever deployed", hint="celadon deploy VERSION")
        return intent

    async def _drive_or_follow(self, each: Each | None = None) -> Ending:
        """Where another driver lives, what it does from now on is told to `each`."""
        known = (await self._folded(await self._newest())).length if each is not None else 0
        try:
            async with self._held() as lease:
                intent = await self._newest()
                if not intent.finished:  # else the other driver ended while its lease was looked at
                    return await self._drive(lease, intent)
        except Held:
            pass
        return await self.follow(each, start=known)

    async def _drive(self, lease: Lease, intent: Intent) -> Ending:
        began = self.world.clock.now()
        self._driver = driver = Driver(self.world, lease, intent, self._watch)
        if self._stopping:
            driver.stop()
        try:
            end = await driver.drive()
        finally:
            self._driver = None
        return Ending(
            intent=driver.intent,
            end=end,
            journal=driver.log.journal,
            events=tuple(driver.log.events),
            seconds=self.world.clock.now() - began,
        )

    async def _finish_baked(self, lease: Lease, intent: Intent) -> None:
        """The next deploy after the bake finishes the last rollout; any other open one is in the way."""
        rollout = intent.rollout
        journal = await self._folded(intent)
        committed = journal.committed_at
        over = committed is not None and self.world.clock.now() >= committed + rollout.timing.bake
        if journal.returning is None and not over:
            raise Refused(
                f"rollout {rollout.number} ({_versions(rollout)}) is open; nobody drives it",
                hint="go on: celadon resume · go back: celadon abort",
                details=("this deploy differs from it in version or settings",),
            )
        ending = await self._drive(lease, await self._until_commit(intent, wanted=False))
        if not isinstance(ending.end, Finish):
            raise Unavailable(f"rollout {rollout.number} could not be finished first", hint="celadon status")

    async def _until_commit(self, intent: Intent, *, wanted: bool) -> Intent:
        """How far this drive goes is this command's wish, not that of the one that opened the rollout."""
        if intent.requests.until_commit == wanted:
            return intent
        return await self.request(lambda asked: msgspec.structs.replace(asked, until_commit=wanted))

    async def _folded(self, intent: Intent) -> Journal:
        """Empty where the one who opened it died before the journal's first line: going back must work then too."""
        number = intent.rollout.number
        return (await self.journal(number)).journal if number in await self.world.store.rollouts() else EMPTY

    async def _roll_out(
        self,
        lease: Lease,
        wanted: Wanted,
        release: Release,
        options: Options,
        confirm: Confirm | None = None,
        *,
        kind: Literal["deploy", "rollback"] = "deploy",
    ) -> Ending:
        """Open a rollout of its own and drive it, unless its release is live already."""
        scout = await self.scout()
        opening = open_rollout(wanted, release, options, scout)
        self._check_plan(opening, options, scout)
        if is_live(opening):
            return _already_live(opening, scout)
        if confirm is not None and not await confirm(forecast(opening, scout)):
            raise Declined("not confirmed")
        rollout = msgspec.structs.replace(await self._with_nodes(opening, wanted, release, options), kind=kind)
        requests = Requests(until_commit=options.until_commit)
        return await self._drive(lease, await self._open(lease, rollout, requests))

    def _check_plan(self, opening: Opening, options: Options, scout: Scout) -> None:
        now = plan_id(opening, scout.balancer)
        if options.plan_id and options.plan_id != now:
            raise Refused(
                f"the world has changed since plan {options.plan_id}: it is {now} now", hint="celadon plan VERSION"
            )

    async def _with_nodes(self, opening: Opening, wanted: Wanted, release: Release, options: Options) -> Rollout:
        """The rollout once no node is missing. Where some were, it is made anew: going back may lead to them."""
        if not opening.add:
            return opening.rollout
        for node in opening.add:
            await self.world.balancer.add_node(node.config_id, node.label, node.address)
        again = open_rollout(wanted, release, options, await self.scout())
        if again.add:
            first = again.add[0]
            raise Unavailable(
                f"port {first.port}: the node for {first.label} ({first.address}) was added and is not listed yet",
                hint="run it again in a minute",
            )
        return again.rollout

    async def _open(self, lease: Lease, rollout: Rollout, requests: Requests) -> Intent:
        if lease.problem is not None:
            raise lease.problem
        raw = await self.world.store.read_intent()
        opened = msgspec.structs.replace(rollout, opened_by=self.who, celadon=__version__)
        intent = Intent(rollout=opened, requests=requests)
        if not await self.world.store.swap_intent(raw, msgspec.json.encode(intent)):
            raise Unavailable("another deployer opened a rollout a moment ago", hint="celadon status")
        return intent


def _open_one(intent: Intent | None) -> Intent:
    if intent is None or intent.finished:
        raise _none_is_open()
    return intent


def _none_is_open() -> Refused:
    return Refused("no rollout is open", hint="celadon history · celadon deploy VERSION")


def _already_live(opening: Opening, scout: Scout) -> Ending:
    """Of the colour that serves; no rollout was opened."""
    rollout = msgspec.structs.replace(
        opening.rollout, number=opening.rollout.number - 1, candidate_colour=opening.rollout.candidate_colour.other
    )
    events = tuple(Noted(text=text) for text in where_it_is_not(opening, scout))
    end = Finish("done", "already live: nothing was changed")
    return Ending(intent=Intent(rollout=rollout, finished="done"), end=end, journal=EMPTY, events=events, seconds=0.0)


def decode_adopted(raw: bytes | None) -> Adopted | None:
    found: Adopted | None = kept(raw, Adopted, "memory of the time before it")
    return found


def _versions(rollout: Rollout) -> str:
    before = rollout.stable.version if rollout.stable is not None else "nothing"
    return f"{before} → {rollout.candidate.version}"
