"""The module from nothing to nothing, by the real Terraform, on a lab."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest
from tests.infra.rig import MODULE, StandIn, Terraform, Tools, terraform_environ

from celadon.config.terraform import parse_output
from celadon.lab.background import down, up
from celadon.lab.lab import LabFacts

pytestmark = pytest.mark.slow

ROOT_CONFIG = """\
module "celadon" {{
  source = "{module}"

  name              = "shop"
  region            = "us-ord"
  ssh_keys          = ["{key}"]
  admin_cidrs       = ["203.0.113.0/24"]
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys
{more}
}}

variable "colours" {{
  default = {{}}
}}

variable "host_keys" {{
  default = {{}}
}}

variable "host_private_keys" {{
  default   = {{}}
  sensitive = true
}}

output "celadon" {{
  value = module.celadon.celadon
}}
"""


def host_keys(*machines: str) -> dict[str, dict[str, str]]:
    """What `celadon infra apply` would make: a pair for each machine."""
    pairs = {machine: asyncssh.generate_private_key("ssh-ed25519") for machine in machines}
    return {
        "host_keys": {
            machine: " ".join(key.export_public_key().decode().split()[:2]) for machine, key in pairs.items()
        },
        "host_private_keys": {machine: key.export_private_key().decode() for machine, key in pairs.items()},
    }


class Account(msgspec.Struct, frozen=True):
    """A lab with a provider beside it, and a root configuration that uses the module."""

    lab: LabFacts
    terraform: Terraform

    def root(self, *, more: str = "") -> None:
        text = ROOT_CONFIG.format(module=MODULE, key=self.lab.public_key.strip(), more=more)
        (self.terraform.folder / "main.tf").write_text(text)

    def values(self, **values: Any) -> None:
        (self.terraform.folder / "values.auto.tfvars.json").write_text(json.dumps(values))


@asynccontextmanager
async def account(tools: Tools, folder: Path) -> AsyncIterator[Account]:
    lab = await asyncio.to_thread(up, folder / "lab")
    try:
        async with await StandIn.start(tools, lab) as provider:
            (folder / "infra").mkdir()
            yield Account(lab, Terraform(tools, folder / "infra", terraform_environ(tools, provider)))
    finally:
        await asyncio.to_thread(down, folder / "lab")


async def test_from_nothing_to_nothing(tools: Tools, tmp_path: Path) -> None:
    async with account(tools, tmp_path) as here:
        here.root()
        here.values(**host_keys("blue-g1-1", "green-g1-1"))
        terraform = here.terraform
        await terraform.good("init", "-no-color")
        await terraform.good("validate", "-no-color")
        await terraform.apply()
        await terraform.unchanged()
        output = parse_output((await terraform.good("output", "-json")).out, file="infra")
        assert [host.label for host in (*output.blue, *output.green)] == ["shop-blue-g1-1", "shop-green-g1-1"]
        await terraform.apply("-destroy")
