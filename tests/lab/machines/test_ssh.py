"""What an instance's SSH server does for its clients."""

import asyncio
import hashlib
import socket

import asyncssh
import pytest
from tests.lab.machines.conftest import Site, alive
from tests.lab.waiting import until

from celadon.core.errors import Refused
from celadon.lab.machines import LoopbackMachines
from celadon.lab.parts import Machine


async def openssh(site: Site, number: int, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    child = await asyncio.create_subprocess_exec(
        "ssh", "-F", "none", "-i", str(site.key_file), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={site.known_hosts()}", "-o", "StrictHostKeyChecking=yes",
        "-p", str(site.machines.ssh_port(number)), *arguments,
        stdin=-1, stdout=-1, stderr=-1,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await child.communicate(stdin)
    return child.returncode or 0, out, err


async def test_the_openssh_client_runs_commands(site: Site) -> None:
    machine = await site.add(1)
    there = f"root@{machine.address}"
    code, out, err = await openssh(site, 1, there, "cat; echo oops >&2; exit 7", stdin=b"in\0put")
    assert (code, out, err) == (7, b"in\0put", b"oops\n")
    assert (await openssh(site, 1, there, "kill -KILL $$"))[0] == 255
    assert await openssh(site, 1, "-T", there, stdin=b"echo from a shell\n") == (0, b"from a shell\n", b"")


async def test_a_terminal_for_people(site: Site) -> None:
    machine = await site.add(1)
    there = f"root@{machine.address}"
    command = "test -t 0 && stty size; read word; echo got $word >/dev/tty; exit 3"
    code, out, _ = await openssh(site, 1, "-tt", there, command, stdin=b"hello\n")
    assert code == 3
    assert b"got hello\r\n" in out, "a controlling terminal"
    async with await site.connect(1) as connection, asyncio.timeout(30):
        shell = await connection.create_process(term_type="xterm", term_size=(91, 33))
        shell.stdin.write("stty size; echo $TERM; tty\n")
        seen = await shell.stdout.readuntil("/dev/pts/")
        assert "33 91" in seen
        assert "xterm" in seen
        shell.change_terminal_size(50, 20)
        shell.stdin.write("stty size; sleep 1000\n")
        await shell.stdout.readuntil("20 50")
        shell.stdin.write("\x03sleep 1000 &\nexit 6\n")  # Ctrl-C
        assert (await shell.wait()).exit_status == 6


async def test_a_closed_terminal_hangs_up(site: Site) -> None:
    await site.add(1)
    connection = await site.connect(1)
    shell = await connection.create_process("echo $$ > pid; echo ready; sleep 1000", term_type="xterm")
    await shell.stdout.readuntil("ready")
    pid = int((site.home(1) / "pid").read_text())
    connection.abort()
    await until(lambda: not alive(pid), "the command got SIGHUP")


async def test_openssh_jumps_from_one_instance_to_another(site: Site) -> None:
    first, second = await site.add(1), await site.add(2)
    config = site.root / "config"
    config.write_text(
        f"Host *\n User root\n IdentityFile {site.key_file}\n IdentitiesOnly yes\n BatchMode yes\n"
        f" UserKnownHostsFile {site.known_hosts()}\n StrictHostKeyChecking yes\n"
        f"Host jump\n HostName {first.address}\n Port {site.machines.ssh_port(1)}\n"
        f"Host {second.address}\n Port {site.machines.ssh_port(2)}\n ProxyJump jump\n"
    )
    child = await asyncio.create_subprocess_exec(
        "ssh", "-F", str(config), second.address, "cat .config/celadon/bind", stdout=-1, stderr=-1, stdin=-3
    )
    async with asyncio.timeout(60):
        out, err = await child.communicate()
    assert out.decode() == f"192.168.128.2 {second.address}\n", err


async def test_nothing_is_lost_in_either_direction(site: Site) -> None:
    await site.add(1)
    sent = hashlib.sha256(str(site.root).encode()).digest() * 100_000
    echoed = await site.run(1, "tee /dev/stderr", input=sent, encoding=None)
    assert echoed.stdout == sent
    assert echoed.stderr == sent
    # The end of the output is on its way while the command is gone already.
    for _ in range(5):
        result = await site.run(1, "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 5", encoding=None)
        assert (len(result.stdout or b""), len(result.stderr or b""), result.exit_status) == (300000, 300000, 5)


async def test_only_the_accounts_keys_open_it(site: Site) -> None:
    await site.add(1)
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await site.connect(1, client_keys=[stranger])
    with pytest.raises(asyncssh.PermissionDenied):
        await site.connect(1, client_keys=None, password="sesame")
    with (site.home(1) / ".ssh" / "authorized_keys").open("a") as keys:
        keys.write(stranger.export_public_key().decode())
    async with await site.connect(1, client_keys=[stranger]) as connection:
        assert (await connection.run("echo in")).stdout == "in\n"


async def test_the_environment_is_clean_and_its_own(site: Site) -> None:
    await site.add(1)
    lines = str((await site.run(1, "env; pwd; command -v python; command -v uv")).stdout).splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    home = site.home(1)
    assert seen["HOME"] == str(home)
    assert str(home) in lines, "commands start in the home"
    assert seen["TMPDIR"].startswith(str(home / "tmp"))
    assert (home / "tmp").is_dir()
    assert seen["PIP_INDEX_URL"] == "http://127.0.0.1:9/"
    assert "API_TOKEN" not in seen
    assert "DOCKER_HOST" not in seen
    assert [line.rpartition("/")[2] for line in lines[-2:]] == ["python", "uv"]


async def test_signals_reach_the_command_and_its_own_are_reported(site: Site) -> None:
    await site.add(1)
    async with asyncio.timeout(60), await site.connect(1) as connection:
        process = await connection.create_process(
            "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
        )
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("TERM")
        done = await process.wait()
        assert (done.stdout, done.exit_status) == ("got\n", 4)
        killed = await connection.run("kill -TERM $$")
        assert killed.exit_signal is not None
        assert killed.exit_signal[0] == "TERM"


async def test_a_command_whose_client_left_sees_the_end_of_its_input(site: Site) -> None:
    await site.add(1)
    connection = await site.connect(1)
    process = await connection.create_process("cat; echo ended > ended; cat")
    process.stdin.write("x")
    await process.stdout.read(1)
    connection.abort()
    await until((site.home(1) / "ended").exists, "the command saw it")


async def test_tunnels_lead_to_instances_and_nowhere_else(site: Site) -> None:
    machine = await site.add(1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    slot = await asyncio.start_server(answer, machine.address, 0)
    port = slot.sockets[0].getsockname()[1]
    socket_path = site.home(1) / "s"
    unix = await asyncio.start_unix_server(answer, socket_path)
    async with slot, unix, await site.connect(1) as connection:
        for host in (machine.address, machine.private_address):
            reader, writer = await connection.open_connection(host, port)
            writer.write(b"hello\n")
            assert await reader.read() == b"HELLO\n"
        reader, writer = await connection.open_unix_connection(str(socket_path))
        writer.write(b"unix\n")
        assert await reader.read() == b"UNIX\n"
        for host in ("192.0.2.1", "127.0.0.1"):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection(host, port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection(str(site.root / "elsewhere"))


async def test_reverse_forwards_listen_on_the_instance_only(site: Site) -> None:
    await site.add(1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"from the deployer\n")
        writer.close()

    registry = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with registry, await site.connect(1) as connection:
        listener = await connection.forward_remote_port(
            "127.0.0.1", 0, "127.0.0.1", registry.sockets[0].getsockname()[1]
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        assert await reader.readline() == b"from the deployer\n"
        writer.close()
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("0.0.0.0", 0, "127.0.0.1", 1)


async def test_port_2222_or_another_and_the_same_after_a_restart(site: Site) -> None:
    first = await site.add(1)
    assert site.machines.ssh_port(1) == 2222
    key = site.machines.host_key(1)
    with socket.socket() as taken:
        address = first.address.rpartition(".")[0] + ".250"
        taken.bind((address, 2222))
        other = Machine(2, "web-2", address, "", first.authorized_keys)
        await site.machines.create(other)
    port = site.machines.ssh_port(2)
    assert port != 2222
    await site.machines.close()
    site.machines = site.make()
    for machine in (first, other):
        await site.machines.create(machine)
    assert (site.machines.ssh_port(1), site.machines.ssh_port(2)) == (2222, port)
    assert site.machines.host_key(1) == key
    assert site.machines.host_key(2) != key
    assert not (site.home(2) / ".config" / "celadon" / "bind").exists(), "no private address, nothing to translate"


async def test_only_loopback(site: Site) -> None:
    with pytest.raises(Refused, match="loopback"):
        await site.machines.create(Machine(1, "web-1", "192.0.2.1", "", ()))
    with pytest.raises(Refused, match="no machine"):
        await LoopbackMachines(site.paths, environ=site.environ).boot(99)
