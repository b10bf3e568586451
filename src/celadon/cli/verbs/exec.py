"""`celadon exec -- ARGV`: a person's command in the live release's environment. Its output, its exit code."""

import asyncio
import os
import shutil
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from celadon.adapters.host import Command
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.output import Result
from celadon.cli.situation import Situation, live_or, see
from celadon.core.errors import Refused
from celadon.core.release import Colour, Slot

STDERR = 2  # the agent's number of the stream
KEPT = 1 << 20  # bytes of output in --json


async def run(call: Call) -> Result:
    if call.values["tty"] and (call.values["all"] or call.output.json or not call.stdin.isatty()):
        raise Refused("-t needs a terminal here, and one host", hint="celadon exec -t --host HOST -- ARGV")
    if call.values["all"] and call.values["host"] is not None:
        raise Refused("--all and --host contradict each other", hint="keep one")
    async with call.connected() as connected:
        situation = await see(connected)
        colour = live_or(None, situation)
        runs = [await _on(call, connected, situation, slot) for slot in _slots(call, connected, colour)]
        code = max((one["exit"] for one in runs), default=0)
        return Result(result="done" if code == 0 else "failed", exit=code, keys={"runs": runs})


def _slots(call: Call, connected: Connected, live: Colour) -> list[Slot]:
    host = call.values["host"]
    if host is not None:
        both = [slot for colour in (live, live.other) for slot in connected.wanted.slots[colour]]
        found = [slot for slot in both if slot.host == host][:1]
        if not found:
            names = ", ".join(sorted({slot.host for slot in both}))
            raise Refused(f"no host is named {host}", hint=f"the config has {names}")
        return found
    slots = list(connected.wanted.slots[live])
    return slots if call.values["all"] else slots[:1]


async def _on(call: Call, connected: Connected, situation: Situation, slot: Slot) -> dict[str, Any]:
    facts = situation.slot(slot)
    if facts is None or facts.replica is None or not facts.replica.running:
        raise Refused(f"{slot.host}: no replica runs in {slot.key}", hint="celadon status", where=slot.host)
    if call.values["all"]:
        call.output.say(f"on {slot.host}:", "dim")
    kept = {1: bytearray(), STDERR: bytearray()}

    async def take(stream: int, data: bytes) -> None:
        if call.output.json:
            kept[stream] += data[: KEPT - len(kept[stream])]
            return
        # Bytes as they are: another program's output, perhaps an archive.
        target = sys.stderr.buffer if stream == STDERR else sys.stdout.buffer
        target.write(data)
        target.flush()

    size = shutil.get_terminal_size()
    command = Command(
        argv=tuple(call.values["argv"]),
        app=connected.wanted.app,
        release=facts.replica.release,
        slot=slot,
        tty=(size.lines, size.columns) if call.values["tty"] else None,
    )
    with _raw(call):
        code = await connected.reach.run(slot.host, command, take=take, stdin=_stdin(call))
    told = {"stdout": kept[1].decode("utf-8", "replace"), "stderr": kept[STDERR].decode("utf-8", "replace")}
    return {"host": slot.host, "exit": code, **(told if call.output.json else {})}


@contextmanager
def _raw(call: Call) -> Iterator[None]:
    """Keys go to the other side as they are typed, Ctrl-C too."""
    if not call.values["tty"]:
        yield
        return
    descriptor = call.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _stdin(call: Call) -> AsyncIterator[bytes] | None:
    """What is typed or piped in; nothing with --all or from a terminal without -t, where nobody means to type."""
    if call.values["all"] or (call.stdin.isatty() and not call.values["tty"]):
        return None
    return _pieces(call.stdin.fileno())


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Read when there is something: a thread that waits in `read` would keep the command from ending."""
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        try:
            loop.add_reader(descriptor, ready.set)
        except PermissionError:  # a plain file or /dev/null: never waits
            ready.set()
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
        data = os.read(descriptor, 32_768)
        if not data:
            return
        yield data
