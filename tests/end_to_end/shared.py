"""One stage for the scenes that a worker plays one after the other. Nothing here plays or judges a scene.

To make a stage and deploy to it for the first time takes longer than most scenes do. So a scene borrows it, and gives
it back as it was lent: one good release serves alone, and nothing else is left. That is looked at each time. A stage on
which a scene failed, or that is not as it should be, is taken down, and the next scene gets a new one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.torture.bench import Bench
from tests.torture.case import Outcome


class SharedStage:
    """Use as `with SharedStage(folder) as shared`, and in each scene `async with shared.bench() as bench`.

    Scenes may have event loops of their own: nothing of an idle stage is bound to one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: Bench | None = None
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._idle is not None:
            asyncio.run(self._idle.__aexit__())

    @asynccontextmanager
    async def bench(self, *, more_config: str = "", health: str = "") -> AsyncIterator[Bench]:
        """`bench.live` serves alone, and the scene keeps that true. Its releases have this config."""
        bench = await self._take()
        bench.stage.more_config, bench.stage.health = more_config, health
        try:
            yield bench
            await as_it_should_be(bench)
        except BaseException:
            await bench.__aexit__()
            raise
        self._idle = bench

    async def _take(self) -> Bench:
        if self._idle is not None:
            bench, self._idle = self._idle, None
            return bench
        self._made += 1
        bench = Bench(self._folder / str(self._made))
        return await bench.__aenter__()


async def as_it_should_be(bench: Bench) -> None:
    """One good release serves alone, nothing is open, no process and no lease was left."""
    seen = Outcome(case="a look at the stage")
    await bench.check(seen)
    wrong = [*seen.problems, *seen.leftovers]
    assert not wrong, wrong
