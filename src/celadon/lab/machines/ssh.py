"""An instance's SSH server: key authentication only, commands, and forwards to the lab's own addresses."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import asyncssh

from celadon.lab.machines.session import Account, run_on_pipes
from celadon.lab.machines.terminal import run_on_terminal

log = logging.getLogger(__name__)
LOCAL = frozenset({"localhost", "127.0.0.1"})


class Server(asyncssh.SSHServer):
    """Decides for one connection who may come in and what may be forwarded.

    `resolve` gives the loopback address of a lab address, None for every other: an instance is a way into the
    lab, never out of it.
    """

    def __init__(self, home: Path, resolve: Callable[[str], str | None]) -> None:
        self._home = home
        self._resolve = resolve
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Read the account's own file each time, as sshd does: keys may come and go."""
        keys = self._home / ".ssh" / "authorized_keys"
        try:
            trusted = asyncssh.read_authorized_keys(str(keys))
        except (OSError, ValueError) as error:
            log.warning("nobody can log in as %s: %s: %s", username, keys, error)
        else:
            if self._connection is not None:
                self._connection.set_authorized_keys(trusted)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return False

    def connection_requested(
        self, dest_host: str, dest_port: int, _orig_host: str, _orig_port: int
    ) -> "Awaitable[asyncssh.SSHTCPSession[bytes]] | bool":
        address = self._resolve(dest_host)
        if address is None or self._connection is None:
            return False
        forward = self._connection.forward_connection(address, dest_port)
        # asyncssh's documented use of it; its own annotation of the callback is narrower.
        return cast("Awaitable[asyncssh.SSHTCPSession[bytes]]", forward)

    def unix_connection_requested(self, dest_path: str) -> bool:
        return self._in_home(dest_path)

    def server_requested(self, listen_host: str, _listen_port: int) -> bool:
        """`-R` on this machine itself (sshd's GatewayPorts no)."""
        return listen_host in LOCAL or self._resolve(listen_host) is not None

    def unix_server_requested(self, listen_path: str) -> bool:
        return self._in_home(listen_path)

    def _in_home(self, path: str) -> bool:
        return Path(path).resolve().is_relative_to(self._home.resolve())


async def _run(account: Account, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Serve one `exec` or `shell` request."""
    run = run_on_pipes if process.get_terminal_type() is None else run_on_terminal
    try:
        await run(account, process)
    except OSError as error:  # the machine is full, or the home is gone: sshd would end the session
        log.warning("an SSH command could not run: %s", error)
        process.exit(255)


async def serve(
    sock: socket.socket, host_key: asyncssh.SSHKey, account: Account, resolve: Callable[[str], str | None]
) -> None:
    """One connection, from its first byte to its end."""
    try:
        connection = await asyncssh.run_server(
            sock,
            config=None,
            server_factory=lambda: Server(account.home, resolve),
            server_host_keys=[host_key],
            process_factory=lambda process: _run(account, process),
            encoding=None,
            line_editor=False,  # the terminal's own business
            agent_forwarding=False,
            login_timeout="60s",
        )
    except (OSError, asyncssh.Error) as error:
        log.debug("SSH connection not established: %s", error)
        return
    try:
        await connection.wait_closed()
    except asyncio.CancelledError:
        connection.abort()
        raise
