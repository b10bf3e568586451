"""The stand-in provider against what is known of the real one: its schema, and its order of API calls.

What it cannot show: that the real provider plans, sends and reads just so. That is run against the lab separately.
"""

import asyncio
import hashlib
import json
import os
import platform
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.infra.accounts import host_keys, root_config
from tests.infra.recorder import Recorder, recording
from tests.infra.rig import ROOT, StandIn, Terraform, Tools, stand_in_environ, terraform_environ
from tests.rig.require import require

from celadon.lab.background import down, up

pytestmark = pytest.mark.slow

OWN = Path(__file__).with_name("stand_in") / "schema.json"
COMPARED = "7918d9573abf3c21778fbb4aba0951b42d426d2ad79b2132261cfdf96f370a8d"
"""Of the copy that passed the comparison below with linode/linode 3.13. Who changes it compares it anew."""
REAL = "linode-provider-schema.json"
WORDS = ("description", "description_kind", "deprecated")
NOT_POSSIBLE = ("write_only",)  # the package's protocol is older than they are


def test_its_schema_is_the_real_ones() -> None:
    """Compared with the real one where that is beside the checkout; everywhere it is the copy that was compared."""
    own = json.loads(OWN.read_text())
    assert hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest() == COMPARED
    assert len(own["resources"]) == 10
    for file in (folder / "shared" / REAL for folder in ROOT.parents):
        if file.is_file():
            _compare(own, file)


def _compare(own: dict[str, Any], file: Path) -> None:
    (real,) = json.loads(file.read_text())["provider_schemas"].values()
    assert own["provider"] == _facts(real["provider"])
    for name, schema in own["resources"].items():
        assert schema == _facts(real["resource_schemas"][name]), name


def _facts(tree: Any) -> Any:
    """Without the words. An attribute may be called `description`: then it is a table, and stays."""
    match tree:
        case dict():
            left_out = {name for name in (*WORDS, *NOT_POSSIBLE) if isinstance(tree.get(name), str | bool)}
            kept = {name: value for name, value in tree.items() if name not in left_out}
            return {name: value if name == "type" else _facts(value) for name, value in kept.items()}
        case list():
            return [_facts(each) for each in tree]
        case _:
            return tree


class Watched(msgspec.Struct, frozen=True):
    terraform: Terraform
    recorder: Recorder

    async def calls(self, *words: str) -> dict[str, list[str]]:
        """What one apply asked of the API, by the object that was asked about; ids left out, polls once."""
        self.recorder.forget()
        await self.terraform.apply("-parallelism=1", *words)
        return _by_object(self.recorder.asked)


@asynccontextmanager
async def watched(tools: Tools, folder: Path) -> AsyncIterator[Watched]:
    lab = await asyncio.to_thread(up, folder / "lab")
    try:
        async with recording(lab.url) as recorder:
            seen = msgspec.structs.replace(lab, url=recorder.url)
            async with await StandIn.start(tools, seen) as provider:
                (folder / "infra").mkdir()
                (folder / "infra" / "main.tf").write_text(root_config(lab, more='  tags = ["one"]\n' + DOMAIN))
                terraform = Terraform(tools, folder / "infra", terraform_environ(tools, provider))
                yield Watched(terraform, recorder)
    finally:
        await asyncio.to_thread(down, folder / "lab")


REFRESHED = ["GET /#", "GET /#/ips", "GET /#/disks?page=1", "GET /#/configs?page=1"]
DOMAIN = '  domain = "example.com"\n  soa_email = "a@example.com"\n'


async def test_it_asks_in_the_providers_order(tools: Tools, tmp_path: Path) -> None:
    """The sequences that the real provider is known to make, for what the module uses."""
    async with watched(tools, tmp_path) as here:
        await here.terraform.good("init", "-no-color")
        values = here.terraform.folder / "values.auto.tfvars.json"
        blue_only = {"colours": {"blue": {}, "green": {"count": 0}}}
        values.write_text(json.dumps(blue_only | host_keys("blue-g1-1")))

        made = await here.calls()
        assert made["/linode/instances"] == [
            "POST",
            "GET /#",
            "GET /#/ips",
            "GET /#/disks?page=1",
            "GET /#/configs?page=1",
        ]
        assert made["/nodebalancers"] == [
            "POST", "GET /#/firewalls?page=1", "GET /#/vpcs?page=1", "POST /#/configs", "POST /#/configs/#/nodes",
            "GET /#/vpcs/0",
        ]  # fmt: skip
        assert made["/networking/firewalls"] == 2 * ["POST", "GET /#/devices?page=1", "GET /#/rules"]
        assert made["/domains"] == ["POST", "GET /#", *2 * ["POST /#/records", "GET /#/records/#", "GET /#"]]

        # A changed tag: refresh first, then every object that has tags; the instance puts its configs, too.
        main = here.terraform.folder / "main.tf"
        main.write_text(main.read_text().replace('"one"', '"two"'))
        changed = await here.calls()
        assert changed["/linode/instances"] == [
            *REFRESHED, "GET /#", "PUT /#", "GET /#/configs?page=1", "PUT /#/configs/#", "GET /#/disks?page=1",
            *REFRESHED,
        ]  # fmt: skip
        assert changed["/linode/types"] == ["GET /g6-nanode-1"]
        put = changed["/nodebalancers"].index("PUT /#")
        assert changed["/nodebalancers"][put:] == ["PUT /#", "GET /#/firewalls?page=1", "GET /#/vpcs?page=1"]
        put = changed["/networking/firewalls"].index("PUT /#")
        assert changed["/networking/firewalls"][put:] == 2 * [
            "PUT /#", "PUT /#/rules", "GET /#/devices?page=1", "GET /#/rules",
        ]  # fmt: skip

        # Nothing to change: reads only.
        asked = await here.calls()
        assert {call.split()[0] for calls in asked.values() for call in calls} == {"GET"}
        assert asked["/linode/instances"] == REFRESHED
        assert asked["/nodebalancers"] == [
            "GET /#", "GET /#/firewalls?page=1", "GET /#/vpcs?page=1", "GET /#/configs/#", "GET /#/configs/#/nodes/#",
            "GET /#/vpcs/0",
        ]  # fmt: skip

        # Away: events before and after the instance goes, and its node before it.
        gone = await here.calls("-destroy")
        assert gone["/account/events"] == ["GET ?page=1", "GET /#"]
        order = [call for call in here.recorder.asked if call.startswith("DELETE")]
        kinds = [re.sub(r"\d+", "#", call) for call in order]
        assert kinds.index("DELETE /nodebalancers/#/configs/#/nodes/#") < kinds.index("DELETE /linode/instances/#")
        assert kinds.index("DELETE /linode/instances/#") < kinds.index("DELETE /networking/firewalls/#")


def _by_object(asked: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for call in asked:
        method, _, path = call.partition(" ")
        root = "/" + "/".join(path.partition("?")[0].split("/")[1:3]) if not path.startswith(FLAT) else _flat(path)
        rest = re.sub(r"/\d+(?=/|$|\?)", "/#", path.removeprefix(root))
        line = f"{method} {rest}".strip().replace("/vpcs/#", "/vpcs/0")
        calls = found.setdefault(root, [])
        if line not in calls[-1:]:
            calls.append(line)
    return found


FLAT = ("/nodebalancers", "/domains", "/vpcs")


def _flat(path: str) -> str:
    return "/" + path.partition("?")[0].split("/")[1]


async def test_terraform_finds_it_in_a_mirror(tools: Tools, tmp_path: Path) -> None:
    """As a provider that was downloaded: `terraform init` writes its lock file, and starts and ends the program."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    require(machine, "a processor that this mirror is made for")
    home = tmp_path / "mirror" / "registry.terraform.io" / "linode" / "linode" / "3.13.0" / f"linux_{machine}"
    home.mkdir(parents=True)
    program = home / "terraform-provider-linode_v3.13.0"
    program.write_text(f'#!/bin/sh\nexec "{tools.python}" -m tests.infra.stand_in "$@"\n')
    program.chmod(0o755)
    settings = tmp_path / "terraformrc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{tmp_path / "mirror"}"\n  }}\n}}\n'
    )
    lab = await asyncio.to_thread(up, tmp_path / "lab")
    try:
        folder = tmp_path / "infra"
        folder.mkdir()
        (folder / "main.tf").write_text(root_config(lab))
        none = {"colours": {"blue": {"count": 0}, "green": {"count": 0}}}
        (folder / "values.auto.tfvars.json").write_text(json.dumps(none))
        environ = stand_in_environ(tools, lab) | {
            "TF_CLI_CONFIG_FILE": str(settings),
            "CHECKPOINT_DISABLE": "1",
            "PATH": os.environ.get("PATH", os.defpath),
        }
        terraform = Terraform(tools, folder, environ)
        await terraform.good("init", "-no-color")
        assert 'version     = "3.13.0"' in (folder / ".terraform.lock.hcl").read_text()
        await terraform.apply()
        await terraform.unchanged()
        await terraform.apply("-destroy")
    finally:
        await asyncio.to_thread(down, tmp_path / "lab")
