"""An event loop on which time is a number: sleeping costs nothing, and the same seed is the same story.

Made for many small worlds: a turn is one callback, and a callback is a list of three. Everything that is awaited in a
world goes through here a thousand times, so what the standard loop does for sockets, threads and debugging is left out.
"""

import asyncio
import selectors
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from heapq import heappop, heappush
from typing import Any

SPINS = 20_000  # turns at one and the same moment
ROUNDS = 20  # of ending what is left


class _NoSockets(selectors.BaseSelector):
    """There is nothing to wait for but time."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise RuntimeError("a simulated world has no sockets")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise RuntimeError("a simulated world has no sockets")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []

    def get_map(self) -> Any:
        return {}


class _Call(list[Any]):
    """What is to be called, its arguments, its context. Cancelled: there is nothing to call. `[3]`: when, if ever."""

    __slots__ = ()

    def cancel(self) -> None:
        self[0] = None

    def cancelled(self) -> bool:
        return self[0] is None

    def when(self) -> float:
        return float(self[3])


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """The standard loop without sockets: when nothing is ready, the next timer is now."""

    _ready: Any
    _stopping: bool

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__()
        self.now = start
        self.spins = SPINS
        self._selector = _NoSockets()
        self._timers: list[tuple[float, int, _Call]] = []
        self._made = 0  # timers: of two at one moment the older one comes first

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]  # the callback's own arguments are typed by a newer notation
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call((callback, args, context))
        self._ready.append(call)
        return call

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # one thread: lost generators are ended by it

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        call = _Call((callback, args, context, when))
        self._made += 1
        heappush(self._timers, (when, self._made, call))
        return call

    def nap(self, seconds: float) -> "asyncio.Future[None]":
        """`asyncio.sleep`, for those who sleep a thousand times in a story."""
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        self.call_at(self.now + seconds, _wake, future)
        return future

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, context=context)

    def _run_once(self) -> None:
        """Turn after turn until it is stopped: what is ready, in order; then what is due next."""
        ready, timers = self._ready, self._timers
        left = self.spins
        while not self._stopping:
            if not ready and self._advance(timers):
                left = self.spins
            call = ready.popleft()
            callback = call[0]
            if callback is None:
                continue
            left -= 1
            if not left:
                ready.appendleft(call)
                raise RuntimeError("the loop spins: time stands still")
            context = call[2]
            try:
                if context is None:
                    callback(*call[1])
                else:
                    context.run(callback, *call[1])
            except Exception as error:  # noqa: BLE001 - told as the standard loop tells it
                self.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})

    def _advance(self, timers: list[tuple[float, int, _Call]]) -> bool:
        """All timers that come next are ready now. Has time passed?"""
        while timers and timers[0][2][0] is None:
            heappop(timers)
        if not timers:
            raise RuntimeError("everything waits and nothing is scheduled: a deadlock")
        passed = timers[0][0] > self.now
        if passed:
            self.now = timers[0][0]
        while timers and timers[0][0] <= self.now:
            self._ready.append(heappop(timers)[2])
        return passed

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


@types.coroutine
def turn() -> Generator[None, None, None]:
    """`asyncio.sleep(0)`: everybody else who is ready goes first."""
    yield


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            _end_all(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_all(loop: VirtualLoop) -> None:
    """What is left ends, also in a world that was left because it span, and what it starts while it ends."""
    loop.spins *= 100
    for _ in range(ROUNDS):
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        ended, _ = loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        for task in ended:
            if not task.cancelled():
                task.exception()  # it was told to end: how it does is nobody's business
