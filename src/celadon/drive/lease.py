"""One driver at a time. The lease stores no expiry: nobody has to trust another machine's clock.

A holder renews by raising a counter. Who finds the counter unchanged for one whole time to live, on its own
monotonic clock, takes the lease with the next fence. The holder itself counts from the moment it *sent* its last
renewal, so it stops before anybody can take over.
"""

import asyncio

import msgspec

from celadon.core.errors import CeladonError, LeaseLost, NoAnswer, Unavailable
from celadon.core.foreign import Count, Utc
from celadon.core.release import Instant, Seconds
from celadon.drive.log import kept
from celadon.ports import Clock, Store

LAST_PART = 0.2  # of the time to live: what is left then is too little to rely on


class LeaseFacts(msgspec.Struct, frozen=True):
    """What is stored. `holder` empty: given back."""

    holder: str
    fence: Count
    counter: Count
    since_utc: Utc


class Held(Unavailable):
    """Another driver is alive and holds the lease."""

    code = "lease_held"

    def __init__(self, lease: LeaseFacts, what: str = "") -> None:
        super().__init__(
            f"{what}driven by {lease.holder}", hint="watch: celadon status --follow · stop it: celadon abort"
        )
        self.lease = lease


class Lease:
    """Held by this driver, from `take` until `release`."""

    def __init__(self, store: Store, clock: Clock, holder: str, ttl: Seconds) -> None:
        self._store = store
        self._clock = clock
        self.holder = holder
        self.ttl = ttl
        self._raw: bytes = b""
        self._facts = LeaseFacts("", 0, 0, 0.0)
        self._renewed_at = clock.now()
        self.taken_over = False
        self.problem: Exception | None = None  # why it may not be relied on any more
        self._keeper: asyncio.Task[None] | None = None
        self._tried: dict[bytes, Instant] = {}  # what this take sent, and when

    @property
    def fence(self) -> int:
        return self._facts.fence

    @property
    def remaining(self) -> Seconds:
        return self._renewed_at + self.ttl - self._clock.now()

    async def take(self) -> None:
        """As `_take` says; from then on it renews itself."""
        await self._take()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _take(self) -> None:
        """Raises Held as soon as the present holder shows that it lives; else takes over after one ttl."""
        raw = await self._store.read_lease()
        watched_since = self._clock.now()
        self._tried = {}
        while True:
            facts = decode(raw)
            free = facts is None or not facts.holder
            lapsed = self._clock.now() - watched_since >= self.ttl
            if free or lapsed:
                self.taken_over = not free
                if await self._swap(raw, facts):
                    return
            else:
                await self._clock.sleep(min(1.0, self.ttl / 10))
            newer = await self._store.read_lease()
            # No answer came, and it was done: what looks like another's lease is ours.
            if newer is not None and newer in self._tried:
                self._holds(newer, self._tried[newer])
                return
            if newer != raw:
                newer_facts = decode(newer)
                if newer_facts is not None and newer_facts.holder:
                    raise Held(newer_facts)
                raw, watched_since = newer, self._clock.now()

    async def renew(self) -> None:
        """Raises LeaseLost when somebody else has it; lets Unavailable through for the caller to try again."""
        sent_at = self._clock.now()
        facts = msgspec.structs.replace(self._facts, counter=self._facts.counter + 1)
        raw = msgspec.json.encode(facts)
        if not await self._store.swap_lease(self._raw, raw):
            stored = await self._store.read_lease()
            if stored != raw:  # an answer that was lost on the way may have been ours
                raise LeaseLost("another driver took the lease", hint="celadon status")
        self._raw, self._facts, self._renewed_at = raw, facts, sent_at

    async def release(self) -> None:
        """Give it back: the next driver need not wait. The fence stays."""
        await self.let_go()
        facts = msgspec.structs.replace(self._facts, holder="", counter=self._facts.counter + 1)
        if await self._store.swap_lease(self._raw, msgspec.json.encode(facts)):
            return
        stored = await self._store.read_lease()
        newest = decode(stored)
        if newest is not None and (newest.holder, newest.fence) == (self.holder, self.fence):
            # A renewal whose answer was lost: it is still ours, and would look alive for one whole ttl.
            facts = msgspec.structs.replace(newest, holder="", counter=newest.counter + 1)
            await self._store.swap_lease(stored, msgspec.json.encode(facts))

    async def give_back(self) -> None:
        """As `release`. Where that fails it lapses by itself: what went wrong before is the news."""
        try:
            await self.release()
        except CeladonError:
            return

    async def freeze(self) -> bytes:
        """Renewed for the last time: the lease as it is stored now, and stays unless somebody takes it over."""
        await self.let_go()
        if self.problem is not None:
            raise self.problem
        await self.renew()
        return self._raw

    async def let_go(self) -> None:
        """Renew it no more: it lapses by itself."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None

    async def _keep(self) -> None:
        """From taking to giving back, whatever else is done meanwhile: opening may wait for a person's answer."""
        try:
            while self.problem is None:
                await self._clock.sleep(min(2.0, self.ttl / 6))
                await self._keep_once()
        except Exception as error:  # noqa: BLE001 - told to whoever relies on it
            self.problem = error

    async def _keep_once(self) -> None:
        try:
            await self.renew()
        except LeaseLost as error:
            self.problem = error
        except Unavailable as error:
            if self.remaining <= self.ttl * LAST_PART:
                self.problem = NoAnswer(f"the home does not answer: {error.message}", hint="run it again")

    async def _swap(self, raw: bytes | None, before: LeaseFacts | None) -> bool:
        sent_at = self._clock.now()
        fence = before.fence + 1 if before is not None else 1
        facts = LeaseFacts(self.holder, fence, 0, self._clock.utc())
        new = msgspec.json.encode(facts)
        self._tried[new] = sent_at
        try:
            if not await self._store.swap_lease(raw, new):
                return False
        except NoAnswer:
            return False  # it may have been done: the read that follows says so
        self._holds(new, sent_at)
        return True

    def _holds(self, raw: bytes, sent_at: Instant) -> None:
        facts = decode(raw)
        assert facts is not None  # noqa: S101 - we wrote it; for the type checker
        self._raw, self._facts, self._renewed_at = raw, facts, sent_at


def decode(raw: bytes | None) -> LeaseFacts | None:
    found: LeaseFacts | None = kept(raw, LeaseFacts, "lease")
    return found
