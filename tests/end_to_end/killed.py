"""Run one `celadon` command that is struck at its n-th effect: the ports are wrapped, the product is untouched.

    python -m tests.end_to_end.killed COUNT|EFFECT before|in|after[:SIGNAL] WORDS…

SIGNAL is KILL unless said (TERM, INT, STOP). Each effect that begins says so on stderr (`@ 3 start`), and the last line
is `effects: N`, so that a test finds by counting how many there are. SIGUSR1 makes it say what its tasks are waiting
for, SIGUSR2 where its threads are.
"""

import asyncio
import faulthandler
import io
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


DEEP = {"hosts": 0.15, "balancer": 0.003, "store": 0.005, "homes": 0.02}  # seconds until an effect is really under way


class Fuse:
    """Burns down with each effect; at the end the process is signalled, as from outside."""

    def __init__(self, length: str, when: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.seen = 0
        self.struck = False
        self._length = length  # how many effects, or the name of one
        self._when = when
        self._signal = number

    def begin(self, name: str) -> int:
        """The number of an effect that begins now; others may be under way beside it."""
        self.seen += 1
        sys.stderr.write(f"@ {self.seen} {name}\n")
        sys.stderr.flush()
        self._burn(self.seen, name, "before")
        return self.seen

    def inside(self, number: int, name: str, port: str) -> asyncio.TimerHandle | None:
        """Strikes in a moment, unless the effect is over by then."""
        if self._when != "in" or self._length not in (str(number), name):
            return None
        return asyncio.get_running_loop().call_later(DEEP[port], self._burn, number, name, "in")

    def end(self, number: int, name: str) -> None:
        """An effect that was quicker than the stroke into it is struck at its end."""
        self._burn(number, name, "after")
        self._burn(number, name, "in")

    def _burn(self, number: int, name: str, when: str) -> None:
        if self._length in (str(number), name) and when == self._when and not self.struck:
            self.struck = True
            os.kill(os.getpid(), self._signal)


class Wired:
    """A port whose effects burn the fuse before and after they happen."""

    def __init__(self, port_name: str, port: Any, effects: tuple[str, ...], fuse: Fuse) -> None:
        self._port_name = port_name
        self._port = port
        self._effects = effects
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wire(name, found) if name in self._effects else found

    def _wire(self, name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        async def wired(*arguments: Any, **keywords: Any) -> Any:
            number = self._fuse.begin(name)
            timer = self._fuse.inside(number, name, self._port_name)
            try:
                result = await effect(*arguments, **keywords)
            finally:
                if timer is not None:
                    timer.cancel()
            self._fuse.end(number, name)
            return result

        return wired


def wiring(fuse: Fuse) -> Callable[..., Any]:
    @asynccontextmanager
    async def connected(project: Project, need: Need, environ: Mapping[str, str]) -> AsyncIterator[Connected]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, say_tasks)
        async with connect(project, need, environ) as whole:
            ports = {name: Wired(name, getattr(whole.world, name), effects, fuse) for name, effects in EFFECTS.items()}
            whole.home.homes = cast("Homes", Wired("homes", whole.home.homes, HOMES, fuse))
            world = msgspec.structs.replace(whole.world, **ports)
            whole.app.world = world  # type: ignore[attr-defined]  # the protocol does not show it; App has it
            yield msgspec.structs.replace(whole, world=world)

    return connected


def say_tasks() -> None:
    """What every task of this process is waiting for, on stderr: a command that does not end explains itself."""
    for task in asyncio.all_tasks():
        told = io.StringIO()
        task.print_stack(limit=12, file=told)
        sys.stderr.write(told.getvalue())
    sys.stderr.flush()


def main() -> None:
    faulthandler.register(signal.SIGUSR2)
    count, when, *words = sys.argv[1:]
    moment, _, name = when.partition(":")
    fuse = Fuse(count, moment, signal.Signals[f"SIG{name or 'KILL'}"])
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
