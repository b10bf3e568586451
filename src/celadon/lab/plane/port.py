"""One port of a NodeBalancer: its HAProxy process, its nodes' checks, and the changes still on their way."""

import asyncio
import contextlib
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec

from celadon.core.errors import CeladonError, Refused
from celadon.lab.loopback import BACKLOG, Link, bind_or_above, require_loopback
from celadon.lab.parts import Listener, NodeStatus, PlaneBalancer, PlaneConfig, PlaneNode
from celadon.lab.plane import haproxy, verdict
from celadon.lab.plane.arrivals import Arrivals
from celadon.lab.plane.check import Probe, Target, passes
from celadon.lab.plane.haproxy import Failure, HaproxyProcess, Totals
from celadon.lab.plane.modes import Judged, PlaneSwitches, checked, server_states, shown, succeed
from celadon.lab.plane.settings import SLOTS, Server, Shape, render, shape

log = logging.getLogger(__name__)
REVIVE_SECONDS = 0.5  # between the unexpected end of a process and its successor


class Terms(msgspec.Struct):
    """What all ports of one plane share. `switches` may be exchanged at any time."""

    binary: Path
    folder: Path
    translate: Callable[[str], str | None]  # private to the link's address; None: nobody answers there
    nowhere: tuple[str, int]  # where connections hang
    switches: PlaneSwitches
    delay: Callable[[float], float]  # of one change, from the switch's seconds: room for jitter
    pace: float  # real seconds a second of the checks' settings
    link: Link


class Backend:
    """A node that has reached the data plane."""

    def __init__(self, node: PlaneNode, slot: str) -> None:
        self.judged = Judged(node)
        self.told = self.judged  # what HAProxy acts on: a status is shown when it is true
        self.slot = slot
        self.checks: asyncio.Task[None] | None = None


class ConfigPort:
    """Open it with the first `apply`; every later one changes only what differs."""

    def __init__(self, balancer: PlaneBalancer, config: PlaneConfig, terms: Terms) -> None:
        self._address = require_loopback(balancer.address)
        self._source = terms.link.source or self._address
        self._name = f"{balancer.id}-{config.id}"
        self._config = config
        self._terms = terms
        self._throttle = balancer.client_conn_throttle
        self._listener: socket.socket | None = None
        self._process: HaproxyProcess | None = None
        self._shape: Shape | None = None
        self._generation = 0
        self._past: list[HaproxyProcess] = []
        self._backends: dict[int, Backend] = {}
        self._free = deque(SLOTS)
        self._leaving: list[str] = []
        self._servers: dict[str, Server] = {}  # what HAProxy was told
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals = Arrivals(self._land, self.settle, self._spawn)

    # What the account asks for

    async def apply(self, config: PlaneConfig, throttle: int) -> None:
        """Bring the port to `config`. Raises `Refused` when HAProxy or a pattern says no.

        The process and its settings then stay as they were.
        """
        if config.check == "http_body":
            try:
                re.compile(config.check_body)
            except re.error as error:
                raise Refused(f"check_body {config.check_body!r} is not a pattern: {error}") from error
        if len(config.nodes) > len(SLOTS):
            raise Refused(f"config {config.id} has {len(config.nodes)} nodes", hint=f"at most {len(SLOTS)}")
        old, self._config = self._config, config
        self._arrivals.expect({node.id: node for node in config.nodes}, self._delay)
        async with self._lock:
            try:
                await self._reshape(config, throttle, moved=old.port != config.port)
            except BaseException:
                self._config = old
                raise
        self._tend()
        await self.settle()

    def _delay(self) -> float:
        return self._terms.delay(self._terms.switches.mode_delay_seconds)

    def _land(self, node_id: int, node: PlaneNode | None) -> None:
        """A change to a node becomes true; None: it is gone."""
        backend = self._backends.get(node_id)
        if node is None:
            if backend is not None:
                self._leaving.append(self._backends.pop(node_id).slot)
                _stop_checks(backend)
            return
        if backend is None:
            # With a thousand nodes replaced at once, a slot is taken over from one that is leaving.
            slot = self._free.popleft() if self._free else self._leaving.pop(0)
            self._backends[node_id] = Backend(node, slot)
        else:
            backend.judged = succeed(backend.judged, node, self._config, self._terms.switches)
        self._tend()

    # What the data plane does

    def status(self, node_id: int) -> NodeStatus | None:
        """None for a node that this port does not have (yet)."""
        backend = self._backends.get(node_id)
        return None if backend is None else shown(backend.told, self._config, self._terms.switches)

    @property
    def is_open(self) -> bool:
        return self._process is not None

    def listener(self) -> Listener:
        bound = self._listener.getsockname()[1] if self._listener else 0
        return Listener(self._config.port, self._address, bound)

    def totals(self) -> Totals:
        every = [*self._past, *([self._process] if self._process else [])]
        connections, bytes_in, bytes_out = zip((0, 0, 0), *(each.totals() for each in every), strict=True)
        return sum(connections), sum(bytes_in), sum(bytes_out)

    def refresh(self) -> None:
        """Look again where the private addresses lead and what the switches say."""
        self._tend()
        if self._process is not None and self._wanted() != self._servers:
            self._spawn(self.settle())

    async def settle(self) -> None:
        """Tell HAProxy what it should know by now.

        Not to be interrupted: a command that was sent is carried out, whether or not we wait for the answer.
        """
        task = asyncio.create_task(self._settle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _settle(self) -> None:
        async with self._lock:
            if self._process is None:
                return
            leaving = tuple(self._leaving)
            judged = [(backend, backend.judged) for backend in self._backends.values()]
            wanted = self._wanted()
            commands = _commands(self._servers, wanted)
            # Should the answer be lost, it is not known what these slots are: then all of it is told again.
            self._servers = {slot: known for slot, known in self._servers.items() if wanted.get(slot) == known}
            await self._process.command(commands)
            self._servers = wanted
            for backend, known in judged:
                backend.told = known
            self._release(leaving)

    def _release(self, slots: tuple[str, ...]) -> None:
        """They are in maintenance now. Used again last: a slot may still be in a sticky client's table."""
        for slot in set(slots).intersection(self._leaving):
            self._leaving.remove(slot)
            self._servers.pop(slot)
            self._free.append(slot)

    def _wanted(self) -> dict[str, Server]:
        states = server_states(
            (backend.judged for backend in self._backends.values()), self._config, self._terms.switches
        )
        wanted = {}
        for node_id, backend in self._backends.items():
            host, port = self._resolve(backend.judged.node.address)
            weight = backend.judged.node.weight
            wanted[backend.slot] = Server(host, port, weight, states[node_id])
        for slot in self._leaving:
            known = self._servers.get(slot, Server("127.0.0.1", 1, 1, "maint"))
            wanted[slot] = msgspec.structs.replace(known, state="maint")
        return wanted

    def _resolve(self, address: str) -> tuple[str, int]:
        private, _, port = address.rpartition(":")
        host = self._terms.translate(private)
        return self._terms.nowhere if host is None else (self._terms.link.require(host), int(port))

    # Checks

    def _tend(self) -> None:
        """Have a check running for each node that is to be checked, and for no other."""
        for backend in self._backends.values():
            wanted = checked(backend.judged.node, self._config, self._terms.switches)
            if wanted and backend.checks is None:
                backend.checks = self._spawn(self._check_for_ever(backend))
            elif not wanted:
                _stop_checks(backend)

    async def _check_for_ever(self, backend: Backend) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began, config, node = clock(), self._config, backend.judged.node
            probe = Probe(config.check, config.check_path, config.check_body, config.check_timeout * self._terms.pace)
            passed = await passes(probe, Target(*self._resolve(node.address), node.address, self._source))
            if backend.judged.node.address == node.address:
                judged = verdict.after_check(backend.judged.verdict, passed=passed, attempts=config.check_attempts)
                backend.judged = Judged(backend.judged.node, judged)
                await self._settle_or_say_so()
            await asyncio.sleep(max(0, config.check_interval * self._terms.pace - (clock() - began)))

    async def _judge_passively(self, failure: Failure) -> None:
        if not self._config.check_passive or self._config.check == "none" or not failure.counts_against_node:
            return  # without active checks nothing could ever bring the node back
        for backend in self._backends.values():
            if backend.slot == failure.slot:
                backend.judged = Judged(backend.judged.node, verdict.after_bad_answer())
                await self._settle_or_say_so()

    async def _settle_or_say_so(self) -> None:
        try:
            await self.settle()
        except CeladonError as error:
            log.warning("balancer config %s: %s (tried again at the next check)", self._config.id, error)

    # The process

    async def _reshape(self, config: PlaneConfig, throttle: int, *, moved: bool) -> None:
        """Start the first process, or a successor when the change needs one. A node change never does."""
        wanted = shape(config, redispatch=self._terms.switches.redispatch)
        if self._process is not None and wanted == self._shape and not moved:
            if throttle != self._throttle:
                command = f"set var proc.throttle int({throttle})"
                await self._process.command([f"experimental-mode on;{command}"])
            self._throttle = throttle
            return
        self._throttle = throttle
        before = self._listener
        if before is None or moved:
            self._listener = bind_or_above(self._address, config.port)
            self._listener.listen(BACKLOG)
        try:
            await self._start(wanted)
        except BaseException:
            if self._listener is not None and self._listener is not before:
                self._listener.close()
            self._listener = before
            raise
        if before is not None and before is not self._listener:
            before.close()

    async def _start(self, wanted: Shape) -> None:
        if self._listener is None:
            raise Refused(f"balancer config {self._config.id} is closed")
        self._generation += 1
        base = self._terms.folder / f"{self._name}-{self._generation}"
        servers = self._wanted()
        certificate = _write_certificate(base.with_name(base.name + ".pem"), wanted)

        def write(traffic_fd: int, admin_fd: int) -> str:
            where = haproxy.place(
                (traffic_fd, admin_fd), source=self._source, throttle=self._throttle, certificate=certificate
            )
            return render(wanted, where, servers)

        try:
            process = await HaproxyProcess.start(self._terms.binary, base, self._listener, write)
        finally:
            if certificate is not None:
                certificate.unlink()  # read once, at start
        old, self._process, self._shape = self._process, process, wanted
        # A state that the file cannot express is told at once; before that such a slot takes nothing.
        self._servers = {
            slot: server if server.state == "ready" else msgspec.structs.replace(server, state="maint")
            for slot, server in servers.items()
        }
        self._spawn(self._keep(process))
        if old is not None:
            self._past.append(old)
            self._spawn(old.retire())

    async def _keep(self, process: HaproxyProcess) -> None:
        """Follow the process to its end, and replace it when nobody asked for that end."""
        await process.failures(self._judge_passively)
        await process.wait()
        while self._process is process:
            log.error("the HAProxy of balancer config %s ended by itself; starting another", self._config.id)
            await asyncio.sleep(REVIVE_SECONDS)
            async with self._lock:
                if self._process is process and self._shape is not None:
                    try:
                        await self._start(self._shape)
                    except CeladonError as error:
                        log.error("balancer config %s: %s %s", self._config.id, error, error.details)  # noqa: TRY400 - the lines say it all
        await self._settle_or_say_so()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("balancer config %s", self._config.id, exc_info=error)

    async def close(self) -> None:
        """End everything; open connections are cut."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        current, self._process = self._process, None
        if current is not None:
            self._past.append(current)
        await asyncio.gather(*(process.stop() for process in self._past))
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _commands(known: dict[str, Server], wanted: dict[str, Server]) -> list[str]:
    """What turns the one into the other: servers that join come first, so that there is always somebody."""
    joining: list[str] = []
    others: list[str] = []
    for slot, server in wanted.items():
        old = known.get(slot)
        lines = []
        if old is None or (old.host, old.port) != (server.host, server.port):
            lines.append(f"set server nodes/{slot} addr {server.host} port {server.port}")
        if old is None or old.weight != server.weight:
            lines.append(f"set server nodes/{slot} weight {server.weight}")
        if old is None or old.state != server.state:
            lines.append(f"set server nodes/{slot} state {server.state}")
        (joining if server.state == "ready" else others).extend(lines)
    return joining + others


def _write_certificate(path: Path, wanted: Shape) -> Path | None:
    if wanted.protocol != "https":
        return None
    path.touch(mode=0o600)
    path.write_text(f"{wanted.ssl_cert}\n{wanted.ssl_key}\n")
    return path


def _stop_checks(backend: Backend) -> None:
    if backend.checks is not None:
        with contextlib.suppress(RuntimeError):
            backend.checks.cancel()
        backend.checks = None
