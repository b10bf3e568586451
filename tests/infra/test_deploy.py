"""After `terraform apply`: deploys and a rollback under load, and Terraform sees no change after any of them."""

from collections import Counter
from pathlib import Path

import pytest
from tests.end_to_end.acts import done, load_on, page, play, unharmed
from tests.infra.recorder import recording
from tests.infra.rig import Tools
from tests.infra.terraform_stage import TerraformStage

pytestmark = pytest.mark.slow


def test_deploy_twice_and_roll_back(tools: Tools, tmp_path: Path) -> None:
    async def scene() -> None:
        async with TerraformStage(tmp_path / "stage", tools) as stage:
            await stage.terraform.unchanged()
            await stage.release("v1")
            done(await stage.celadon("deploy", "v1", "--yes"))
            assert "Version: v1!" in await page(stage)
            await stage.terraform.unchanged()
            assert (stage.project / ".celadon" / "known_hosts").read_text().strip() == ""  # nothing was copied

            await no_more_calls_than_without_terraform(stage)

            async with load_on(stage, 30) as load:
                await stage.release("v2")
                async with recording(stage.lab.url) as recorder:
                    stage.api_url = recorder.url
                    done(await stage.celadon("deploy", "v2", "--yes"))
                    stage.api_url = None
                # Terraform's output names everything: a deploy asks about the NodeBalancer and nothing else.
                asked = {call.split()[1].partition("?")[0].split("/")[1] for call in recorder.asked}
                assert asked == {"nodebalancers", "lab"}
                assert "Version: v2!" in await page(stage)
                await stage.terraform.unchanged()
                done(await stage.celadon("rollback", "--yes"))
                assert "Version: v1!" in await page(stage)
                await stage.terraform.unchanged()
                unharmed(await load.stop())

            on_https = await stage.ask(f"/v4/nodebalancers/{stage.found.balancer_id}/configs")
            ids = {config["port"]: config["id"] for config in on_https["data"]}
            assert sorted(ids) == [80, 443]
            modes = [
                {node["address"]: node["mode"] for node in (await stage.ask(
                    f"/v4/nodebalancers/{stage.found.balancer_id}/configs/{id_}/nodes"
                ))["data"]}
                for id_ in ids.values()
            ]  # fmt: skip
            assert modes[0] == modes[1]
            assert sorted(modes[0].values()) == ["accept", "reject"]

    play(scene)


async def no_more_calls_than_without_terraform(stage: TerraformStage) -> None:
    """The look before a deploy, the same machines named in celadon.toml. `just bench --only infra` counts deploys."""
    asked = []
    async with recording(stage.lab.url) as recorder:
        stage.api_url = recorder.url
        for number, named in enumerate(("", await stage.hosts_by_hand())):
            stage.named = named
            await stage.release(f"v1.{number}")
            recorder.forget()
            done(await stage.celadon("plan", f"v1.{number}"))
            asked.append(Counter(call.partition("?")[0] for call in recorder.asked))
    stage.named, stage.api_url = "", None
    with_it, without = asked
    assert with_it
    assert not with_it - without
    assert set(without - with_it) == {"GET /linode/instances"}  # where the machines are: Terraform's output says it
