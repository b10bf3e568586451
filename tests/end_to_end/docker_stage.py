"""A stage for the docker runtime: real hosts, the lab's API and NodeBalancer among them, `celadon` as a user runs it.

Nothing here decides or judges. Everything that talks to the hosts' network runs inside it.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.rig.app_images import AppImages, Variant
from tests.rig.netns_hosts import GATEWAY, DockerHost, Lab

from celadon.cli.stage import Ran
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess

ROOT = Path(__file__).parents[2]
CONFIG = """\
app = "{app}"
image = "{image}"
port = 8000

[health]
path = "/"

[env]
clear = {{ APP_ENV = "test" }}
secret = ["SECRET_KEY"]

[hosts]
blue = [{hosts}]
green = [{hosts}]
ports = {{ blue = {blue}, green = {green} }}

[balancer]
nodebalancer = "app-nodebalancer"

[verify]
rate = 10
contains = '"version": "{{version}}"'
"""


class DockerStage:
    """One app on the hosts. `ports`: of the blue and the green slots; every host has one of each."""

    health = "/"  # what the balancer asks a node for

    def __init__(
        self, lab: Lab, images: AppImages, registry: str, folder: Path, app: str, ports: tuple[int, int]
    ) -> None:
        self.lab = lab
        self.app = app
        self.blue, self.green = ports
        self.project = folder / app
        self.secret = f"sentinel-of-{app}"
        self._folder = folder
        self._images = images
        self._image = f"{registry}/{app}"
        self._api = self._token = self._path = ""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DockerStage"]:
        process = await asyncio.create_subprocess_exec(
            *self.lab.enter, sys.executable, "-m", "tests.end_to_end.network_lab", str(self._folder / "lab"),
            f"{GATEWAY}/17",
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            facts = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            self._api, self._token = facts["url"], facts["token"]
            self._furnish()
            yield self
        finally:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 30)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def _furnish(self) -> None:
        balancer = self.call("POST", "/v4/nodebalancers", {"label": "app-nodebalancer", "region": "us-ord"})
        self._path = f"/v4/nodebalancers/{balancer['id']}/configs"
        check: dict[str, Any] = {"check": "http", "check_path": self.health, "check_interval": 2, "check_timeout": 1}
        check["check_attempts"] = 2
        self._path += "/{}/nodes".format(
            self.call("POST", self._path, {"port": 80, "protocol": "http", "check_passive": False, **check})["id"]
        )
        door = self.call("GET", f"/lab/balancers/{balancer['id']}")["listeners"][0]
        self.url = f"http://{door['host']}:{door['bound_port']}"
        (self.project / ".celadon").mkdir(parents=True)
        (self.project / ".celadon" / "known_hosts").write_text(self.lab.known_hosts.read_text())
        hosts = ", ".join(f'{{ ssh = "{host.name}", private = "{host.address}" }}' for host in self.lab.hosts)
        config = CONFIG.format(app=self.app, image=self._image, hosts=hosts, blue=self.blue, green=self.green)
        (self.project / "celadon.toml").write_text(config)

    def release(self, version: str, variant: Variant = "good") -> str:
        """Push a version; returns its reference by digest."""
        return f"{self._image}@{self._images.publish(self.app, version, variant=variant)}"

    @property
    def environ(self) -> dict[str, str]:
        """What a deployer needs to be told."""
        return {
            "LINODE_URL": self._api,
            "LINODE_TOKEN": self._token,
            "CELADON_SSH_CONFIG": str(self.lab.ssh_config),
            "CELADON_PACE": "lab",
            "SECRET_KEY": self.secret,
        }

    async def celadon(self, *words: str, within: float = 300.0) -> Ran:
        environ = os.environ | self.environ
        process = await asyncio.create_subprocess_exec(
            *self.lab.enter, sys.executable, "-m", "celadon", *words,
            cwd=self.project, env=environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), within)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"celadon {' '.join(words)} did not end within {within:g} s") from None
        return Ran(process.returncode or 0, out.decode(), err.decode())

    @asynccontextmanager
    async def load(self, rate: float) -> AsyncIterator[LoadProcess]:
        plan = Plan(url=self.url, rate=rate, seconds=600, mix={"new": 80, "keep": 16, "slow": 4}, slow=(1.0, 3.0))
        load = await LoadProcess.start(plan, enter=self.lab.enter)
        try:
            yield load
        finally:
            await load.kill()

    # The balancer.

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The lab's API, from outside its network."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        status, content = self._ask(self._api, method, path, headers, None if body is None else json.dumps(body))
        assert status == 200, content
        return json.loads(content)

    def page(self) -> dict[str, Any]:
        """What a user sees."""
        status, content = self._ask(self.url, "GET", "/", {}, None)
        assert status == 200, content
        found: dict[str, Any] = json.loads(content)
        return found

    def add_node(self, host: DockerHost, port: int, mode: str) -> None:
        node = {"label": host.name, "address": f"{host.address}:{port}", "mode": mode, "weight": 100}
        self.call("POST", self._path, node)

    def modes(self) -> dict[str, str]:
        """By address. Every node there is, with the mode it has."""
        return {node["address"]: node["mode"] for node in self.call("GET", self._path)["data"]}

    def all_up(self) -> bool:
        return all(node["status"] == "UP" for node in self.call("GET", self._path)["data"])

    def slots(self, port: int) -> set[str]:
        return {f"{host.address}:{port}" for host in self.lab.hosts}

    def _ask(self, url: str, method: str, path: str, headers: Mapping[str, str], body: str | None) -> tuple[int, bytes]:
        where = urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        address = (where.hostname, where.port)
        connection = http.client.HTTPConnection(*address)
        connection.sock = self.lab.inside(lambda: socket.create_connection(address, timeout=20))
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()

    # The hosts.

    def containers(self, host: DockerHost) -> dict[str, Any]:
        """Whatever publishes this app's ports, or carries its labels, by name: as `docker inspect` shows it."""
        found = [host.engine.get(f"/containers/{one['Id']}/json") for one in self._listed(host)]
        return {each["Name"].lstrip("/"): each for each in found}

    def _listed(self, host: DockerHost) -> Iterator[Any]:
        filters = json.dumps({"label": [f"celadon.app={self.app}"]})
        yield from host.engine.get("/containers/json", {"all": "1", "filters": filters})

    def secret_files(self, host: DockerHost) -> list[tuple[str, int]]:
        """Files on a host's disk that hold the secret, with their permissions."""
        root = self.lab.folder / host.name / "var" / "lib" / "celadon"
        files = [path for path in root.rglob("*") if path.is_file()]
        return [
            (path.name, stat.S_IMODE(path.stat().st_mode))
            for path in files
            if self.secret.encode() in path.read_bytes()
        ]


@contextlib.contextmanager
def command_lines(secret: str) -> Iterator[Sequence[str]]:
    """Every command line of this machine, the hosts' too, that holds the secret while the block runs."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):  # it has ended
                    if secret.encode() in (line := entry.read_bytes()):
                        seen.append(line.decode(errors="replace"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
