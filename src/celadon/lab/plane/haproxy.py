"""One HAProxy process: started on a socket that we keep, told what to do by its runtime socket, ended for certain.

The listening socket outlives the process: a successor takes it over, so that even a change which needs a new
process loses no connection. The process dies with the lab (see `leash`), and a pidfile names it for the next lab.
"""

import asyncio
import csv
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Self

import msgspec

from celadon.core.errors import Bug, Refused, Unavailable
from celadon.lab.plane import leash
from celadon.lab.plane.settings import LOG_TAG, SLOTS, Place
from celadon.lab.processes import write_pidfile

START_SECONDS = 15
ANSWER_SECONDS = 5
BATCH = 50  # commands a line: HAProxy reads at most 16 KiB at once
FINE = re.compile(r"|(IP|port) changed from .*|no need to change .*")
Totals = tuple[int, int, int]


class Failure(msgspec.Struct, frozen=True):
    """A request that did not go well, from HAProxy's log: an answer of 5xx, or none (`refused`, `silent`)."""

    slot: str
    status: int | None
    ending: str  # HAProxy's termination state, two letters

    @property
    def counts_against_node(self) -> bool:
        """As documented for passive checks: any 5xx but 501 and 505, a refused connection, a timeout."""
        if self.ending[0] in "Ss":
            return self.ending[1] in "CH"
        return self.status is not None and self.status >= 500 and self.status not in (501, 505)


def parse_failure(line: str) -> Failure | None:
    """None for HAProxy's own notices and for requests that reached no server."""
    match line.split():
        case [tag, slot, status, ending] if tag == LOG_TAG and slot in SLOTS and len(ending) == 2:
            return Failure(slot, int(status) if status.isdecimal() else None, ending)
        case _:
            return None


class AdminSocket:
    """HAProxy's runtime socket, made by us so that it is there before the process is.

    It is reached through a descriptor of its folder: the path of a unix socket may have 107 characters only, and
    a lab may live deeper than that.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / name
        self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._path = f"/proc/self/fd/{self._folder_fd}/{name}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._file.unlink(missing_ok=True)
        self.listener.bind(self._path)
        self._file.chmod(0o600)
        self.listener.listen(64)

    async def ask(self, command: str) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(command.encode() + b"\n")
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"the balancer's HAProxy does not answer on {self._file.name}") from error

    def ask_now(self, command: str) -> str:
        """The same without the event loop, for questions answered in one round trip (0.3 ms)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(1)
            sock.connect(self._path)
            sock.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

    def close(self) -> None:
        self.listener.close()
        os.close(self._folder_fd)
        self._file.unlink(missing_ok=True)


class HaproxyProcess:
    """A running process. Make it with `start`."""

    def __init__(self, child: asyncio.subprocess.Process, admin: AdminSocket, files: tuple[Path, ...]) -> None:
        self._child = child
        self._admin = admin
        self._files = files
        self._totals: Totals = (0, 0, 0)
        self._retired = False
        self._closed = False

    @classmethod
    async def start(cls, binary: Path, base: Path, traffic: socket.socket, write: Callable[[int, int], str]) -> Self:
        """`base`: folder and name of its files. `write(traffic_fd, admin_fd)` gives the configuration's text.

        Raises `Refused` with HAProxy's words when it does not accept the configuration.
        """
        files = tuple(base.with_name(base.name + end) for end in (".cfg", ".err", ".pid"))
        settings, errors, pidfile = files
        admin = AdminSocket(base.parent, base.name + ".sock")
        try:
            settings.write_text(write(traffic.fileno(), admin.listener.fileno()))
            with errors.open("wb") as stderr:
                child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                    *(str(binary), "-db", "-f", str(settings)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stderr,
                    pass_fds=(traffic.fileno(), admin.listener.fileno()),
                    start_new_session=True,  # a terminal's Ctrl-C is the lab's to handle
                )
        except BaseException:
            admin.close()
            raise
        process = cls(child, admin, files)
        try:
            write_pidfile(pidfile, child.pid)
            await process._ready()
        except BaseException:
            await process.stop()
            raise
        return process

    async def _ready(self) -> None:
        """The runtime socket exists before the process does, so the first answer means that it is up."""
        answer = asyncio.ensure_future(self._admin.ask("show info"))
        ended = asyncio.ensure_future(self._child.wait())
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.wait({answer, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    await answer
        except TimeoutError as error:
            raise Unavailable(f"HAProxy was not ready within {START_SECONDS} s") from error
        finally:
            for each in (answer, ended):
                each.cancel()
            await asyncio.gather(answer, ended, return_exceptions=True)
        if self._child.returncode is not None:
            said = self._files[1].read_text(errors="replace").splitlines()
            wrong = [line for line in said if "[ALERT]" in line] or said
            raise Refused("HAProxy does not accept the configuration", details=wrong[-5:])

    async def command(self, commands: Iterable[str]) -> None:
        """Carry out runtime commands, in order. Raises `Bug` when one is not understood."""
        todo = list(commands)
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            for line in (await self._admin.ask(";".join(batch))).splitlines():
                if not FINE.fullmatch(line):
                    raise Bug(f"HAProxy refused a command: {line}", details=batch)

    async def failures(self, tell: Callable[[Failure], Awaitable[None]]) -> None:
        """Follow its log until it ends."""
        if self._child.stdout is None:
            raise Bug("HAProxy was started without a log")
        async for line in self._child.stdout:
            if failure := parse_failure(line.decode(errors="replace")):
                await tell(failure)

    def totals(self) -> Totals:
        """Connections, bytes in, bytes out; the last known ones when it does not answer any more."""
        if not self._retired and self._child.returncode is None:
            try:
                # One frontend only: the list of all slots is long.
                answer = self._admin.ask_now("show stat in 1 -1").lstrip("# ")
            except OSError:
                return self._totals
            for row in csv.DictReader(answer.splitlines()):
                self._totals = (int(row["stot"]), int(row["bin"]), int(row["bout"]))
        return self._totals

    async def wait(self) -> None:
        await self._child.wait()

    async def retire(self) -> None:
        """Take no new connection, and end when the last open one has. A successor has the socket already."""
        self.totals()
        self._retired = True  # its runtime socket closes too: what still flows is not counted
        self._signal(signal.SIGUSR1)
        await self._child.wait()
        self._forget()

    async def stop(self) -> None:
        """End now; what is open is cut."""
        self.totals()
        self._retired = True
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._child.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._child.wait()
        self._forget()

    def _signal(self, number: signal.Signals) -> None:
        if self._child.returncode is None:
            self._child.send_signal(number)

    def _forget(self) -> None:
        if not self._closed:
            self._closed = True
            self._admin.close()
            for file in self._files:
                file.unlink(missing_ok=True)


def place(fds: tuple[int, int], *, source: str, throttle: int, certificate: Path | None = None) -> Place:
    """Two descriptors a connection; NodeBalancers of the common type carry 10,000 at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 10_000 if files == resource.RLIM_INFINITY else min(10_000, max(100, files // 2 - 100))
    return Place(*fds, source, most, throttle, certificate)
