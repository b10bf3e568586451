"""Every example of infrastructure, by the real Terraform: format, validate, apply, an empty plan, destroy."""

import json
import shutil
from pathlib import Path

import pytest
from tests.infra.accounts import account, host_keys
from tests.infra.rig import MODULE, ROOT, Tools
from tests.infra.terraform_stage import self_signed

from celadon.config.terraform import parse_output

pytestmark = pytest.mark.slow

EXAMPLES = sorted((ROOT / "examples").glob("infra-*"))
SOURCE = '"../../src/celadon/infra/module"'  # as in a checkout
ENVIRONMENTS = [
    *((example, None) for example in EXAMPLES if not list(example.glob("*.tfvars"))),
    *((example, values) for example in EXAMPLES for values in sorted(example.glob("*.tfvars"))),
]
COSTS = {"infra-small": 20, "infra-vpc": 20, "staging": 20, "production": 4 * 12 + 10}


def test_there_are_examples() -> None:
    with_terraform = {file.parent for file in (ROOT / "examples").rglob("*.tf") if ".terraform" not in file.parts}
    assert with_terraform == set(EXAMPLES)  # none is left out
    assert [example.name for example in EXAMPLES] == ["infra-https", "infra-small", "infra-vpc"]
    assert len(ENVIRONMENTS) == 4


@pytest.mark.parametrize(
    ("example", "values"), ENVIRONMENTS, ids=[values.stem if values else each.name for each, values in ENVIRONMENTS]
)
async def test_an_example(example: Path, values: Path | None, tools: Tools, tmp_path: Path) -> None:
    async with account(tools, tmp_path) as here:
        terraform = here.terraform
        shutil.copytree(example, terraform.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".terraform*"))
        main = terraform.folder / "main.tf"
        assert SOURCE in main.read_text()
        main.write_text(main.read_text().replace(SOURCE, json.dumps(str(MODULE))))
        self_signed(terraform.folder / "tls")
        machines = [f"{colour}-g1-{number}" for colour in ("blue", "green") for number in (1, 2)]
        here.values(ssh_keys=[here.lab.public_key.strip()], admin_cidrs=["203.0.113.7/32"], **host_keys(*machines))
        words = [f"-var-file={values.name}"] if values else []
        await terraform.good("init", "-no-color")
        await terraform.good("fmt", "-check", "-no-color", str(example))
        await terraform.good("validate", "-no-color")
        await terraform.apply(*words)
        assert await here.planned(*words) == {}
        outputs = json.loads((await terraform.good("output", "-json")).out)
        assert parse_output(json.dumps(outputs), file="infra").blue[0].private is not None
        assert outputs["monthly_cost"]["value"] == COSTS[values.stem if values else example.name]
        await terraform.apply("-destroy", *words)
        assert (await here.ask("GET", "/v4/linode/instances"))["data"] == []
