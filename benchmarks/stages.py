"""Stages of any size with a light application, and deploys on them that are counted."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from benchmarks.counted import Counted

from celadon.cli.stage import Stage
from celadon.core.errors import Unavailable
from celadon.lab.broken import Case
from celadon.lab.estate import Estate

ROOT = Path(__file__).parents[1]
LIGHT = Case(
    "light",
    "does nothing but answer",
    (ROOT / "benchmarks" / "light_app.py").read_text(),
    command=("python", "broken.py", "{host}", "{port}"),
)


def estate(hosts: int, ports: Sequence[int] = (80,)) -> Estate:
    """So many hosts a colour."""
    return Estate(
        blue=tuple(f"blue-{number:02}" for number in range(1, hosts + 1)),
        green=tuple(f"green-{number:02}" for number in range(1, hosts + 1)),
        ports=tuple(ports),
    )


class LightStage(Stage):
    """As the demo's, but the application needs no packages: what is measured is Celadon, not an installer."""

    async def _make_project(self) -> None:
        await super()._make_project()
        (self.project / "requirements.txt").write_text("")

    def _config(self, case: Case | None) -> str:
        """Looks every 2 s (8 at the lab's pace): 100 agents that share a machine's cores must not fill them."""
        return super()._config(case).replace("[health]\n", '[health]\ninterval = "8s"\n')

    async def deploy(self, version: str, within: float = 600.0) -> Counted:
        """Release and deploy a version; raises when the deploy fails."""
        await self.release(version, LIGHT)
        return await counted(self, "deploy", version, "--yes", within=within)


async def counted(stage: Stage, *words: str, within: float = 600.0) -> Counted:
    """Run one `celadon` command under the counters."""
    file = stage.folder / "counted.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.counted", str(file), *words,
        cwd=stage.project, env=stage.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unavailable(f"celadon {' '.join(words)} did not end within {within:g} s") from None
    if process.returncode:
        details = tuple(said.decode(errors="replace").splitlines()[-30:])
        raise Unavailable(f"celadon {' '.join(words)} ended with {process.returncode}", details=details)
    return msgspec.json.decode(file.read_bytes(), type=Counted)
