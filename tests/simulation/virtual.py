"""An event loop on which time is a number: sleeping costs nothing, and the same seed is the same story."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _NoSockets(selectors.BaseSelector):
    """Nothing to wait for but time: a wait of n seconds moves the clock by n seconds."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise RuntimeError("a simulated world has no sockets")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise RuntimeError("a simulated world has no sockets")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is scheduled: a deadlock")
        self._loop.advance(timeout)
        return []

    def get_map(self) -> Any:
        return {}


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    def __init__(self, start: float = 1000.0) -> None:
        super().__init__()
        self._now = start
        self._selector = _NoSockets(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

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
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
