"""The port `Hosts` over SSH: one connection and one agent a host, for as long as a command lasts.

`SshHosts` is what a driver holds; `store` gives the port `Store` on the app's home. A link that was lost is opened
again by the next call; no call is ever sent twice.
"""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import asyncssh
import msgspec

from celadon.adapters import agent_bundle, ssh
from celadon.adapters.agent_link import AgentLink, Call, Heartbeat, Take, advice
from celadon.adapters.host_store import HostHomes, HostStore
from celadon.adapters.http import quoted
from celadon.adapters.ssh import HostAddress, SshSettings
from celadon.agent import wire
from celadon.core import foreign
from celadon.core.errors import Refused, Unavailable
from celadon.core.observed import HostFacts, Question, SlotFacts
from celadon.core.release import Release, ReleaseId, Seconds, Slot
from celadon.core.secret import Secret
from celadon.core.trial import Trial, TrialFacts
from celadon.ports import Placement, WarmUp, Writ

ArchiveOf = Callable[[Release], Awaitable[Path]]
"""The source archive of a `venv` release, as a file whose SHA-256 is the release's artifact. May raise `Refused`."""

PIECE = 256 << 10
LONGEST_LINE = 1 << 20  # bytes of one log line, as the agent writes it
# Seconds. Each leaves room for round trips and a busy host on top of what the operation itself may take.
START_WITHIN = 60.0
STOP_MARGIN = 45.0
PRUNE_WITHIN = 120.0
LOGS_WITHIN = 60.0
ARTIFACT_WITHIN = 1800.0  # a slow download and a build
TRIAL_MARGIN = 180.0  # its slow request, and the removal of what it made
FENCE_WITHIN = 120.0  # an older driver's stop may have to end first


class RegistryLogin(msgspec.Struct, frozen=True):
    """Sent with each pull, kept nowhere."""

    username: str
    password: Secret


class Requests(msgspec.Struct):
    """How many requests one host got: what a deploy costs."""

    connections: int = 0
    effects: int = 0
    reads: int = 0
    store: int = 0


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One line of a replica; `utc` None where the runtime does not know when."""

    utc: foreign.Utc | None
    text: str


class LogQuestion(msgspec.Struct, frozen=True):
    """Which lines, of which replica."""

    app: str
    release: ReleaseId
    slot: Slot
    lines: int = 100
    follow: bool = False


class Command(msgspec.Struct, frozen=True):
    """A command for `run`. With `release`: in its directory and environment (venv), or in its container (docker).

    `tty`: (rows, columns) of a terminal to give it.
    """

    argv: tuple[str, ...]
    app: str = ""
    release: ReleaseId | None = None
    slot: Slot | None = None
    tty: tuple[int, int] | None = None


class SshHosts:
    """`addresses` by name, `home` the host that keeps the store. Use as `async with SshHosts(…) as hosts`."""

    def __init__(  # noqa: PLR0913 - one place where a command's hosts are put together
        self,
        addresses: Iterable[HostAddress],
        *,
        known_hosts: Path,
        known: str = "",
        home: str,
        ssh_config: Path | None = None,
        default_user: str = "root",
        connect_within: Seconds = 15.0,
        archive_of: ArchiveOf | None = None,
        registry: RegistryLogin | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._addresses = {address.name: address for address in addresses}
        self._settings = SshSettings(known_hosts, ssh_config, default_user, connect_within, known=known)
        self._home = home
        self._archive_of = archive_of
        self._registry = registry
        self._heartbeat = heartbeat or Heartbeat()
        self._sessions: dict[str, _Session] = {}
        self._opening: dict[str, asyncio.Task[_Session]] = {}
        self.count_requests: dict[str, Requests] = {name: Requests() for name in self._addresses}
        """By host; connections, state-changing requests, reads, and store requests apart."""
        self.count_operations: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Every agent leaves. Idempotent; a later call would connect again."""
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    def store(self, app: str, host: str | None = None) -> HostStore:
        """The app's store on its home, or on another host: a read-only copy, or one to be adopted."""
        return self.homes(app).store(host or self._home)

    def homes(self, app: str) -> HostHomes:
        """Every host as a place where the app's store may be."""
        return HostHomes(app, self._ask)

    async def look(self, host: str, question: Question) -> HostFacts:
        call = Call("look", msgspec.to_builtins(question), _Facts, question.probe.timeout + 20)
        facts = await self._ask(host, call)
        slots = tuple(_tame(slot) for slot in facts.slots)
        return HostFacts(name=host, **{**msgspec.structs.asdict(facts), "slots": slots})

    async def raise_fence(self, writ: Writ) -> None:
        await self._effect(writ, Call("raise_fence", {}, within=FENCE_WITHIN))

    async def put_settings(self, writ: Writ, release: Release, secrets: Mapping[str, Secret]) -> None:
        values = _values(release, secrets, writ.host)
        await self._effect(writ, Call("put_settings", {"release": _release(release), "values": values}))

    async def put_artifact(self, writ: Writ, release: Release) -> int:
        args: dict[str, Any] = {"release": _release(release), "credentials": self._credentials(release)}
        body = self._archive(release) if release.runtime == "venv" else None
        moved: int = await self._effect(writ, Call("put_artifact", args, int, ARTIFACT_WITHIN, body))
        return moved

    async def start(self, writ: Writ, placement: Placement) -> None:
        args = msgspec.to_builtins(placement) | {"release": _release(placement.release)}
        await self._effect(writ, Call("start", {"placement": args}, within=START_WITHIN))

    async def stop(self, writ: Writ, release: ReleaseId, slot: Slot, grace: Seconds) -> int | None:
        args = {"release": release, "slot": msgspec.to_builtins(slot), "grace": grace}
        cut: int | None = await self._effect(writ, Call("stop", args, int | None, grace + STOP_MARGIN))
        return cut

    async def warm_up(self, host: str, warm_up: WarmUp) -> None:
        within = warm_up.requests * warm_up.probe.timeout + 20
        await self._ask(host, Call("warm_up", msgspec.to_builtins(warm_up), within=within))

    async def prune(self, writ: Writ, keep: frozenset[ReleaseId]) -> None:
        await self._effect(writ, Call("prune", {"keep": sorted(keep)}, within=PRUNE_WITHIN))

    async def tail(self, host: str, app: str, release: ReleaseId, slot: Slot, lines: int) -> tuple[str, ...]:
        args = {"app": app, "release": release, "slot": msgspec.to_builtins(slot), "lines": lines}
        found: tuple[str, ...] = await self._ask(host, Call("tail", args, tuple[str, ...]))
        return found[-lines:]

    async def logs(self, host: str, question: LogQuestion) -> AsyncGenerator[LogLine, None]:
        """The last lines, then with `follow` every new one, until the caller stops reading (`aclose`)."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(1)

        async def take(_stream: int, data: bytes) -> None:
            await queue.put(data)

        within = math.inf if question.follow else LOGS_WITHIN
        asking = asyncio.create_task(
            self._ask(host, Call("logs", msgspec.to_builtins(question), within=within, take=take))
        )
        rest = bytearray()
        try:
            async for data in _until(asking, queue):
                rest += data
                if b"\n" in data:  # looked for in the new part only: a line may come in a million of them
                    *whole, rest = rest.split(b"\n")
                    for line in whole:
                        yield _line(host, bytes(line))
                if len(rest) > LONGEST_LINE:
                    raise Unavailable(f"{host}: logs: a line of more than {LONGEST_LINE:,} bytes", where=host)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def run(self, host: str, command: Command, *, take: Take, stdin: AsyncIterable[bytes] | None = None) -> int:
        """A person's command on the host; returns its exit code. Cancelling ends it there too."""
        args = msgspec.to_builtins(command)
        call = Call("run", args, _Exit, math.inf, stdin if stdin is not None else _nothing(), take)
        found: _Exit = await self._ask(host, call)
        return found.exit

    async def try_out(self, host: str, trial: Trial, secrets: Mapping[str, Secret]) -> TrialFacts:
        """Start a release in a throwaway place on this host, look at it, stop it. Cancelled or cut: it ends there too.

        No slot is touched and no fence is asked. The values go with the question and are written nowhere.
        """
        release = trial.release
        args = msgspec.to_builtins(trial) | {
            "app": release.app,
            "release": _release(release),
            "values": _values(release, secrets, host),
            "credentials": self._credentials(release),
        }
        within = ARTIFACT_WITHIN + trial.start_within + release.stop_timeout + TRIAL_MARGIN
        body = self._archive(release) if release.runtime == "venv" else None
        facts: TrialFacts = await self._ask(host, Call("try_out", args, TrialFacts, within, body))
        return facts

    @contextlib.asynccontextmanager
    async def forward(self, host: str, address: str, port: int) -> AsyncIterator[int]:
        """A port of this machine that leads to `address:port`, as the host reaches it, while the block lasts."""
        session = await self._session(host)
        try:
            listener = await session.connection.target.forward_local_port("127.0.0.1", 0, address, port)
        except (OSError, asyncssh.Error) as error:
            hint = f"does the host's sshd have AllowTcpForwarding? celadon check --host {host}"
            raise Unavailable(f"{host}: no tunnel to {address}:{port}", hint=hint, where=host) from error
        try:
            yield listener.get_port()
        finally:
            listener.close()

    async def scan_host_key(self, host: str) -> tuple[str, str]:
        """(line for known_hosts, fingerprint): what `hosts trust` shows and writes."""
        return await ssh.scan_host_key(self._address(host), self._settings)

    async def check(self, host: str) -> str:
        """Connect and start the agent: the Python version that runs it."""
        session = await self._session(host)
        return session.link.greeting.python

    async def _effect(self, writ: Writ, call: Call) -> Any:
        args = {**call.args, "host": writ.host, "app": writ.app, "fence": writ.fence}
        return await self._ask(writ.host, msgspec.structs.replace(call, args=args))

    async def _ask(self, host: str, call: Call) -> Any:
        session = await self._session(host)
        self._count(host, call.op)
        return await session.link.ask(call)

    async def _session(self, host: str) -> "_Session":
        """The host's agent: the one there is, or a new one. Calls at the same time share one attempt and its end."""
        address = self._address(host)
        session = self._sessions.get(host)
        if session is not None and session.link.lost is None:
            return session
        opening = self._opening.get(host)
        if opening is None:
            opening = self._opening[host] = asyncio.create_task(self._open(address))
            opening.add_done_callback(lambda done: self._opened(host, done))
        return await asyncio.shield(opening)

    async def _open(self, address: HostAddress) -> "_Session":
        lost = self._sessions.pop(address.name, None)
        if lost is not None:
            await lost.close()
        return await _open(address, self._settings, self._heartbeat)

    def _opened(self, host: str, done: "asyncio.Task[_Session]") -> None:
        del self._opening[host]
        if not done.cancelled() and done.exception() is None:
            self._sessions[host] = done.result()
            self.count_requests[host].connections += 1

    def _address(self, host: str) -> HostAddress:
        try:
            return self._addresses[host]
        except KeyError:
            names = ", ".join(sorted(self._addresses))
            raise Refused(f"no host is named {host}", hint=f"the config has {names}", where=host) from None

    def _count(self, host: str, op: str) -> None:
        requests = self.count_requests[host]
        self.count_operations[op] += 1
        match wire.OPERATIONS[op]:
            case wire.EFFECT:
                requests.effects += 1
            case wire.STORE:
                requests.store += 1
            case _:
                requests.reads += 1

    def _credentials(self, release: Release) -> dict[str, str] | None:
        if release.runtime != "docker" or self._registry is None:
            return None
        return {"username": self._registry.username, "password": self._registry.password.reveal()}

    async def _archive(self, release: Release) -> AsyncIterator[bytes]:
        """Opened only when the host reads: most of the time it has the archive already."""
        if self._archive_of is None:
            raise Refused(f"the source archive of {release.version} is not here", hint="run this in its repository")
        path = await self._archive_of(release)
        with await asyncio.to_thread(path.open, "rb") as file:
            while data := await asyncio.to_thread(file.read, PIECE):
                yield data


class _Session:
    """A connection with the agent that runs at its end."""

    def __init__(self, connection: ssh.Connection, process: asyncssh.SSHClientProcess[bytes], link: AgentLink) -> None:
        self.connection = connection
        self.process = process
        self.link = link

    async def close(self) -> None:
        lost = self.link.lost is not None
        await self.link.close()
        if lost:
            self.connection.abort()
            return
        with contextlib.suppress(OSError, asyncssh.Error):
            self.process.stdin.write_eof()
        await self.connection.close()


async def _open(address: HostAddress, settings: SshSettings, heartbeat: Heartbeat) -> _Session:
    connection = await ssh.connect(address, settings)
    try:
        async with asyncio.timeout(settings.connect_within):
            process = await connection.target.create_process(
                agent_bundle.COMMAND, encoding=None, stderr=asyncssh.DEVNULL
            )
            reader, writer = _Reader(process.stdout), _Writer(process.stdin)
            link = await AgentLink.open(address.name, reader, writer, agent_bundle.bundle(), heartbeat)
    except BaseException as error:
        connection.abort()
        if isinstance(error, (OSError, asyncssh.Error)):
            late = f"the agent did not start within {settings.connect_within:g} s"
            reason = late if isinstance(error, TimeoutError) else "the connection was lost before the agent started"
            hint = f"celadon check --host {address.name}"
            raise Unavailable(f"{address.shown}: {reason}", hint=hint, where=address.name) from error
        raise
    return _Session(connection, process, link)


class _Reader:
    """An SSH stream whose end is an OSError or EOFError, as other streams'."""

    def __init__(self, stream: asyncssh.SSHReader[bytes]) -> None:
        self._stream = stream

    async def readexactly(self, n: int) -> bytes:
        try:
            return await self._stream.readexactly(n)
        except asyncssh.Error as error:
            raise ConnectionError(error.reason) from error


class _Writer:
    def __init__(self, stream: asyncssh.SSHWriter[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except asyncssh.Error as error:
            raise ConnectionError(error.reason) from error

    async def drain(self) -> None:
        try:
            await self._stream.drain()
        except asyncssh.Error as error:
            raise ConnectionError(error.reason) from error


class _Exit(msgspec.Struct, frozen=True):
    exit: Annotated[int, msgspec.Meta(ge=-255, le=255)]  # below 0: ended by a signal


_Facts = msgspec.defstruct(
    "_Facts",
    [(field.name, field.type) for field in msgspec.structs.fields(HostFacts) if field.name != "name"],
    frozen=True,
)
"""HostFacts as the agent answers it: it does not know what the config calls its host."""


def _release(release: Release) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(release)
    return found | {"id": release.id}


def _tame(slot: SlotFacts) -> SlotFacts:
    """What a host says in its own words, as one safe line each, of a length that a journal can hold."""
    probe = slot.probe
    return msgspec.structs.replace(
        slot,
        foreign=None if slot.foreign is None else quoted(slot.foreign),
        probe=None if probe is None else msgspec.structs.replace(probe, error=quoted(probe.error)),
        remedy=advice(slot.remedy) or "",
    )


def _values(release: Release, secrets: Mapping[str, Secret], host: str) -> dict[str, str]:
    missing = [name for name, _ in release.secrets if name not in secrets]
    if missing:
        raise Refused(f"no value was given for {', '.join(missing)}", where=host)
    return dict(release.env) | {name: secrets[name].reveal() for name, _ in release.secrets}


def _line(host: str, data: bytes) -> LogLine:
    try:
        line: LogLine = foreign.read(data, LogLine)
    except foreign.Senseless as error:
        raise Unavailable(f"{host}: logs: the host's answer makes no sense", where=host) from error
    return line


async def _until(asking: asyncio.Task[Any], queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    """What comes until the call ends; then its error, if it ended with one."""
    while not (asking.done() and queue.empty()):
        getting = asyncio.create_task(queue.get())
        try:
            await asyncio.wait({asking, getting}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
        finally:
            getting.cancel()
    await asking


async def _nothing() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for data in empty:
        yield data
