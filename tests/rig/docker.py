"""A Docker Engine of the test session's own, from the machine's `docker.io`: never the system's service.

It keeps out of everybody's way: own folders and sockets, an own bridge on a network nobody routes, no packet filter
rules (published ports are carried by `docker-proxy`), mounts in a namespace that ends with it. It is stopped by pid.
"""

import contextlib
import ipaddress
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.rig.app_images import AppImages
from tests.rig.processes import ends_with_us, stop
from tests.rig.registry import Registry
from tests.rig.require import program, require, require_programs, require_root

from celadon.agent.engine import Engine, EngineError
from celadon.agent.errors import AgentError

NAME = "celadon-rig-"
QUIET_NETWORK = "198.18.0.0/15"  # RFC 2544: for measurements on isolated networks; nobody routes it
LONGEST_START = 60.0


class OwnEngine:
    """One dockerd with its containerd. `restart` is what a host's reboot or an upgrade of Docker does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir="/tmp"))
        self.socket = self.folder / "docker.sock"
        self.engine = Engine(str(self.socket))
        self.cgroup = self.folder.name
        self._bridge = Bridge(f"cel{os.getpid()}{self.folder.name[-3:]}"[:15])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `DOCKER_HOST`."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        (self.folder / "daemon.json").write_text("{}")  # the machine's own settings are not ours
        command = [
            "unshare", "--mount", "--propagation", "private",
            program("dockerd") or "dockerd", "--config-file", self.folder / "daemon.json",
            "--data-root", self.folder / "data", "--exec-root", self.folder / "exec",
            "--pidfile", self.folder / "docker.pid", "--host", self.url, "--bridge", self._bridge.name,
            "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--shutdown-timeout", "5",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.cgroup}", "--log-level", "warn",
        ]  # fmt: skip
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(ends_with_us(command), stdout=log, stderr=log, start_new_session=True)
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + LONGEST_START
        while True:
            try:
                self.engine.get("/info")
            except AgentError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "dockerd.log").read_text(errors="replace")[-3000:]
                    pytest.fail(f"dockerd did not start:\n{log}", pytrace=False)
                time.sleep(0.05)
            else:
                return

    def containers(self) -> list[str]:
        return [entry["Id"] for entry in self.engine.get("/containers/json", {"all": "1"})]

    def docker(self, *arguments: str) -> str:
        """What a user types: the `docker` command, with settings of its own. Returns what it printed."""
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": self.url, "DOCKER_CONFIG": str(self.folder / "cli")}
        command = [program("docker") or "docker", *arguments]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"docker {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Ends the daemon as systemd does (its containers end with it), and starts it again."""
        self._stop_daemon(signal.SIGTERM)
        meanwhile()
        self.start()

    def _stop_daemon(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop(self._process, how, patience=30.0)

    def close(self) -> None:
        with contextlib.suppress(AgentError):  # a dead Engine has none
            for container in self.containers():
                with contextlib.suppress(EngineError):  # one that a test is just removing
                    self.engine.delete(f"/containers/{container}", {"force": "1", "v": "1"})
        self._stop_daemon(signal.SIGTERM)
        self._bridge.close()
        remove_cgroups(self.cgroup)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        self._bridge.open()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bridge:
    """A network bridge with a name and a subnet of its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None:
        _ip("link", "add", self.name, "type", "bridge")
        _ip("addr", "add", f"{_free_subnet()[1]}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def close(self) -> None:
        _ip("link", "del", self.name)


def _ip(*arguments: str) -> None:
    subprocess.run([program("ip") or "ip", *arguments], check=True, capture_output=True, timeout=20)


def _free_subnet() -> ipaddress.IPv4Network:
    """Two workers start at different ends, by their process ids."""
    subnets = list(ipaddress.IPv4Network(QUIET_NETWORK).subnets(new_prefix=24))
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    taken = {ipaddress.ip_address(bytes.fromhex(line.split()[1])[::-1]) for line in routes}
    for offset in range(len(subnets)):
        subnet = subnets[(os.getpid() * 7 + offset) % len(subnets)]
        if subnet.network_address not in taken:
            return subnet
    raise AssertionError("no free subnet")


def remove_cgroups(name: str) -> None:
    """Docker leaves the parent folder of its containers' groups behind, in each hierarchy."""
    top = Path("/sys/fs/cgroup")
    for parent in (top / name, *top.glob(f"*/{name}")):
        for folder in sorted(parent.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
            folder.rmdir()
        with contextlib.suppress(FileNotFoundError):
            parent.rmdir()


def sweep() -> None:
    """What a killed session left: its dockerd ended with it, folders and bridges did not."""
    for folder in Path("/tmp").glob(f"{NAME}*"):
        owner = folder.name.removeprefix(NAME).split("-")[0]
        if Path(f"/proc/{owner}").exists():
            continue
        for bridge in Path("/sys/class/net").glob(f"cel{owner}*"):
            subprocess.run([program("ip") or "ip", "link", "del", bridge.name], check=False, timeout=20)
        remove_cgroups(folder.name)
        shutil.rmtree(folder, ignore_errors=True)  # another session may be sweeping, too


def require_docker() -> None:
    require_root("an own Docker Engine")
    require_programs("docker", "dockerd", "containerd", "docker-proxy", package="docker.io")
    require_programs("ip", package="iproute2")
    require_programs("unshare", "setpriv", package="util-linux")
    require(Path("/proc/self/ns/net").exists(), "network namespaces")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[OwnEngine]:
    """This worker's Engine. Tests share it: each names its apps and ports apart."""
    require_docker()
    sweep()
    with OwnEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture(scope="session")
def registry_address(registry: Registry) -> str:
    """`127.0.0.1:port`: Docker trusts loopback without TLS."""
    return registry.listen_on_loopback()


@pytest.fixture(scope="session")
def app_images(registry: Registry) -> AppImages:
    return AppImages(registry)
