"""Node changes on their way from the account to the data plane: each takes its time, none overtakes another."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping

from celadon.lab.parts import PlaneNode

Spawn = Callable[[Coroutine[None, None, None]], object]


class Arrivals:
    """`land(node id, node or None)` makes a change true; `settle` carries it out when it came late."""

    def __init__(
        self,
        land: Callable[[int, PlaneNode | None], None],
        settle: Callable[[], Coroutine[None, None, None]],
        spawn: Spawn,
    ) -> None:
        self._land = land
        self._settle = settle
        self._spawn = spawn
        self._asked: dict[int, PlaneNode] = {}  # as the account has it
        self._due: dict[int, float] = {}
        self._count = 0
        self._landed: dict[int, int] = {}  # number of the newest change that has landed, by node

    def expect(self, nodes: Mapping[int, PlaneNode], delay: Callable[[], float]) -> None:
        """Let what differs from the last call land after `delay` seconds, asked for once a change; now at 0."""
        now = asyncio.get_running_loop().time()
        for node_id in nodes.keys() | self._asked.keys():
            node = nodes.get(node_id)
            if node == self._asked.get(node_id):
                continue
            self._count += 1
            due = max(now + delay(), self._due.get(node_id, 0))
            if due <= now:
                self._arrive(node_id, node, self._count)
            else:
                self._due[node_id] = due
                self._spawn(self._arrive_later(node_id, node, self._count))
        self._asked = dict(nodes)

    async def _arrive_later(self, node_id: int, node: PlaneNode | None, number: int) -> None:
        await asyncio.sleep(self._due[node_id] - asyncio.get_running_loop().time())
        self._arrive(node_id, node, number)
        await self._settle()

    def _arrive(self, node_id: int, node: PlaneNode | None, number: int) -> None:
        # Timers of one moment fire in any order: a newer change may have landed already.
        if number > self._landed.get(node_id, 0):
            self._landed[node_id] = number
            self._land(node_id, node)
