"""From nothing by Terraform to the first deploy, and what a deploy asks of the API with Terraform and without.

python -m benchmarks.infra

The lab makes a machine in no time, and the provider is the tests' stand-in: what is measured is Celadon, Terraform and
cloud-init's report, and not how long Linode takes to boot. Both deploys are of the same stage, to the same machines:
only celadon.toml differs, which names them for the second.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.counted import Counted
from benchmarks.figures import Figure, show
from benchmarks.stages import LIGHT, counted
from tests.infra.rig import Tools, terraform_tools
from tests.infra.scene import Scene, initialised, scene
from tests.infra.terraform_stage import TerraformStage

IN_TURNS = (0, 1, 1, 0, 0, 1)  # with, without: polls depend on when an answer comes, and so perhaps on the colour


async def first_deploy(tools: Tools, folder: Path) -> tuple[float, float]:
    """Seconds of `celadon infra apply` on an empty account, and of the first deploy after it."""
    async with scene(tools, folder) as here:
        await initialised(here)
        await here.release("v1")
        return await _seconds(here, "infra", "apply", "--yes"), await _seconds(here, "deploy", "v1", "--yes")


async def _seconds(here: Scene, *words: str) -> float:
    began = time.perf_counter()
    await here.good(*words)
    return time.perf_counter() - began


async def usual_deploys(tools: Tools, folder: Path) -> tuple[list[Counted], list[Counted]]:
    """With hosts.terraform, and with the same hosts named in celadon.toml. The first of all is not counted."""
    async with TerraformStage(folder, tools) as stage:
        await stage.release("v0", LIGHT)
        await counted(stage, "deploy", "v0", "--yes")
        found: tuple[list[Counted], list[Counted]] = ([], [])
        for number, kind in enumerate(IN_TURNS, 1):
            stage.named = await stage.hosts_by_hand() if kind else ""
            await stage.release(f"v{number}", LIGHT)
            found[kind].append(await counted(stage, "deploy", f"v{number}", "--yes"))
        return found


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as name:
        folder = Path(name)
        tools = terraform_tools(folder / "tools")
        applied, deployed = asyncio.run(first_deploy(tools, folder))
        with_it, without = asyncio.run(usual_deploys(tools, folder / "stage"))
    kinds = (("with", with_it), ("without", without))
    fewest = [min(each.calls.total for each in deploys) for _, deploys in kinds]
    split = "; ".join(f"{word}: {', '.join(_split(each) for each in deploys)}" for word, deploys in kinds)
    return [
        Figure(
            "infra: from `celadon infra apply` on an empty account to the end of the first deploy",
            applied + deployed, None, "s", f"plan, apply and ready machines {applied:.1f} s, deploy {deployed:.1f} s",
        ),
        Figure("infra: API calls of a deploy with `hosts.terraform`, by those without", fewest[0] / fewest[1], 1, "x",
               f"of the deploys with the fewest polls; lists + reads + PUTs {split}"),
    ]  # fmt: skip


def _split(deploy: Counted) -> str:
    return f"{deploy.calls.lists}+{deploy.calls.reads}+{deploy.calls.puts}"


if __name__ == "__main__":
    show("infrastructure", figures())
