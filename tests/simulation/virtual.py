"""An event loop on which time is a number: sleeping costs nothing, and the same seed is the same story."""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

SPINS = 20_000  # turns at one and the same moment


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


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """The standard loop without sockets: when nothing is ready, the next timer is now."""

    _ready: Any
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__()
        self._now = start
        self._selector = _NoSockets()
        self.turns = 0
        self._since = 0  # the turn at which it became now

    def time(self) -> float:
        return self._now

    def rest(self) -> None:
        """Count the turns at this moment anew."""
        self._since = self.turns

    def call_at(  # type: ignore[override]  # the callback's own arguments are typed by a newer notation
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def _run_once(self) -> None:
        """One turn: what is due, and all that was ready when it began."""
        self.turns += 1
        ready, scheduled = self._ready, self._scheduled
        if self.turns - self._since > SPINS:
            raise RuntimeError("the loop spins: time stands still")
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)
        if not ready:
            if not scheduled:
                raise RuntimeError("everything waits and nothing is scheduled: a deadlock")
            if scheduled[0].when() > self._now:
                self._now, self._since = scheduled[0].when(), self.turns
        while scheduled and scheduled[0].when() <= self._now:
            ready.append(heapq.heappop(scheduled))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


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
    """What is left ends, also in a world that was left because it span."""
    loop.rest()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
