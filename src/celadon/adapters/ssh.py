"""SSH connections: strict host keys always, the agent, `~/.ssh/config`, jump hosts, deadlines."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import asyncssh
import msgspec

from celadon.adapters import known_hosts
from celadon.core.errors import CeladonError, Refused, Unavailable
from celadon.core.release import Seconds

MOST_JUMPS = 8


class HostAddress(msgspec.Struct, frozen=True):
    """How to reach a host. `name` is the config's; `ssh_host` a name or address that `~/.ssh/config` may know."""

    name: str
    ssh_host: str
    user: str | None = None  # None: what ~/.ssh/config says
    port: int | None = None

    @property
    def shown(self) -> str:
        """For messages: the name, and the address where that is another word."""
        return self.name if self.name == self.ssh_host else f"{self.name} ({self.ssh_host})"


class SshSettings(msgspec.Struct, frozen=True):
    """What the caller decides about SSH. `known_hosts` comes before the user's own file, `config` before theirs.

    `known`: lines of whoever made the machines. For a host that they name, no file's line counts.
    """

    known_hosts: Path
    config: Path | None = None
    default_user: str = "root"  # when neither the address nor a config names one: all a fresh Linode has
    connect_within: Seconds = 15.0
    user_config: Path = Path("~/.ssh/config")
    user_known_hosts: Path = Path("~/.ssh/known_hosts")
    known: str = ""

    @property
    def configs(self) -> list[str]:
        both = [self.config, self.user_config.expanduser()]
        return [str(path) for path in both if path is not None and path.is_file()]


class Connection:
    """An open connection with the jump hosts that carry it."""

    def __init__(self, target: asyncssh.SSHClientConnection, jumps: list[asyncssh.SSHClientConnection]) -> None:
        self.target = target
        self._jumps = jumps

    def abort(self) -> None:
        """At once, and without a word to the other side."""
        for connection in [self.target, *reversed(self._jumps)]:
            connection.abort()

    async def close(self, within: Seconds = 2.0) -> None:
        for connection in [self.target, *reversed(self._jumps)]:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(within):
                    await connection.wait_closed()
            connection.abort()


async def connect(address: HostAddress, settings: SshSettings) -> Connection:
    """Raises `Refused` (key not trusted, login refused, config wrong) or `Unavailable`. Nothing was sent then."""
    if settings.config is not None and not settings.config.is_file():
        raise Refused(f"{settings.config}: the SSH config is not there", where=str(settings.config))
    jumps: list[asyncssh.SSHClientConnection] = []
    try:
        async with asyncio.timeout(settings.connect_within):
            options = _options(address, settings)
            for jump in _jumps(options):
                jumps.append(await _connect(jump, settings, jumps))
            return Connection(await _connect(address, settings, jumps), jumps)
    except BaseException as error:
        for jump_connection in reversed(jumps):
            jump_connection.abort()
        if isinstance(error, Exception) and not isinstance(error, CeladonError):
            raise _translated(error, address, settings) from error
        raise


def identity_files(host: str, settings: SshSettings) -> list[Path]:
    """The key files that the configs name for this host."""
    address = HostAddress(host, host.rpartition("@")[2].partition(":")[0])
    try:
        # Told of no key, it opens none: one with a passphrase must not be asked for here.
        options = asyncssh.SSHClientConnectionOptions(
            config=settings.configs or None, host=address.ssh_host, known_hosts=b"", client_keys=None
        )
    except asyncssh.ConfigParseError as error:
        raise _translated(error, address, settings) from error
    named = options.config.get("IdentityFile")
    return [Path(str(one)).expanduser() for one in named] if isinstance(named, list) else []


async def scan_host_key(address: HostAddress, settings: SshSettings) -> tuple[str, str]:
    """(line for known_hosts, fingerprint) of the key that a host offers; nothing is sent to it but the greeting."""
    jumps: list[asyncssh.SSHClientConnection] = []
    try:
        async with asyncio.timeout(settings.connect_within):
            options = _options(address, settings)
            for jump in _jumps(options):
                jumps.append(await _connect(jump, settings, jumps))
            key = await asyncssh.get_server_host_key(
                address.ssh_host,
                address.port or (),
                tunnel=jumps[-1] if jumps else (),
                config=settings.configs or None,
                proxy_command=None if jumps else (),
            )
    except CeladonError:
        raise
    except Exception as error:
        raise _translated(error, address, settings) from error
    finally:
        for connection in reversed(jumps):
            connection.abort()
    if key is None:
        raise Unavailable(f"{address.shown}: the host offered no key", where=address.name)
    name = options.host_key_alias or options.host
    return known_hosts.key_line(name, options.port, key), known_hosts.fingerprint(key)


class _Client(asyncssh.SSHClient):
    """Takes no key that is not known; remembers which one was offered."""

    offered: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.offered = key
        return False


def _arguments(address: HostAddress, settings: SshSettings) -> dict[str, Any]:
    """What asyncssh is told before the configs have their say."""
    user = address.user
    if user is None and _options(address, settings).config.get("User") is None:
        user = settings.default_user
    return {"config": settings.configs or None, "port": address.port or (), "username": user or ()}


def _options(address: HostAddress, settings: SshSettings) -> asyncssh.SSHClientConnectionOptions:
    """The configs' answers for this host. They trust no key: which are known is read by us."""
    return asyncssh.SSHClientConnectionOptions(
        config=settings.configs or None, host=address.ssh_host, port=address.port or (), known_hosts=b""
    )


def _jumps(options: asyncssh.SSHClientConnectionOptions) -> list[HostAddress]:
    """The hosts to go through, first one first. asyncssh would open them with its own idea of known keys."""
    tunnel = options.tunnel
    if not isinstance(tunnel, str) or not tunnel or tunnel.lower() == "none":
        return []
    jumps = []
    for text in tunnel.split(","):
        user, _, place = text.rpartition("@")
        host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
        jumps.append(HostAddress(host, host, user or None, int(port) if port else None))
    if len(jumps) > MOST_JUMPS:
        raise Refused(f"{len(jumps)} jump hosts in a row are more than {MOST_JUMPS}")
    return jumps


async def _connect(
    address: HostAddress, settings: SshSettings, jumps: list[asyncssh.SSHClientConnection]
) -> asyncssh.SSHClientConnection:
    client = _Client()
    files = _users_files(_options(address, settings), settings)
    known = known_hosts.read_all(settings.known_hosts, files, settings.known)
    try:
        return await asyncssh.connect(
            address.ssh_host,
            **_arguments(address, settings),
            known_hosts=known,
            client_factory=lambda: client,
            tunnel=jumps[-1] if jumps else None,
            keepalive_interval=5,
            keepalive_count_max=3,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        if client.offered is None:
            raise
        raise _refusal(address, client.offered) from error


def _users_files(options: asyncssh.SSHClientConnectionOptions, settings: SshSettings) -> list[Path]:
    """Those that a config names, else the usual one."""
    named = options.config.get("UserKnownHostsFile")
    files = [Path(one) for one in named] if isinstance(named, list) else [settings.user_known_hosts]
    return [file.expanduser() for file in files]


def _refusal(address: HostAddress, offered: asyncssh.SSHKey) -> Refused:
    kind = offered.get_algorithm()
    file = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(kind, "ecdsa")
    return Refused(
        f"{address.shown}: host key not trusted; nothing was sent",
        details=[f"offered: {kind} {known_hosts.fingerprint(offered)}"],
        hint=f"compare it in Lish: ssh-keygen -lf /etc/ssh/ssh_host_{file}_key.pub\n"
        f"then: celadon hosts trust {address.name}",
        where=address.name,
    )


def _translated(error: Exception, address: HostAddress, settings: SshSettings) -> CeladonError:
    name, again = address.name, f"celadon check --host {address.name}"
    if isinstance(error, TimeoutError):
        message = f"{address.shown}: ssh did not answer within {settings.connect_within:g} s"
        return Unavailable(message, hint=again, where=name)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return Refused(f"{address.shown}: host key not trusted: {error.reason}; nothing was sent", where=name)
    if isinstance(error, asyncssh.PermissionDenied):
        user = address.user or settings.default_user
        return Refused(
            f"{address.shown}: the host accepts none of your SSH keys",
            hint=f"`ssh {user}@{address.ssh_host}` must work first: ssh-add the key, or name it in ~/.ssh/config",
            where=name,
        )
    if isinstance(error, (asyncssh.ConfigParseError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError)):
        return Refused(f"{address.shown}: the SSH settings cannot be used: {error}", where=name)
    if isinstance(error, asyncssh.Error):
        return Unavailable(f"{address.shown}: ssh: {error.reason}", hint=again, where=name)
    if isinstance(error, OSError):
        # asyncio puts addresses in place of the system's words, where there is a number for those.
        reason = os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
        return Unavailable(f"{address.shown}: ssh: {reason}", hint=again, where=name)
    raise error
