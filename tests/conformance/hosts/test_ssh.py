"""The connection: which keys are taken, how it gets there, and what a lost one means."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from celadon.adapters.agent_link import Heartbeat
from celadon.adapters.host import Command, SshHosts
from celadon.adapters.known_hosts import KnownHosts, fingerprint_of_line
from celadon.adapters.ssh import HostAddress
from celadon.core.errors import NoAnswer, Refused, Unavailable
from celadon.core.observed import Probe, Question
from celadon.ports import Writ

from .conftest import Sshd, address_of

NOTHING = Question("none", (), Probe("/", "hello.example"))


@asynccontextmanager
async def connected(sshd: Sshd, address: HostAddress | None = None, **changes: Any) -> AsyncIterator[SshHosts]:
    arguments: dict[str, Any] = {"known_hosts": sshd.known_hosts, "home": "web-1", "ssh_config": sshd.config}
    async with SshHosts([address or address_of(sshd)], **(arguments | changes)) as hosts:
        yield hosts


async def agent_pid(hosts: SshHosts) -> int:
    pids: list[int] = []

    async def take(_stream: int, data: bytes) -> None:
        pids.append(int(data))

    await hosts.run("web-1", Command(("python3", "-c", "import os; print(os.getppid())")), take=take)
    return pids[0]


async def test_an_unknown_key_is_shown_and_nothing_is_sent(sshd: Sshd, tmp_path: Path) -> None:
    async with connected(sshd, known_hosts=tmp_path / "none") as hosts:
        with pytest.raises(Refused) as caught:
            await hosts.look("web-1", NOTHING)
        line, fingerprint = await hosts.scan_host_key("web-1")
        assert hosts.count_requests["web-1"].connections == 0
    assert caught.value.message == "web-1 (127.0.0.1): host key not trusted; nothing was sent"
    assert caught.value.details == (f"offered: ssh-ed25519 {fingerprint}",)
    assert caught.value.hint == (
        "compare it in Lish: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\nthen: celadon hosts trust web-1"
    )
    assert fingerprint_of_line(line) == fingerprint

    KnownHosts(tmp_path / "own" / "known_hosts").trust(line)
    async with connected(sshd, known_hosts=tmp_path / "own" / "known_hosts") as hosts:
        assert (await hosts.look("web-1", NOTHING)).name == "web-1"


async def test_a_changed_key_is_refused_too(sshd: Sshd, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    async with connected(sshd, known_hosts=tmp_path / "known_hosts") as hosts:
        with pytest.raises(Refused, match="host key not trusted; nothing was sent"):
            await hosts.look("web-1", NOTHING)


async def test_the_users_own_file_is_read_after_the_projects(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(sshd.config.read_text().replace(f"{sshd.folder}/none", str(sshd.known_hosts)))
    async with connected(sshd, known_hosts=tmp_path / "none", ssh_config=config) as hosts:
        assert (await hosts.look("web-1", NOTHING)).name == "web-1"


async def test_a_config_cannot_turn_the_check_off(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    text = sshd.config.read_text().replace(f"{sshd.folder}/none", "none")
    config.write_text(text + "  StrictHostKeyChecking no\n")
    async with connected(sshd, known_hosts=tmp_path / "none", ssh_config=config) as hosts:
        with pytest.raises(Refused, match="host key not trusted"):
            await hosts.look("web-1", NOTHING)


async def test_a_key_that_the_host_does_not_take_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    (tmp_path / "config").write_text(f"Host *\n  IdentityFile {tmp_path}/key\n  IdentitiesOnly yes\n")
    async with connected(sshd, ssh_config=tmp_path / "config") as hosts:
        with pytest.raises(Refused, match="accepts none of your SSH keys"):
            await hosts.look("web-1", NOTHING)


@asynccontextmanager
async def jump_config(sshd: Sshd, tmp_path: Path) -> AsyncIterator[Path]:
    config = tmp_path / "config"
    common = f"  HostName 127.0.0.1\n  Port {sshd.port}\n  User {address_of(sshd).user}\n"
    config.write_text(f"Host inner\n{common}  ProxyJump gate\nHost gate\n{common}\n{sshd.config.read_text()}")
    yield config


async def test_a_host_behind_another_is_reached_through_it(sshd: Sshd, tmp_path: Path) -> None:
    inner = HostAddress("web-1", "inner")
    async with jump_config(sshd, tmp_path) as config:
        async with connected(sshd, inner, ssh_config=config) as hosts:
            assert (await hosts.look("web-1", NOTHING)).name == "web-1"
            line, _ = await hosts.scan_host_key("web-1")
            assert line in sshd.known_hosts.read_text()
            [session] = hosts._sessions.values()
            assert len(session.connection._jumps) == 1
        async with connected(sshd, inner, ssh_config=config, known_hosts=tmp_path / "none") as hosts:
            with pytest.raises(Refused, match="gate: host key not trusted"):
                await hosts.look("web-1", NOTHING)


async def test_a_host_that_is_not_there_is_unavailable(sshd: Sshd) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        address = HostAddress("web-1", "127.0.0.1", None, door.getsockname()[1])
        async with connected(sshd, address) as hosts:
            with pytest.raises(Unavailable, match=r"web-1 \(127\.0\.0\.1\): ssh: .*refused") as caught:
                await hosts.look("web-1", NOTHING)
    assert caught.value.hint == "celadon check --host web-1"


async def test_a_host_that_says_nothing_is_given_up(sshd: Sshd) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        address = HostAddress("web-1", "127.0.0.1", None, door.getsockname()[1])
        async with connected(sshd, address, connect_within=0.3) as hosts:
            with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
                await hosts.look("web-1", NOTHING)


async def test_an_effect_whose_answer_was_lost_may_have_been_done(sshd: Sshd) -> None:
    async with connected(sshd) as hosts:
        pid = await agent_pid(hosts)
        os.kill(pid, signal.SIGSTOP)
        effect = asyncio.create_task(hosts.raise_fence(Writ("web-1", "lost-effect", 1)))
        look = asyncio.create_task(hosts.look("web-1", NOTHING))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(NoAnswer):
            await effect
        with pytest.raises(Unavailable) as caught:
            await look
        assert not isinstance(caught.value, NoAnswer)
        assert (await hosts.look("web-1", NOTHING)).name == "web-1"
        assert hosts.count_requests["web-1"].connections == 2


async def test_a_silent_link_is_noticed(sshd: Sshd) -> None:
    async with connected(sshd, heartbeat=Heartbeat(every=0.1, silence=0.5)) as hosts:
        pid = await agent_pid(hosts)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="silent"):
                await hosts.look("web-1", NOTHING)
        finally:
            os.kill(pid, signal.SIGKILL)
        assert (await hosts.look("web-1", NOTHING)).name == "web-1"


def test_the_heartbeat_notices_within_15_seconds() -> None:
    usual = Heartbeat()
    assert usual.every + usual.silence + usual.every < 20
    assert usual.silence + usual.every <= 15


class Resetting:
    """A way to a server on which a caller's connection can be reset: a reset is not the end that SSH itself knows."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._caller: asyncio.Transport | None = None

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._caller = writer.transport  # type: ignore[assignment]  # of a socket: it reads, too
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            pass
        finally:
            far_writer.close()

    def reset(self) -> None:
        assert self._caller is not None
        sock = self._caller.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._caller.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class Open(asyncssh.SSHServer):
    """Lets everybody in; what is done when a program is to be started is `then`."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> "asyncssh.SSHServerSession[bytes]":
        return Interrupted(self._then)


class Interrupted(asyncssh.SSHServerSession[bytes]):
    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def exec_requested(self, command: str) -> bool:
        self._then()
        return True


async def test_a_connection_that_is_reset_before_the_agent_answers_is_no_bug(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    relays: list[Resetting] = []
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=lambda: Open(relays[0].reset), server_host_keys=[key])
    relays.append(Resetting(server.get_port()))
    door = await asyncio.start_server(relays[0].carry, "127.0.0.1", 0)
    port = door.sockets[0].getsockname()[1]
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    address = HostAddress("web-1", "127.0.0.1", "root", port)
    try:
        async with SshHosts([address], known_hosts=tmp_path / "known_hosts", home="web-1", ssh_config=None) as hosts:
            with pytest.raises(Unavailable, match=r"web-1 .*lost before the agent started"):
                await hosts.look("web-1", NOTHING)
    finally:
        door.close()
        server.close()
        await server.wait_closed()
