"""What happens to infrastructure in its life, on one stage: an interrupted apply, drift, https that comes later.

In order, as each part begins where the one before ended: a stage of its own for each would cost a minute more.
"""

import asyncio
import json
import re
import signal
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.infra.rig import Tools
from tests.infra.scene import Scene, initialised, scene
from tests.infra.terraform_stage import self_signed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TLS = """\
  tls_certificate = file("${path.root}/tls/fullchain.pem")
  tls_private_key = file("${path.root}/tls/privkey.pem")
"""


async def test_from_an_interrupted_apply_to_https_that_was_added_later(tools: Tools, tmp_path: Path) -> None:
    async with scene(tools, tmp_path) as here:
        await initialised(here)
        await here.terraform.good("fmt", "-check", "-recursive", "-no-color")  # as `init --terraform` wrote it
        await here.terraform.good("validate", "-no-color")
        await here.release("v1")
        await no_state_yet(here)
        await an_apply_that_is_interrupted(here)
        await what_it_costs(here)
        await here.good("deploy", "v1", "--yes")
        await what_was_deleted_by_hand_is_explained(here)
        await https_added_later(here)
        await here.terraform.apply("-destroy")
        for path in ACCOUNT:
            assert (await here.api("GET", path))["data"] == []


async def no_state_yet(here: Scene) -> None:
    ran = await here.celadon("plan", "v1", "--infra")
    assert ran.exit == 2, ran.out
    assert "celadon infra apply" in ran.err or "terraform -chdir=infra apply" in ran.err, ran.err


async def an_apply_that_is_interrupted(here: Scene) -> None:
    """SIGINT to the whole foreground, as a terminal sends it: Terraform ends what it began and writes it down."""
    process = await here.start("infra", "apply", "--yes")
    assert process.stderr is not None
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(240):
        while b"Creating..." not in said:
            line = await process.stderr.readline()
            assert line, said.decode()
            said += line
        process.send_signal(signal.SIGINT)
        rest, _, _ = await asyncio.gather(process.stderr.read(), process.stdout.read(), process.wait())
    text = (said + rest).decode()
    assert process.returncode == 4, text
    assert "was stopped; what was begun is finished and in the state" in text
    assert "celadon infra apply" in text

    assert not list(here.infra.glob(".*.lock.info"))  # nobody holds the state
    state = json.loads((here.infra / "terraform.tfstate").read_text())["resources"]
    made = [resource for resource in state if resource["mode"] == "managed" and resource["instances"]]
    known = {each["attributes"].get("label") for resource in made for each in resource["instances"]}
    there = {each["label"] for path in ACCOUNT for each in (await here.api("GET", path))["data"]}
    assert there
    assert there <= known  # what was made is written down
    types = {resource["type"] for resource in made}
    assert "linode_nodebalancer_node" not in types, "it was interrupted too late to show anything"

    await here.good("infra", "apply", "--yes")
    await here.terraform.unchanged()
    assert await here.labels() == ["hello-blue-g1-1", "hello-green-g1-1"]


ACCOUNT = ("/v4/linode/instances", "/v4/nodebalancers", "/v4/networking/firewalls")


async def what_it_costs(here: Scene) -> None:
    """The module's output, `plan --infra` and `infra plan` say the same; a state that cannot be read is no zero."""
    cost = json.loads((await here.terraform.good("output", "-json", "monthly_cost")).out)
    told = await here.good("plan", "v1", "--infra")
    assert f"cost: {cost:.2f} (US dollars a month, list price)" in told.out
    assert re.search(r"2 x g6-nanode-1 in us-ord: 10\.00\n +1 x nodebalancer in us-ord: 10\.00", told.out), told.out
    keys = json.loads((await here.good("plan", "v1", "--infra", "--json")).out.splitlines()[-1])
    assert keys["monthly_cost"] == {"now": cost}
    planned = json.loads((await here.good("infra", "plan", "--json")).out.splitlines()[-1])
    assert planned["monthly_cost"] == {"now": cost, "later": cost}

    state = here.infra / "terraform.tfstate"
    whole = state.read_text()
    state.write_text(whole[: len(whole) // 2])
    for words in (("plan", "v1", "--infra"), ("infra", "plan")):
        broken = await here.celadon(*words)
        assert broken.exit == 2, (words, broken.out, broken.err)
        assert "cost" not in broken.out
        assert "nsupported state file format" in broken.err
    state.write_text(whole)


async def what_was_deleted_by_hand_is_explained(here: Scene) -> None:
    """Green is idle: first its node goes, then its machine."""
    balancer, (config,) = await configs(here)
    path = f"/v4/nodebalancers/{balancer}/configs/{config['id']}/nodes"
    node = next(each for each in (await here.api("GET", path))["data"] if each["mode"] == "reject")
    await here.api("DELETE", f"{path}/{node['id']}")
    checked = await here.celadon("check")
    assert checked.exit == 2
    assert f"port 80: no node for {node['address']}" in checked.out
    assert (
        "celadon infra apply makes it anew   (it was deleted by hand, or went along with its instance)" in checked.out
    )
    assert "2 machines of Terraform's output, all in the account" in checked.out
    checked = await here.good("check", "--infra")
    assert "1 change, none hurts who serves" in checked.out

    green = next(each for each in (await here.api("GET", "/v4/linode/instances"))["data"] if "green" in each["label"])
    await here.api("DELETE", f"/v4/linode/instances/{green['id']}")
    checked = await here.celadon("check")
    assert checked.exit == 2
    gone = "hello-green-g1-1: Terraform's state has it, the account has not; its nodes went along with it"
    assert gone in checked.out
    assert "celadon infra apply makes it anew, and its nodes" in checked.out
    checked = await here.good("check", "--infra")
    assert "2 changes, none hurts who serves" in checked.out

    await here.good("infra", "apply", "--yes")
    assert "Version: v1!" in await page(here, 80)
    await here.good("check")


async def https_added_later(here: Scene) -> None:
    """Port 80 serves blue, port 443 is new and all its nodes are off: the next deploy opens it."""
    self_signed(here.infra / "tls")
    main = here.infra / "main.tf"
    main.write_text(re.sub(r'(module "celadon" \{\n)', lambda found: found[1] + TLS, main.read_text(), count=1))
    await here.good("infra", "apply", "--yes")
    balancer, found = await configs(here)
    assert [(config["port"], await modes(here, balancer, config)) for config in found] == [
        (80, {"blue": "accept", "green": "reject"}),
        (443, {"blue": "reject", "green": "reject"}),
    ]
    assert "blue" in (await here.good("status")).out
    new = "port 443 sends nobody anywhere yet: this rollout opens it"
    assert new in (await here.good("check")).out

    await here.release("v2")
    assert f"warning: {new}" in (await here.good("plan", "v2")).out
    await here.good("deploy", "v2", "--yes")
    for config in found:
        assert await modes(here, balancer, config) == {"blue": "reject", "green": "accept"}, config["port"]
    assert "Version: v2!" in await page(here, 80)
    assert "Version: v2!" in await page(here, 443)
    await here.terraform.unchanged()


async def configs(here: Scene) -> tuple[int, list[dict[str, Any]]]:
    balancer = (await here.api("GET", "/v4/nodebalancers"))["data"][0]["id"]
    found = (await here.api("GET", f"/v4/nodebalancers/{balancer}/configs"))["data"]
    return balancer, sorted(found, key=lambda config: int(config["port"]))


async def modes(here: Scene, balancer: int, config: dict[str, Any]) -> dict[str, str]:
    """By colour; each has one machine."""
    nodes = (await here.api("GET", f"/v4/nodebalancers/{balancer}/configs/{config['id']}/nodes"))["data"]
    return {
        node["label"].partition("-")[0]: node["mode"] for node in sorted(nodes, key=lambda node: str(node["label"]))
    }


async def page(here: Scene, port: int) -> str:
    """Through the users' door; the certificate is of our own making."""
    balancer, _ = await configs(here)
    listeners = (await here.api("GET", f"/lab/balancers/{balancer}"))["listeners"]
    door = next(each for each in listeners if each["port"] == port)
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    url = f"{'https' if port == 443 else 'http'}://{door['host']}:{door['bound_port']}/"
    async with (
        aiohttp.ClientSession(trust_env=False) as users,
        users.get(url, ssl=anyone if port == 443 else True) as answer,
    ):
        return await answer.text()
