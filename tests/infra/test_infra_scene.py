"""From nothing to a renewed colour under load, by `celadon` alone, on the real Terraform and a lab."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.acts import unharmed
from tests.infra.rig import Tools
from tests.infra.scene import Scene, initialised, scene

from celadon.lab.estate import Estate, furnish
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a minute on a quiet machine


@pytest.mark.nightly
async def test_from_nothing_to_a_renewed_colour_under_load(tools: Tools, tmp_path: Path) -> None:
    async with scene(tools, tmp_path) as here:
        await initialised(here)
        await first_apply(here)
        await here.release("v1")
        await here.good("deploy", "v1", "--yes")
        await here.terraform.unchanged()
        load = await LoadProcess.start(Plan(url=await here.door(), rate=25.0, seconds=600.0, slow=(2.0, 5.0)))
        try:
            await renew_green(here)
            await here.release("v2")
            await here.good("deploy", "v2", "--yes")
            await here.terraform.unchanged()
            await dangerous_plans_are_refused(here)
            await the_home_moves_before_its_colour_is_renewed(here)
            report = await load.stop()
        finally:
            await load.kill()
        unharmed(report)
        await here.terraform.unchanged()


async def first_apply(here: Scene) -> None:
    planned = await here.good("infra", "plan", "--json")
    told = json.loads(planned.out.splitlines()[-1])
    assert {change["action"] for change in told["changes"]} == {"create"}
    assert told["monthly_cost"] == {"now": 0.0, "later": 20.0}
    assert await here.labels() == []
    applied = await here.good("infra", "apply", "--yes")
    assert "hello-blue-g1-1 is ready" in applied.err
    key = json.loads((here.infra / "host_private_keys.auto.tfvars.json").read_text())["host_private_keys"]["blue-g1-1"]
    assert key.splitlines()[1] not in applied.out + applied.err


async def renew_green(here: Scene) -> None:
    old = await here.labels()
    assert old == ["hello-blue-g1-1", "hello-green-g1-1"]
    live = await here.celadon("infra", "renew", "blue", "--yes")
    assert live.exit == 2
    assert "blue is not idle" in live.err
    renewed = await here.good("infra", "renew", "--yes")
    assert "green is new: hello-green-g2-1" in renewed.out
    assert await here.labels() == ["hello-blue-g1-1", "hello-green-g2-1"]
    await here.terraform.unchanged()
    assert "hello-green-g2-1" in (await here.good("hosts")).out


async def the_home_moves_before_its_colour_is_renewed(here: Scene) -> None:
    """Green serves now, and blue is idle; but it has the home."""
    refused = await here.celadon("infra", "renew", "--yes")
    assert refused.exit == 2
    assert "is the home" in refused.err
    assert "celadon store move hello-green-g2-1" in refused.err
    await here.good("store", "move", "hello-green-g2-1")
    renewed = await here.good("infra", "renew", "--yes")
    assert "blue is new: hello-blue-g2-1" in renewed.out
    assert await here.labels() == ["hello-blue-g2-1", "hello-green-g2-1"]
    assert "v2" in (await here.good("status")).out


async def dangerous_plans_are_refused(here: Scene) -> None:
    """By Terraform's real plan: the live colour's type, another generation of it, and the end of everything."""
    colours = here.infra / "colours.auto.tfvars.json"
    before = colours.read_text()
    for change in ({"type": "g6-standard-2"}, {"generation": 3}):
        values = json.loads(before)
        values["colours"]["green"] |= change
        colours.write_text(json.dumps(values))
        refused = await here.celadon("infra", "apply", "--yes")
        assert refused.exit == 2, (change, refused.out, refused.err)
        assert "hello-green-g2-1 may get traffic" in refused.err
        assert "way out" in refused.err
    colours.write_text(before)
    await here.terraform.good("plan", "-destroy", "-out=all.tfplan", "-no-color")
    shown = await here.terraform.good("show", "-json", "all.tfplan")
    (here.project / "plan.json").write_text(shown.out)
    guarded = await here.celadon("infra", "guard", "plan.json", "--json")
    assert guarded.exit == 2
    assert {"nodebalancer", "home", "serves"} <= {each["code"] for each in json.loads(guarded.out)["refused"]}
    (here.project / "plan.json").unlink()
    (here.infra / "all.tfplan").unlink()
    assert len(await here.labels()) == 2


async def test_what_exists_is_adopted_without_a_replacement(tools: Tools, tmp_path: Path) -> None:
    """Machines and NodeBalancer made by other hands; blue serves. The first plan makes none of them anew."""
    async with scene(tools, tmp_path) as here:
        estate = Estate(blue=("web-blue",), green=("web-green",), green_port=8000, blue_port=8000)
        await furnish(here.lab, estate)
        await serving(here)
        before = await here.api("GET", "/v4/linode/instances")
        await initialised(here, "--from-linode")
        assert await here.api("GET", "/v4/linode/instances") == before
        planned = await here.good("infra", "plan", "--json")
        told = json.loads(planned.out.splitlines()[-1])
        assert {change["action"] for change in told["changes"]} <= {"create", "update"}, told["changes"]
        made = {change["type"] for change in told["changes"] if change["action"] == "create"}
        assert made == {"linode_firewall"}
        await here.good("infra", "apply", "--yes")
        assert await here.labels() == ["web-blue", "web-green"]
        await here.terraform.unchanged()
        names = {node["label"]: node["mode"] for node in await nodes(here)}
        assert sorted(names.values()) == ["accept", "reject"]


async def serving(here: Scene) -> None:
    """The first node is put to work, as whoever made it would."""
    balancer = (await here.api("GET", "/v4/nodebalancers"))["data"][0]["id"]
    config = (await here.api("GET", f"/v4/nodebalancers/{balancer}/configs"))["data"][0]["id"]
    node = next(each for each in await nodes(here) if each["label"] == "web-blue")
    path = f"/v4/nodebalancers/{balancer}/configs/{config}/nodes/{node['id']}"
    await here.api("PUT", path, {"mode": "accept"})


async def nodes(here: Scene) -> list[dict[str, Any]]:
    balancer = (await here.api("GET", "/v4/nodebalancers"))["data"][0]["id"]
    config = (await here.api("GET", f"/v4/nodebalancers/{balancer}/configs"))["data"][0]["id"]
    found: list[dict[str, Any]] = (await here.api("GET", f"/v4/nodebalancers/{balancer}/configs/{config}/nodes"))[
        "data"
    ]
    return found
