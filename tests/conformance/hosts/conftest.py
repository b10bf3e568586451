"""Hosts that the suite of the port runs on. To add a kind: one async factory, and its name in `HOSTS_UNDER_TEST`."""

import asyncio
import getpass
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import asyncssh
import msgspec
import pytest
from tests.rig.require import program as find
from tests.rig.require import require_programs

from celadon.adapters.host import SshHosts
from celadon.adapters.known_hosts import key_line
from celadon.adapters.memory import MemoryHosts, MemoryStore
from celadon.adapters.ssh import HostAddress
from celadon.core.observed import HostFacts, Probe, Question, SlotFacts, SlotQuestion
from celadon.core.release import Colour, Release, Slot
from celadon.ports import Hosts, Placement, Store, Writ

REPOSITORY = Path(__file__).parents[3]

APP = """
import http.server, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(3)
        if self.path == "/moved":
            self.send_response(302); self.send_header("Location", "/"); self.end_headers(); return
        if self.path == "/slow":
            time.sleep(float(os.environ.get("SLOW", "5")))
        body = (self.headers["Host"] + " " + os.environ.get(self.path[1:], "-")).encode()
        self.send_response(503 if self.path == "/ill" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("hello from", os.environ["APP_VERSION"], flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def tar_of(files: dict[str, str]) -> bytes:
    """The same bytes for the same files, as `git archive` makes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


class Archives:
    """Source archives by their hash, as a deployer would have them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.opened = 0

    def add(self, files: dict[str, str]) -> str:
        data = tar_of(files)
        digest = hashlib.sha256(data).hexdigest()
        (self._folder / digest).write_bytes(data)
        return f"sha256:{digest}"

    async def of(self, release: Release) -> Path:
        self.opened += 1
        return self._folder / release.artifact.removeprefix("sha256:")


class Bench:
    """What a test needs of one kind of host: the ports, a free slot, a release, and what the world does unasked."""

    name = "web-1"

    def __init__(self, hosts: Hosts, app: str, archives: Archives, store: Callable[[], Store]) -> None:
        self.hosts = hosts
        self.app = app
        self.archives = archives
        self.store = store
        # Of a real host, which is this machine in another guise: what is on its disk.
        self.home = Path()
        self.state = Path()

    def slot(self) -> Slot:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            return Slot(self.name, "127.0.0.1", door.getsockname()[1])

    def writ(self, fence: int = 1) -> Writ:
        return Writ(self.name, self.app, fence)

    def release(self, version: str = "v1", **changes: object) -> Release:
        files = {"serve.py": APP}
        release = Release(
            app=self.app,
            version=version,
            artifact=self.archives.add(files),
            runtime="venv",
            command=("python", "serve.py", "{host}", "{port}"),
            stop_timeout=10.0,
        )
        return msgspec.structs.replace(release, **changes)

    def source(self, text: str) -> str:
        return self.archives.add({"serve.py": text})

    @contextmanager
    def occupy(self, slot: Slot) -> Iterator[str]:
        """Somebody else listens there; gives a word by which they can be told."""
        with socket.socket() as door:
            door.bind((slot.address, slot.port))
            door.listen()
            yield f"process {os.getpid()}"

    async def deploy(self, release: Release, slot: Slot, colour: Colour = Colour.BLUE) -> None:
        """Settings, artifact, start, and a first probe that passes."""
        await self.hosts.put_settings(self.writ(), release, {})
        await self.hosts.put_artifact(self.writ(), release)
        await self.hosts.start(self.writ(), Placement(release, slot, colour, 1))
        await self.until(slot, release, lambda facts: facts.probe is not None and facts.probe.ok)

    async def visit(self, slot: Slot, times: int) -> None:
        """Somebody else's requests, each with a connection of its own."""
        for _ in range(times):
            await asyncio.to_thread(_get, slot)

    async def look(
        self, slot: Slot, release: Release | None = None, *, probe: bool = False, path: str = "/"
    ) -> SlotFacts:
        return (await self.look_at_host(slot, release, probe=probe, path=path)).slots[0]

    async def look_at_host(
        self, slot: Slot, release: Release | None = None, *, probe: bool = False, path: str = "/"
    ) -> HostFacts:
        wanted = SlotQuestion(slot, release.id if release else None, probe=probe, count=True)
        return await self.hosts.look(self.name, Question(self.app, (wanted,), Probe(path, "hello.example")))

    async def until(
        self, slot: Slot, release: Release | None, seen: Callable[[SlotFacts], object], *, probe: bool = True
    ) -> SlotFacts:
        async with asyncio.timeout(60):
            while True:
                facts = await self.look(slot, release, probe=probe)
                if seen(facts):
                    return facts
                await asyncio.sleep(0.05)


class Sshd(msgspec.Struct):
    """A real OpenSSH server of our own, with keys of our own."""

    port: int
    folder: Path
    known_hosts: Path
    config: Path  # the client's
    home: Path
    state: Path
    pid: int


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(0.02)
    return False


def _sshd_config(folder: Path, port: int) -> str:
    tools = Path(sys.executable).parent  # uv of this environment
    # How this machine reaches a package index is the environment's to say, here as everywhere.
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
    index = " ".join(f'{name}="{value}"' for name, value in passed_on.items())
    return f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
KexAlgorithms curve25519-sha256
SetEnv HOME={folder}/home PATH={tools}:/usr/local/bin:/usr/bin:/bin {index}
"""


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    require_programs("sshd", package="openssh-server")
    program = str(find("sshd"))
    folder = tmp_path_factory.mktemp("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root refuses to start without it
    host_key, user_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(folder / "host_key")
    (folder / "host_key").chmod(0o600)
    user_key.write_private_key(folder / "user_key")
    (folder / "user_key").chmod(0o600)
    user_key.write_public_key(folder / "authorized_keys")
    (folder / "home").mkdir()
    for _ in range(3):
        port = _free_port()
        (folder / "sshd_config").write_text(_sshd_config(folder, port))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        if _wait_for_port(port, process):
            break
        process.kill()
        process.wait()
    else:
        pytest.fail(f"sshd did not start: {(folder / 'log').read_text()}")
    (folder / "known_hosts").write_text(key_line("127.0.0.1", port, host_key.convert_to_public()) + "\n")
    (folder / "ssh_config").write_text(
        f"Host *\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/none\n"
    )
    yield Sshd(
        port,
        folder,
        folder / "known_hosts",
        folder / "ssh_config",
        folder / "home",
        folder / "home/.local/share/celadon",
        process.pid,
    )
    process.terminate()
    process.wait(10)
    _end_replicas(folder / "home/.local/share/celadon")


def _end_replicas(state: Path) -> None:
    """A failed test must not leave its replicas behind."""
    for file in state.glob("*/replicas/*/state.json"):
        known = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
        for name in ("supervisor", "pid"):
            pid = known.get(name)
            if isinstance(pid, int) and str(state).encode() in _command_line(pid) + _directory(pid):
                os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _directory(pid: int) -> bytes:
    try:
        return os.fsencode(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return b""


def address_of(sshd: Sshd, name: str = "web-1") -> HostAddress:
    return HostAddress(name, "127.0.0.1", getpass.getuser(), sshd.port)


@asynccontextmanager
async def openssh(request: pytest.FixtureRequest, app: str, archives: Archives) -> AsyncIterator[Bench]:
    sshd: Sshd = request.getfixturevalue("sshd")
    async with SshHosts(
        [address_of(sshd)],
        known_hosts=sshd.known_hosts,
        home="web-1",
        ssh_config=sshd.config,
        archive_of=archives.of,
    ) as hosts:
        bench = Bench(hosts, app, archives, lambda: hosts.store(app))
        bench.home, bench.state = sshd.home, sshd.state
        yield bench


def _get(slot: Slot) -> None:
    with urllib.request.urlopen(f"http://{slot.address}:{slot.port}/", timeout=20) as answer:
        assert answer.status == 200


class MemoryBench(Bench):
    async def visit(self, slot: Slot, times: int) -> None:
        assert isinstance(self.hosts, MemoryHosts)
        for replica in self.hosts.machines[self.name].replicas.values():
            if replica.slot == slot and replica.running and replica.opened is not None:
                replica.opened += times

    @contextmanager
    def occupy(self, slot: Slot) -> Iterator[str]:
        assert isinstance(self.hosts, MemoryHosts)
        self.hosts.machines[self.name].foreign[slot.port] = "process 4711"
        yield "process 4711"


@asynccontextmanager
async def memory(request: pytest.FixtureRequest, app: str, archives: Archives) -> AsyncIterator[Bench]:
    del request
    hosts = MemoryHosts(["web-1"])
    store = MemoryStore()
    yield MemoryBench(hosts, app, archives, lambda: store)


Factory = Callable[[pytest.FixtureRequest, str, Archives], AbstractAsyncContextManager[Bench]]
HOSTS_UNDER_TEST: dict[str, Factory] = {"memory": memory, "openssh": openssh}


@pytest.fixture
def app(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test: state on one host is kept by app."""
    return "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return Archives(tmp_path)


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "memory" else pytest.mark.slow) for name in sorted(HOSTS_UNDER_TEST)]
)
async def bench(request: pytest.FixtureRequest, app: str, archives: Archives) -> AsyncIterator[Bench]:
    async with HOSTS_UNDER_TEST[request.param](request, app, archives) as made:
        yield made
