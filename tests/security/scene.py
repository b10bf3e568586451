"""Where the hostile meet the deployer: a project whose hosts and whose API are ours to play."""

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.security.deployer import Deployer, Told, deployer
from tests.security.hostile_api import HostileApi, hostile_api
from tests.security.hostile_host import ADDRESSES, HostileHost, hostile_host

CONFIG = """\
app = "shop"
image = "registry.invalid/acme/shop"
port = 5000
[health]
path = "/"
timeout = "1s"
[hosts]
blue = [{{ ssh = "{blue}:{port}", private = "192.168.130.11" }}]
green = [{{ ssh = "{green}:{port}", private = "192.168.130.21" }}]
[balancer]
nodebalancer = "app-nodebalancer"
{more}
"""
MIB = 96  # that one command may grow by, whatever it is told: a few of the largest frames and pages, decoded


@dataclass
class Scene:
    folder: Path
    host: HostileHost
    api: HostileApi
    deployer: Deployer
    canary: Path

    def reset(self) -> None:
        self.host.reset()
        self.api.reset()
        self.before = self.files()

    def unharmed(self, told: Told, what: str, *, most: float = MIB) -> None:
        """It ended with an answer to a person, no code of theirs ran, nothing was written, memory stayed small."""
        assert told.exit in range(5), f"{what}: exit {told.exit}\n{told.err[-2000:]}"
        assert "bug in Celadon (" not in told.err, f"{what}: a crash\n{told.err[-2000:]}\n{self.crash()}"
        assert not self.canary.exists(), f"{what}: the canary is there"
        assert told.grown < most, f"{what}: grew by {told.grown:.0f} MiB"
        assert self.files() == self.before, f"{what}: wrote {self.files() ^ self.before}"

    def crash(self) -> str:
        return "\n".join(path.read_text() for path in (self.folder / "home").rglob("crash-*.txt"))

    def files(self) -> frozenset[str]:
        """Whatever is in the project, in the user's home and where temporary files go."""
        return frozenset(str(path) for name in ("project", "home", "tmp") for path in (self.folder / name).rglob("*"))

    def __post_init__(self) -> None:
        self.before = self.files()


@asynccontextmanager
async def scene(folder: Path, more: str = "") -> AsyncIterator[Scene]:
    project, home, tmp = folder / "project", folder / "home", folder / "tmp"
    for each in (project / ".celadon", home, tmp):
        each.mkdir(parents=True)
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(hostile_host(folder / "ssh"))
        api = await stack.enter_async_context(hostile_api())
        blue, green = ADDRESSES
        (project / "celadon.toml").write_text(CONFIG.format(blue=blue, green=green, port=host.port, more=more))
        (project / ".celadon" / "known_hosts").write_text((folder / "ssh" / "known_hosts").read_text())
        environ = {
            "HOME": str(home), "PATH": os.environ["PATH"], "USER": "me", "CELADON_PACE": "lab",
            "LINODE_URL": api.url, "LINODE_TOKEN": "sentinel-token",
            "CELADON_SSH_CONFIG": str(folder / "ssh" / "ssh_config"),
        }  # fmt: skip
        running = await stack.enter_async_context(deployer(project, environ, tmp))
        yield Scene(folder, host, api, running, folder / "canary")
