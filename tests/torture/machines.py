"""What is wrong with a host itself: its disk runs full in a step, its clock is an hour off."""

import asyncio
import re
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
CUSTOM = """\
import os
import site
import time

site.addsitedir({packages!r})
try:
    with open(os.path.join(os.environ["HOME"], "skew")) as file:
        skew = float(file.read())
except (OSError, KeyError):
    skew = 0.0
if skew:
    right = time.time
    time.time = lambda: right() + skew
"""


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
        await asyncio.to_thread(self._set_aside)
        try:
            await _program("mount", "-t", "tmpfs", "-o", "size=2g,mode=700", "celadon-torture", str(self._folder))
        except BaseException:
            await asyncio.to_thread(self._put_back)
            raise
        try:
            await _program("cp", "-a", f"{self._aside}/.", str(self._folder))
            yield
        finally:
            await _program("umount", "--lazy", str(self._folder))
            await asyncio.to_thread(self._put_back)

    async def fill(self) -> None:
        used = await asyncio.to_thread(self._used)
        await _program("mount", "-o", f"remount,size={used + (64 << 10)}", str(self._folder))

    async def make_room(self) -> None:
        await _program("mount", "-o", "remount,size=2g", str(self._folder))

    def _set_aside(self) -> None:
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
            if ran.exit == 3 and not re.search("o space left|no room on the disk", ran.err):
                outcome.message_true = False
                outcome.problems.append(f"it did not name the disk: {ran.err[-1500:]}")
            await disk.make_room()
            if ran.exit == 3:
                ran = await bench.again(outcome, "deploy", version, "--yes")
                assert ran.exit == 0, ran.err[-3000:]
            bench.live = await bench.fresh()  # it moves away from this disk before that is gone
            ran = await bench.run("deploy", bench.live, "--yes")
            assert ran.exit == 0, ran.err[-3000:]

    return play


# -- clocks


class ClocksBench(Bench):
    """Its hosts find a `python3` whose clock is as far off as the file `skew` in their home says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._python = folder / "python"
        self._ours = sys.executable

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._wrap)
        sys.executable = str(self._python / "bin" / "python3")  # what the lab is started with is what its hosts find
        try:
            await super().__aenter__()
        finally:
            sys.executable = self._ours
        return self

    def _wrap(self) -> None:
        """A virtual environment with the packages of ours, and a start-up file of its own."""
        (packages,) = (path for path in sys.path if path.endswith("site-packages"))
        here = self._python / "lib" / Path(packages).parent.name / "site-packages"
        here.mkdir(parents=True)
        (here / "sitecustomize.py").write_text(CUSTOM.format(packages=packages))
        (self._python / "bin").mkdir()
        shutil.copy(Path(self._ours).parent.parent / "pyvenv.cfg", self._python)
        (self._python / "bin" / "python3").symlink_to(Path(self._ours).resolve())


def _clock(name: str, hours: int) -> Play:
    """A whole deploy, and a kill in the middle of the next one, with one host's clock an hour off."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        estate = bench.stage.estate
        host = estate.blue[0] if name.startswith("home") else bench.idle_hosts(await bench.status())[1]
        skew = bench.stage.folder / "lab" / "machines" / str(await bench.instance(host)) / "home" / "skew"
        skew.write_text(f"{hours * 3600}\n")
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
