"""A lab with a provider beside it, and a root configuration that uses the module."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import msgspec
from tests.infra.rig import MODULE, StandIn, Terraform, Tools, terraform_environ

from celadon.lab.background import down, up
from celadon.lab.lab import LabFacts

ROOT_CONFIG = """\
module "celadon" {{
  source = "{module}"

  name              = "shop"
  region            = var.region
  ssh_keys          = ["{key}"]
  admin_cidrs       = ["203.0.113.0/24"]
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys
{more}
}}

variable "region" {{
  default = "us-ord"
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

output "known_hosts" {{
  value = module.celadon.known_hosts
}}

output "public_address" {{
  value = module.celadon.public_address
}}

output "monthly_cost" {{
  value = module.celadon.monthly_cost
}}
"""


def root_config(lab: LabFacts, *, more: str = "") -> str:
    return ROOT_CONFIG.format(module=MODULE, key=lab.public_key.strip(), more=more)


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
    """`terraform` is where the root configuration is; `root` and `values` write it."""

    lab: LabFacts
    terraform: Terraform

    def root(self, *, more: str = "") -> None:
        (self.terraform.folder / "main.tf").write_text(root_config(self.lab, more=more))

    def values(self, **values: Any) -> None:
        (self.terraform.folder / "values.auto.tfvars.json").write_text(json.dumps(values))

    async def output(self) -> Any:
        return json.loads((await self.terraform.good("output", "-json", "celadon")).out)

    async def planned(self, *words: str) -> dict[str, list[str]]:
        """What a plan would do, by address: only what it changes."""
        await self.terraform.good("plan", "-no-color", "-out", "plan", *words)
        shown = json.loads((await self.terraform.good("show", "-json", "plan")).out)
        changes = {change["address"]: change["change"]["actions"] for change in shown["resource_changes"]}
        return {address: actions for address, actions in changes.items() if actions not in (["no-op"], ["read"])}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.lab.token}"}
        async with (
            aiohttp.ClientSession(self.lab.url, headers=headers, trust_env=False) as api,
            api.request(method, path, json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()


@asynccontextmanager
async def account(tools: Tools, folder: Path, *, token: str | None = None) -> AsyncIterator[Account]:
    """`token`: another than the lab's, for the provider."""
    lab = await asyncio.to_thread(up, folder / "lab")
    try:
        async with await StandIn.start(tools, lab, token=token) as provider:
            (folder / "infra").mkdir()
            yield Account(lab, Terraform(tools, folder / "infra", terraform_environ(tools, provider)))
    finally:
        await asyncio.to_thread(down, folder / "lab")
