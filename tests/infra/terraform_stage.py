"""A stage whose account is furnished by Terraform and the module: celadon.toml names no host and no address."""

import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
from tests.infra.accounts import host_keys, root_config
from tests.infra.rig import StandIn, Terraform, Tools, terraform_environ

from celadon.cli.stage import Stage
from celadon.lab.broken import Case
from celadon.lab.estate import Furnished

HEALTH = '  health = { path = "/healthz", interval = 2, timeout = 1 }\n'
TERRAFORM = 'terraform = "infra"\n'
HTTPS = '  tls_certificate = file("tls/fullchain.pem")\n  tls_private_key = file("tls/privkey.pem")\n'


class TerraformStage(Stage):
    """`terraform` is the root configuration in the project's folder `infra`, applied."""

    def __init__(self, folder: Path, tools: Tools, *, count: int = 1) -> None:
        super().__init__(folder)
        self._tools = tools
        self._count = count
        self._provider: StandIn | None = None
        self.terraform: Terraform
        self.api_url: str | None = None
        """Where `celadon` finds the API, if not at the lab itself."""
        self.named = ""
        """Of `[hosts]`, in place of `terraform`: see `hosts_by_hand`."""

    @property
    def environ(self) -> dict[str, str]:
        assert self._provider is not None
        lab = {name: value for name, value in super().environ.items() if name.startswith(("LINODE_", "CELADON_"))}
        elsewhere = {"LINODE_URL": self.api_url} if self.api_url is not None else {}
        return terraform_environ(self._tools, self._provider) | lab | elsewhere

    async def __aexit__(self, *details: object) -> None:
        if self._provider is not None:
            await self._provider.stop()
        await super().__aexit__(*details)

    async def _furnish(self) -> None:
        """Comes after the project: its folder holds the configuration."""
        self.found = Furnished(instances={}, balancer_id=0, url="", known_hosts=())

    async def _make_project(self) -> None:
        await super()._make_project()
        with (self.project / ".gitignore").open("a") as ignored:
            ignored.write("infra/\n")
        self._provider = await StandIn.start(self._tools, self.lab)
        folder = self.project / "infra"
        folder.mkdir()
        self.terraform = Terraform(self._tools, folder, self.environ)
        self_signed(folder / "tls")
        (folder / "main.tf").write_text(root_config(self.lab, more=HEALTH + HTTPS))
        machines = [f"{colour}-g1-{number}" for colour in ("blue", "green") for number in range(1, self._count + 1)]
        self.values(colours={"blue": {"count": self._count}, "green": {"count": self._count}}, **host_keys(*machines))
        await self.terraform.good("init", "-no-color")
        await self.terraform.apply()
        output = json.loads((await self.terraform.good("output", "-json", "celadon")).out)
        door = await self.ask(f"/lab/balancers/{output['nodebalancer']}")
        http = next(each for each in door["listeners"] if each["port"] == 80)
        self.found = Furnished(
            instances={}, balancer_id=output["nodebalancer"], url=f"http://{http['host']}:{http['bound_port']}",
            known_hosts=(),
        )  # fmt: skip

    def values(self, **values: Any) -> None:
        (self.project / "infra" / "values.auto.tfvars.json").write_text(json.dumps(values))

    async def ask(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.lab.token}"}
        async with (
            aiohttp.ClientSession(self.lab.url, headers=headers, trust_env=False) as api,
            api.get(path) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    def _config(self, case: Case | None) -> str:
        text = super()._config(case)
        head, _, rest = text.partition("[hosts]\n")
        _, _, tail = rest.partition("[verify]\n")
        return f"{head}[hosts]\n{self.named or TERRAFORM}\n[verify]\n{tail}"

    async def hosts_by_hand(self) -> str:
        """The same machines by their labels, as in a celadon.toml without Terraform; their keys are trusted."""
        output = json.loads((await self.terraform.good("output", "-json", "celadon")).out)
        (self.project / ".celadon").mkdir(exist_ok=True)
        (self.project / ".celadon" / "known_hosts").write_text(output["known_hosts"])
        lines = [f"{colour} = {json.dumps([host['label'] for host in its])}" for colour, its in output["hosts"].items()]
        return "\n".join(
            [*lines, "", "[balancer]", f"nodebalancer = {output['nodebalancer']}", "add_nodes = false", ""]
        )


def self_signed(folder: Path) -> None:
    folder.mkdir()
    key, certificate = folder / "privkey.pem", folder / "fullchain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=shop.example.com", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
