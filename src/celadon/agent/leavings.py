"""What must be taken back however the agent ends: each entry is undone once, by its own block or at the agent's end.

A killed agent undoes nothing; whoever leaves something says in its own module how the next one finds and sweeps it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

WITHIN = 20.0  # seconds, for all that is left at the agent's end

_lock = threading.Lock()
_left: list[_Leaving] = []


class _Leaving:
    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo = undo
        self._once = threading.Lock()
        self._done = False

    def undo(self) -> None:
        """A second caller waits for the first: the agent may not leave while its thread is still sweeping."""
        with self._once:
            if not self._done:
                self._done = True
                self._undo()


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Around what makes something: `undo` runs when the block ends, or when the agent does, and never twice."""
    leaving = _Leaving(undo)
    with _lock:
        _left.append(leaving)
    try:
        yield
    finally:
        leaving.undo()
        with _lock:
            _left.remove(leaving)


def undo_all() -> None:
    """The last made first. Whatever one says, the others have their turn."""
    with _lock:
        todo = list(reversed(_left))

    def work() -> None:
        for leaving in todo:
            with contextlib.suppress(Exception):  # nobody is left to be told; the next trial sweeps
                leaving.undo()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(WITHIN)
