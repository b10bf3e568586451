"""Real hosts on one machine: each with namespaces, an OpenSSH server and a Docker Engine of its own.

They are joined by a bridge inside one closed network namespace, the lab, which has no way out. Their addresses are as
a Linode's private ones and mean nothing outside: **never dial them from the machine's own namespace**, where packets
would leave by its uplink. Whoever must reach a host runs inside the lab (`Lab.enter`, `processes.in_namespace`).

Each host is a process-id namespace, so one SIGKILL ends everything in it, and its mounts and network end with it.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from tests.rig.docker import remove_cgroups, require_docker
from tests.rig.processes import children, ends_with_us, in_namespace, stop
from tests.rig.registry import Registry
from tests.rig.require import program, require_programs

from celadon.agent.engine import Engine, EngineError
from celadon.agent.errors import AgentError

NAME = "celadon-lab-"
GATEWAY = "192.168.128.1"
NETWORK = "192.168.128.0/17"
LONGEST_START = 60.0
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class DockerHost(NamedTuple):
    """How to reach one host, from inside the lab."""

    name: str
    address: str  # private; SSH listens there too
    port: int
    user: str
    key: Path  # of the client, ed25519
    known_hosts_line: str
    inside: tuple[str, ...]  # argv prefix: run a program on the host itself, without SSH
    engine: Engine  # of the host's Docker, from outside

    def restart_engine(self) -> None:
        """As an upgrade of Docker does: its containers are stopped, and come back with it. Returns when it answers."""
        self.key.with_name(self.name).joinpath("restarts").touch()
        before = self._engine_pid()
        os.kill(before, signal.SIGTERM)
        _await(lambda: not Path(f"/proc/{before}").exists())
        _await(lambda: _answers(self.engine))

    def _engine_pid(self) -> int:
        """As it is seen from outside."""
        its = children(int(self.inside[2]))
        return next(pid for pid in its if Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd")

    def kill(self) -> None:
        """Pull its plug: everything on it ends at once."""
        os.kill(int(self.inside[2]), signal.SIGKILL)


class Lab:
    """The closed network with its hosts, and a registry at `registry_address` inside it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir="/tmp"))
        self.hosts: list[DockerHost] = []
        self.registry_address = ""
        self._machines: list[subprocess.Popen[bytes]] = []
        self._network = subprocess.Popen(
            ends_with_us(["unshare", "--net", "sleep", "infinity"], "KILL"), start_new_session=True
        )

    @property
    def enter(self) -> tuple[str, ...]:
        """argv prefix: run a program (the deployer, a balancer, a client) where the hosts can be reached."""
        return ("nsenter", f"--net=/proc/{self._network.pid}/ns/net", "--")

    def inside(self, work: Callable[[], socket.socket]) -> socket.socket:
        """A socket made inside the lab, for use out here."""
        return in_namespace(self._network.pid, work)

    def serve_on_loopback(self, registry: Registry) -> str:
        """A door to the registry on 127.0.0.1 of the lab and of each host, at one port: its `127.0.0.1:port`.

        Whoever asks a registry without TLS, Docker as Celadon, does so on loopback only.
        """
        door = self.inside(lambda: _bound("127.0.0.1", 0))
        port = int(door.getsockname()[1])
        registry.listen(door)
        for host in self.hosts:
            registry.listen(in_namespace(int(host.inside[2]), lambda: _bound("127.0.0.1", port)))
        return f"127.0.0.1:{port}"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For `CELADON_SSH_CONFIG` and `ssh -F`: each host by its name."""
        return self.folder / "ssh_config"

    def open(self, count: int, registry: Registry) -> None:
        self._await_namespace()
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "lab0", "type", "bridge")
        self._ip("addr", "add", f"{GATEWAY}/17", "dev", "lab0")
        self._ip("link", "set", "lab0", "up")
        self.registry_address = registry.listen(self.inside(lambda: _bound(GATEWAY, 0)))
        _keygen(self.folder / "id_ed25519")
        with ThreadPoolExecutor(count) as pool:  # threads wait only: who starts a machine must outlive it
            machines = [self._start(number) for number in range(1, count + 1)]
            self.hosts = list(pool.map(self._await_host, machines))
        self.known_hosts.write_text("".join(host.known_hosts_line for host in self.hosts))
        self.ssh_config.write_text("".join(self._ssh_entry(host) for host in self.hosts))

    def _start(self, number: int) -> tuple[str, str, int]:
        name, address = f"web-{number}", f"192.168.128.{10 + number}"
        folder = self.folder / name
        folder.mkdir()
        (folder / "root" / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(self.folder / "id_ed25519.pub", folder / "root" / ".ssh" / "authorized_keys")
        _keygen(folder / "host_key")
        (folder / "sshd_config").write_text(_sshd_config(folder, address))
        (folder / "daemon.json").write_text(json.dumps({"insecure-registries": [NETWORK]}))
        settings = {"folder": str(folder), "name": name, "path": HOST_PATH, "services": _services(folder)}
        (folder / "settings.json").write_text(json.dumps(settings))
        command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--propagation", "private"]
        command += ["--net", "--uts", "--ipc", sys.executable, str(Path(__file__).with_name("host_init.py"))]
        with (folder / "log").open("ab") as log:
            machine = subprocess.Popen(
                ends_with_us([*command, folder / "settings.json"], "KILL"),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._machines.append(machine)
        pid = self._first_child(machine.pid)
        try:
            self._ip("link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        except AssertionError as error:
            said = (folder / "log").read_text(errors="replace")[-3000:]
            raise AssertionError(f"{error}\n{name} ({pid}), exit {machine.poll()}: {said}") from None
        self._ip("link", "set", f"h{number}", "master", "lab0", "up")
        _run("nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "addr", "add", f"{address}/17", "dev", "eth0")
        _run("nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "link", "set", "eth0", "up")
        _run("nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "link", "set", "lo", "up")
        assert machine.stdin is not None
        machine.stdin.write(b"go\n")
        machine.stdin.close()
        return name, address, pid

    def _await_host(self, machine: tuple[str, str, int]) -> DockerHost:
        name, address, pid = machine
        folder = self.folder / name
        engine = Engine(str(folder / "docker.sock"))
        deadline = time.monotonic() + LONGEST_START
        while not (_answers(engine) and self._has_ssh(address)):
            if time.monotonic() > deadline or not Path(f"/proc/{pid}").exists():
                log = (folder / "log").read_text(errors="replace")[-3000:]
                pytest.fail(f"{name} did not start:\n{log}", pytrace=False)
            time.sleep(0.05)
        public = (folder / "host_key.pub").read_text().split()
        line = f"{address} {public[0]} {public[1]}\n"
        inside = ("nsenter", "--target", str(pid), "--all", "--")
        return DockerHost(name, address, 22, "root", self.folder / "id_ed25519", line, inside, engine)

    def _has_ssh(self, address: str) -> bool:
        try:
            with self.inside(lambda: socket.create_connection((address, 22), timeout=5)) as line:
                return line.recv(4) == b"SSH-"
        except OSError:
            return False

    def _await_namespace(self) -> None:
        """The namespace is there when it is not ours any more."""
        ours = Path("/proc/self/ns/net").readlink()
        _await(lambda: Path(f"/proc/{self._network.pid}/ns/net").readlink() != ours)

    def _first_child(self, pid: int) -> int:
        _await(lambda: bool(children(pid)))
        return children(pid)[0]

    def _ip(self, *arguments: str) -> None:
        _run(*self.enter, program("ip") or "ip", *arguments)

    def _ssh_entry(self, host: DockerHost) -> str:
        return (
            f"Host {host.name}\n  HostName {host.address}\n  User {host.user}\n  IdentityFile {host.key}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
        )

    def close(self) -> None:
        inits = [pid for machine in self._machines if machine.poll() is None for pid in children(machine.pid)]
        for machine in self._machines:
            stop(machine, signal.SIGKILL, patience=20.0)  # its pid namespace dies with it
        _await(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inits))
        stop(self._network, signal.SIGKILL, patience=20.0)
        remove_cgroups(self.folder.name)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _await(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_START
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _answers(engine: Engine) -> bool:
    try:
        engine.get("/info")
    except (AgentError, EngineError):
        return False
    return True


def _bound(address: str, port: int) -> socket.socket:
    door = socket.socket()
    door.bind((address, port))
    return door


def _keygen(path: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "celadon-test", "-f", str(path))


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"


def _services(folder: Path) -> list[list[str]]:
    """The Engine listens at its usual place, and in the folder for those outside."""
    sshd = [program("sshd") or "sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    dockerd = [program("dockerd") or "dockerd", "--config-file", str(folder / "daemon.json")]
    dockerd += ["--data-root", str(folder / "docker"), "--log-level", "warn"]
    dockerd += ["--host", "unix:///run/docker.sock", "--host", f"unix://{folder}/docker.sock"]
    dockerd += [
        "--exec-opt",
        "native.cgroupdriver=cgroupfs",
        "--cgroup-parent",
        f"/{folder.parent.name}/{folder.name}",
    ]
    return [sshd, dockerd]


def _sshd_config(folder: Path, address: str) -> str:
    """Key exchange by curve25519: the default, a post-quantum one, takes 120 ms more of CPU a connection here."""
    return (
        f"ListenAddress {address}\nPort 22\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "KexAlgorithms curve25519-sha256\nAuthorizedKeysFile .ssh/authorized_keys\nSubsystem sftp internal-sftp\n"
        "AcceptEnv LANG\nPrintMotd no\nUseDNS no\nMaxSessions 50\n"
    )


def sweep() -> None:
    """What a killed session left: its processes ended with it, folders and empty cgroups did not."""
    for folder in Path("/tmp").glob(f"{NAME}*"):
        if not Path(f"/proc/{folder.name.removeprefix(NAME).split('-')[0]}").exists():
            with contextlib.suppress(OSError):  # another session may be sweeping, too
                remove_cgroups(folder.name)
            shutil.rmtree(folder, ignore_errors=True)


def require_hosts() -> None:
    """Before a `Lab` is made by hand. Also takes away what killed sessions left."""
    require_docker()
    require_programs("sshd", package="openssh-server")
    require_programs("ssh-keygen", package="openssh-client")
    require_programs("nsenter", package="util-linux")
    sweep()


@pytest.fixture(scope="session")
def docker_hosts(registry: Registry) -> Iterator[Callable[[int], Lab]]:
    """`docker_hosts(2)`: a lab of so many hosts, started once a session and worker for each count asked."""
    require_hosts()
    labs: dict[int, Lab] = {}
    with contextlib.ExitStack() as stack:

        def hosts(count: int) -> Lab:
            if count not in labs:
                lab = stack.enter_context(Lab())
                lab.open(count, registry)
                labs[count] = lab
            return labs[count]

        yield hosts
