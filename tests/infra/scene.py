"""A project with Terraform's folder on a lab: `celadon` run as a user would, on the real Terraform and the stand-in."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from tests.infra.rig import StandIn, Terraform, Tools, terraform_environ

from celadon.cli.stage import COMMAND, GIT, Ran, ended
from celadon.lab.background import down, up
from celadon.lab.broken import APP, WELL
from celadon.lab.lab import LabFacts

VERIFY = """\
[verify]
path = "/"
rate = 20
contains = "Version: {version}!"
"""
WITHIN = 240.0


class Scene(msgspec.Struct, frozen=True):
    lab: LabFacts
    project: Path
    environ: Mapping[str, str]
    terraform: Terraform

    @property
    def infra(self) -> Path:
        return self.project / "infra"

    async def celadon(self, *words: str, environ: Mapping[str, str] | None = None) -> Ran:
        process = await self.start(*words, environ=environ)
        return await ended(process, f"celadon {' '.join(words)}", WITHIN)

    async def start(self, *words: str, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "celadon", *words, cwd=self.project, env={**self.environ, **(environ or {})},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )  # fmt: skip

    async def good(self, *words: str, exit_code: int = 0) -> Ran:
        ran = await self.celadon(*words)
        assert ran.exit == exit_code, f"celadon {' '.join(words)}: exit {ran.exit}\n{ran.out}\n{ran.err[-5000:]}"
        return ran

    async def release(self, version: str) -> None:
        (self.project / "VERSION").write_text(f"{version}\n")
        for words in (("add", "-A"), ("commit", "-q", "-m", version), ("tag", version)):
            await self._git(*words)

    async def git(self, *words: str) -> None:
        await self._git(*words)

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.lab.token}"}
        async with (
            aiohttp.ClientSession(self.lab.url, headers=headers, trust_env=False) as session,
            session.request(method, path, json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def door(self) -> str:
        balancer = (await self.api("GET", "/v4/nodebalancers"))["data"][0]
        first = (await self.api("GET", f"/lab/balancers/{balancer['id']}"))["listeners"][0]
        return f"http://{first['host']}:{first['bound_port']}"

    async def labels(self) -> list[str]:
        return sorted(each["label"] for each in (await self.api("GET", "/v4/linode/instances"))["data"])

    async def _git(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *GIT, *words, cwd=self.project, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, said.decode()


@asynccontextmanager
async def scene(tools: Tools, folder: Path) -> AsyncIterator[Scene]:
    """The application of the lab's demo, nothing else yet: no celadon.toml, an empty account."""
    lab = await asyncio.to_thread(up, folder / "lab")
    try:
        async with await StandIn.start(tools, lab) as provider:
            project = folder / "hello"
            shutil.copytree(APP, project, ignore=shutil.ignore_patterns("__pycache__"))
            (project / "broken.py").write_text(WELL)
            environ = {
                **terraform_environ(tools, provider),
                "HOME": str(folder / "home"),
                "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
                "LINODE_URL": lab.url,
                "LINODE_TOKEN": lab.token,
                "CELADON_SSH_CONFIG": lab.ssh_config,
                "CELADON_PACE": "lab",
                "CELADON_LAB_DIR": str(folder / "lab"),
            }
            (folder / "home" / ".ssh").mkdir(parents=True)
            (folder / "home" / ".ssh" / "id_ed25519.pub").write_text(lab.public_key.strip() + "\n")
            here = Scene(lab, project, environ, Terraform(tools, project / "infra", environ))
            await here.git("init", "-q", "-b", "main")
            yield here
    finally:
        await asyncio.to_thread(down, folder / "lab")


async def initialised(here: Scene, *words: str) -> None:
    """`celadon init --terraform`, and the two values that only a person knows."""
    await here.good("init", "--terraform", *words)
    suited(here)
    await here.terraform.good("init", "-no-color")


def suited(here: Scene) -> None:
    """From where admins come; and how this lab's application is started and tells its version."""
    values = (here.infra / "terraform.tfvars").read_text()
    assert "admin_cidrs = []" in values
    (here.infra / "terraform.tfvars").write_text(values.replace("admin_cidrs = []", 'admin_cidrs = ["203.0.113.0/24"]'))
    config = (here.project / "celadon.toml").read_text()
    lines = [
        f"command = {json.dumps(COMMAND)}" if line.startswith("command =") else line for line in config.splitlines()
    ]
    text = "\n".join(lines)
    (here.project / "celadon.toml").write_text(text[: text.index("[verify]")] + VERIFY)
