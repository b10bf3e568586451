"""What is wrong with a host itself: its disk runs full in a step, its clock is an hour off."""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome, Skipped
from tests.torture.faults import ended
from tests.torture.steps import begins

from celadon.cli.stage import Ran

Play = Callable[[Bench, Outcome], Awaitable[None]]
FAKETIME = tuple(Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1") for machine in ("x86_64", "aarch64"))


def _library() -> Path | None:
    return next((path for path in FAKETIME if path.exists()), None)


def cases() -> Iterator[Case]:
    for step in ("settings", "release", "start", "pilot"):
        yield Case(f"disk-full/{step}", _disk_full(step), ci=step == "release")
    for name, hours in (("home-ahead", 1), ("home-behind", -1), ("candidate-ahead", 1), ("candidate-behind", -1)):
        yield Case(f"clock/{name}", _clock(name, hours), kind="clocks")


# -- disks


class SmallDisk:
    """A folder on a file system of its own, which can be made full. What the folder holds stays, then and after."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder.with_name(f"{folder.name}.aside")

    @asynccontextmanager
    async def mounted(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self._make_room)
        try:
            await _program("mount", "-t", "tmpfs", "-o", "size=2g,mode=700", "celadon-torture", str(self._folder))
            await _program("cp", "-a", f"{self._aside}/.", str(self._folder))
            yield
        finally:
            await _program("umount", "--lazy", str(self._folder))
            await asyncio.to_thread(self._put_back)

    async def fill(self) -> None:
        used = await asyncio.to_thread(self._used)
        await _program("mount", "-o", f"remount,size={used + (64 << 10)}", str(self._folder))

    def _make_room(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.rename(self._aside)
        self._folder.mkdir()

    def _put_back(self) -> None:
        shutil.rmtree(self._folder)
        self._aside.rename(self._folder)

    def _used(self) -> int:
        return sum(path.lstat().st_blocks * 512 for path in self._folder.rglob("*") if path.is_file())


async def _program(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode:
        raise Skipped(f"{words[0]}: {said.decode()[-200:]}")


def _disk_full(step: str) -> Play:
    """One candidate host runs full in a step; it fails by name, stable serves; with room again the same works."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        host = bench.idle_hosts(await bench.status())[1]
        machine = bench.stage.folder / "lab" / "machines" / str(await bench.instance(host))
        disk = SmallDisk(machine / "home" / ".local" / "share" / "celadon")
        version = await bench.fresh()
        async with disk.mounted():
            command = await bench.begin("deploy", version, "--yes")
            assert await command.until(begins(step)), command.said[-2000:]
            await disk.fill()
            ran = await ended(bench, outcome, command, version)
            if ran.exit == 3 and "o space left" not in ran.err:
                outcome.message_true = False
                outcome.problems.append(f"it did not name the disk: {ran.err[-1500:]}")
            if ran.exit == 0:  # it serves from there: it moves away before the disk does
                bench.live = await bench.fresh()
                ran = await bench.run("deploy", bench.live, "--yes")
                assert ran.exit == 0, ran.err[-3000:]
        if outcome.note.startswith("back"):
            ran = await bench.again(outcome, "deploy", version, "--yes")
            assert ran.exit == 0, ran.err[-3000:]
            bench.live = version

    return play


# -- clocks


class ClocksBench(Bench):
    """Its hosts find a `python3` that asks `skew` in their home how far off their clock is; replicas inherit it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._bin = folder / "python" / "bin"
        self._ours = sys.executable

    async def __aenter__(self) -> Self:
        library = _library()
        if library is not None:
            await asyncio.to_thread(self._wrap, library)
            sys.executable = str(self._bin / "python")  # what the lab is started with is what its hosts find
        try:
            await super().__aenter__()
        finally:
            sys.executable = self._ours
        return self

    def _wrap(self, library: Path) -> None:
        """A virtual environment beside ours, with the same packages, and a wrapper for hosts."""
        environment = Path(self._ours).parent.parent
        self._bin.mkdir(parents=True)
        shutil.copy(environment / "pyvenv.cfg", self._bin.parent)
        (self._bin.parent / "lib").symlink_to(environment / "lib")
        (self._bin / "python").symlink_to(Path(self._ours).resolve())
        wrapper = self._bin / "python3"
        wrapper.write_text(
            "#!/bin/sh\n"
            f'here="{self._bin}/python"\n'
            'if [ -s "$HOME/skew" ]; then\n'
            f'  export LD_PRELOAD="{library}" FAKETIME="$(cat "$HOME/skew")" FAKETIME_DONT_FAKE_MONOTONIC=1\n'
            "fi\n"
            'exec "$here" "$@"\n'
        )
        wrapper.chmod(0o755)


def _clock(name: str, hours: int) -> Play:
    """A whole deploy, and a kill in the middle of the next one, with one host's clock an hour off."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        if _library() is None:
            raise Skipped("Debian's libfaketime is not installed")
        estate = bench.stage.estate
        host = estate.blue[0] if name.startswith("home") else bench.idle_hosts(await bench.status())[1]
        skew = bench.stage.folder / "lab" / "machines" / str(await bench.instance(host)) / "home" / "skew"
        skew.write_text(f"{hours:+d}h\n")
        began = time.monotonic()
        try:
            version = await bench.fresh()
            killed = await bench.run("deploy", version, "--yes", strike=(14, "after"))
            assert killed.exit == -9, killed.err[-3000:]
            ran = await bench.again(outcome, "deploy", version, "--yes")
            assert ran.exit == 0, ran.err[-3000:]
            bench.live = version
            _told(killed, outcome, host)
        finally:
            skew.unlink()
        outcome.seconds = round(time.monotonic() - began, 1)

    return play


def _told(ran: Ran, outcome: Outcome, host: str) -> None:
    if host not in ran.err or "clock" not in ran.err:
        outcome.message_true = False
        outcome.problems.append(f"nothing was said about the clock of {host}: {ran.err[:800]}")
