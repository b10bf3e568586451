"""The module and `celadon infra` by OpenTofu, where there is one: in short what the other files show by Terraform."""

import json
import os
from pathlib import Path

import pytest
from tests.infra.rig import Tools, tofu_tools
from tests.infra.scene import initialised, scene
from tests.infra.test_module import everything_at_once
from tests.infra.test_variables import blocks, refused_in_our_words

from celadon.adapters.terraform_run import program

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]


async def test_the_module_from_nothing_to_nothing(tools: Tools, tmp_path: Path) -> None:
    await everything_at_once(tofu_tools(tools), tmp_path)


async def test_wrong_values_are_refused_in_our_words(tools: Tools, tmp_path: Path) -> None:
    await refused_in_our_words(tofu_tools(tools), tmp_path, blocks())


async def test_celadon_plans_applies_and_deploys_where_there_is_no_terraform(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tofu = tofu_tools(tools)
    monkeypatch.setenv("PATH", without_terraform(tmp_path / "path"))
    async with scene(tofu, tmp_path) as here:
        assert program(here.environ) == tofu.terraform
        await initialised(here)
        assert "linode_nodebalancer.app" in (await here.good("infra", "plan")).out
        await here.good("infra", "apply", "--yes")
        await here.terraform.unchanged()
        await here.release("v1")
        await here.good("deploy", "v1", "--yes")
        await here.terraform.unchanged()
        file = here.infra / "colours.auto.tfvars.json"
        values = json.loads(file.read_text())
        values["colours"]["blue"]["type"] = "g6-standard-2"
        file.write_text(json.dumps(values))
        refused = await here.celadon("infra", "apply", "--yes")
        assert refused.exit == 2, refused.err
        assert "hello-blue-g1-1 may get traffic" in refused.err


def without_terraform(folder: Path) -> str:
    """A PATH with all programs but that one, whose folder may hold others that are needed."""
    folder.mkdir()
    path = []
    for each in os.environ["PATH"].split(os.pathsep):
        if not (Path(each) / "terraform").exists():
            path.append(each)
            continue
        for found in Path(each).iterdir():
            if found.name != "terraform" and not (folder / found.name).exists():
                (folder / found.name).symlink_to(found)
        path.append(str(folder))
    return os.pathsep.join(path)
