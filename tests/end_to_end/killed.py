"""Run one `celadon` command that is killed at its n-th effect: the ports are wrapped, the product is untouched.

    python -m tests.end_to_end.killed COUNT|EFFECT before|after WORDS…

Prints `effects: N` on stderr when it lives to the end, so that a test finds by counting how many there are.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from celadon.cli.app import Connected, Need
from celadon.cli.call import answer
from celadon.cli.compose import connect
from celadon.cli.output import Output
from celadon.config.project import Project
from celadon.ports import Homes

EFFECTS = {
    "hosts": ("put_settings", "put_artifact", "start", "stop", "warm_up", "prune"),
    "balancer": ("set_node", "add_node"),
    "store": ("swap_intent",),
}
HOMES = ("begin", "receive", "receive_events", "seal", "leave", "open", "claim", "found")


class Fuse:
    """Burns down with each effect; at the end the process is killed as by `kill -9`."""

    def __init__(self, length: str, *, after: bool) -> None:
        self.seen = 0
        self._length = length  # how many effects, or the name of one
        self._after = after

    def begin(self, name: str) -> int:
        """The number of an effect that begins now; others may be under way beside it."""
        self.seen += 1
        self._burn(self.seen, name, after=False)
        return self.seen

    def end(self, number: int, name: str) -> None:
        self._burn(number, name, after=True)

    def _burn(self, number: int, name: str, *, after: bool) -> None:
        if self._length in (str(number), name) and after == self._after:
            os.kill(os.getpid(), signal.SIGKILL)


class Wired:
    """A port whose effects burn the fuse before and after they happen."""

    def __init__(self, port: Any, effects: tuple[str, ...], fuse: Fuse) -> None:
        self._port = port
        self._effects = effects
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wire(name, found) if name in self._effects else found

    def _wire(self, name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        async def wired(*arguments: Any, **keywords: Any) -> Any:
            number = self._fuse.begin(name)
            result = await effect(*arguments, **keywords)
            self._fuse.end(number, name)
            return result

        return wired


def wiring(fuse: Fuse) -> Callable[..., Any]:
    @asynccontextmanager
    async def connected(project: Project, need: Need, environ: Mapping[str, str]) -> AsyncIterator[Connected]:
        async with connect(project, need, environ) as whole:
            ports = {name: Wired(getattr(whole.world, name), effects, fuse) for name, effects in EFFECTS.items()}
            whole.home.homes = cast("Homes", Wired(whole.home.homes, HOMES, fuse))
            world = msgspec.structs.replace(whole.world, **ports)
            whole.app.world = world  # type: ignore[attr-defined]  # the protocol does not show it; App has it
            yield msgspec.structs.replace(whole, world=world)

    return connected


def main() -> None:
    count, when, *words = sys.argv[1:]
    fuse = Fuse(count, after=when == "after")
    code = answer(
        words,
        Output.of_process(os.environ),
        environ=os.environ,
        cwd=Path.cwd(),
        stdin=sys.stdin,
        connect=wiring(fuse),
    )
    sys.stderr.write(f"effects: {fuse.seen}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
