"""One instance: its disk, its server and everything that runs on it."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

import msgspec

from celadon.core.errors import Unavailable
from celadon.lab.loopback import bind, require_loopback
from celadon.lab.machines import ssh
from celadon.lab.machines.engine import Engine
from celadon.lab.machines.home import Disk, environment
from celadon.lab.machines.session import Account
from celadon.lab.machines.wire import Wire
from celadon.lab.parts import Fault, Machine
from celadon.lab.processes import Process, belonging, look, send

log = logging.getLogger(__name__)
PORT = 2222
KILL_SECONDS = 10  # how long the kernel may take to let go of a killed process
POLL_SECONDS = 0.02


class Site(msgspec.Struct, frozen=True):
    """What all instances of one lab share."""

    operator: Mapping[str, str]  # the operator's environment
    uv_cache: Path
    engine: Engine | None
    grace_seconds: float  # from SIGTERM to SIGKILL at a shutdown
    resolve: Callable[[str], str | None]  # where a lab address leads, as seen from inside


class LoopbackMachine:
    """An instance that is switched off until `boot`. `described` may change; the disk stays."""

    def __init__(self, machine: Machine, disk: Disk, site: Site) -> None:
        require_loopback(machine.address)
        disk.format(machine)
        self.described = machine
        self.has_network = True
        self._disk = disk
        self._site = site
        self._on = False
        self._host_key = disk.host_key()
        self._account = Account(disk.home, self._environment)
        self._wire = Wire(self._bind(), self._serve)
        self._booting: set[asyncio.Task[None]] = set()
        self._switching = asyncio.Lock()  # one change of power or network at a time

    @property
    def ssh_port(self) -> int:
        return self._wire.port

    @property
    def host_key(self) -> str:
        algorithm, key = self._host_key.export_public_key().decode().split()[:2]
        return f"{algorithm} {key}"

    async def boot(self) -> None:
        async with self._switching:
            if self._on:
                return
            self._on = True
            self.has_network = True
            self._wire.plug()
            for script in sorted(self._disk.boot_folder.iterdir()):
                if script.is_file() and os.access(script, os.X_OK):
                    await self._start(script)
            await self._start_containers()

    async def shutdown(self) -> None:
        """As an orderly power-off: everybody gets SIGTERM and time to end, then SIGKILL."""
        async with self._switching:
            await self._off(self._site.grace_seconds)

    async def delete(self) -> None:
        """Nothing is left but the disk. Can be done again when the Docker Engine did not answer."""
        async with self._switching:
            await self._off(0)
            if self._site.engine:
                await asyncio.to_thread(self._site.engine.remove, self.described.label)
            await self._wire.close()

    async def close(self) -> None:
        async with self._switching:
            try:
                await self._off(self._site.grace_seconds)
            finally:
                await self._wire.close()

    async def fault(self, kind: Fault) -> None:
        """On an instance that is off nothing can go wrong: nothing happens."""
        async with self._switching:
            if self._on:
                await self._fault(kind)

    async def _fault(self, kind: Fault) -> None:
        match kind:
            case "die":
                await self._off(0)
            case "freeze":
                await self._wire.hold()
                await self._stop_all()
                await self._containers("pause")
            case "thaw":
                await self._signal_all(signal.SIGCONT)
                await self._containers("unpause")
                self._wire.plug()
            case "cut_ssh":
                await self._wire.cut()
            case "lose_network":
                self.has_network = False
                await self._wire.pull()
            case "restore_network":
                self.has_network = True
                self._wire.plug()
            case _:
                assert_never(kind)

    # The server

    def _bind(self) -> socket.socket:
        """The usual port, or one that the kernel chooses; a port once had is asked for again."""
        remembered = self._disk.port_file
        wishes = [int(remembered.read_text())] if remembered.exists() else []
        for port in (*wishes, PORT, 0):
            try:
                sock = bind(self.described.address, port)
            except OSError as error:
                if port == 0:
                    raise Unavailable(f"{self.described.label}: no port for SSH: {error.strerror}") from error
            else:
                remembered.write_text(str(sock.getsockname()[1]))
                return sock
        raise AssertionError("port 0 either binds or raises")

    async def _serve(self, sock: socket.socket) -> None:
        await ssh.serve(sock, self._host_key, self._account, self._site.resolve)

    def _environment(self) -> dict[str, str]:
        engine = self._site.engine.path if self._site.engine else None
        return environment(self._disk, self._site.operator, uv_cache=self._site.uv_cache, engine=engine)

    async def _start(self, script: Path) -> None:
        with self._disk.boot_log.open("ab") as output:
            try:
                child = await asyncio.create_subprocess_exec(
                    str(script),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._disk.home,
                    env=self._environment(),
                    start_new_session=True,
                )
            except OSError as error:  # as at a real boot, one bad script does not stop the others
                output.write(f"{script.name}: {error}\n".encode())
                log.warning("%s: %s did not start at boot: %s", self.described.label, script.name, error)
                return
        self._account.remember(child.pid)
        task = asyncio.create_task(self._follow(child))
        self._booting.add(task)
        task.add_done_callback(self._booting.discard)

    async def _follow(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        self._account.leader_ended(child.pid)

    # Its processes

    async def _off(self, grace_seconds: float) -> None:
        self._on = False
        await self._wire.unplug()  # first: nobody starts anything any more
        if grace_seconds > 0:
            await self._signal_all(signal.SIGTERM)
            await self._signal_all(signal.SIGCONT)  # a frozen process cannot end
            await self._wait_for_all(grace_seconds, None)
        await self._wait_for_all(KILL_SECONDS, signal.SIGKILL)
        if left := await self._processes():
            raise Unavailable(f"{self.described.label}: {len(left)} processes outlive SIGKILL")
        self._account.known.clear()
        await asyncio.gather(*self._booting)
        await self._stop_containers(gently=grace_seconds > 0)

    async def _wait_for_all(self, seconds: float, number: signal.Signals | None) -> None:
        """Until none is left or time is up; what is started meanwhile gets the signal too."""
        deadline = time.monotonic() + seconds
        while (found := await self._processes()) and time.monotonic() < deadline:
            for process in found if number else ():
                send(process, number or signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)

    async def _processes(self) -> tuple[Process, ...]:
        return await asyncio.to_thread(belonging, self._disk.marker, tuple(self._account.known))

    async def _signal_all(self, number: signal.Signals) -> None:
        for process in await self._processes():
            send(process, number)

    async def _stop_all(self) -> None:
        """SIGSTOP takes effect a moment later, and a process may have become two meanwhile: until all stand."""
        deadline = time.monotonic() + KILL_SECONDS
        while running := [p for p in await self._processes() if (seen := look(p.pid)) and not seen.stopped]:
            for process in running:
                send(process, signal.SIGSTOP)
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.described.label}: {len(running)} processes do not stop")
            await asyncio.sleep(POLL_SECONDS)

    # Its containers

    async def _containers(self, verb: str) -> None:
        if engine := self._site.engine:
            mine = await asyncio.to_thread(engine.containers, self.described.label)
            await asyncio.to_thread(engine.act, verb, mine)

    async def _stop_containers(self, *, gently: bool) -> None:
        """Stop them, and note which ones: docker's restart policy does not outlast a stop."""
        if engine := self._site.engine:
            label = self.described.label
            frozen = await asyncio.to_thread(engine.containers, label, "paused")
            await asyncio.to_thread(engine.act, "unpause", frozen)
            running = await asyncio.to_thread(engine.containers, label, "running")
            await asyncio.to_thread(engine.act, "stop" if gently else "kill", running)
            if running:
                self._disk.containers_file.write_bytes(msgspec.json.encode(running))

    async def _start_containers(self) -> None:
        noted = self._disk.containers_file
        if self._site.engine and noted.exists():
            stopped = msgspec.json.decode(noted.read_bytes(), type=list[str])
            await asyncio.to_thread(self._site.engine.act, "start", stopped)
            noted.unlink()
