"""`celadon infra plan|apply|guard` and `check --infra`, on a world in memory, a lab's API and a told Terraform."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celadon.drive.lease import LeaseFacts
from tests.cli.worlds import CONFIG, MemoryWorld, Ran
from tests.infra.fake_terraform import FakeTerraform
from tests.infra.plan_builder import GREEN1, PlanBuilder, instance, nb, vm
from tests.lab.api.running import TOKEN, RunningLab, running_lab


class Scene:
    """`v1` is live on blue; blue-1 is the home; green is idle."""

    def __init__(self, root: Path, lab: RunningLab) -> None:
        self.world = MemoryWorld(root)
        self.terraform = FakeTerraform(root / "bin")
        self.lab = lab
        (root / "infra").mkdir()
        text = CONFIG[: CONFIG.index("[hosts]")] + '[hosts]\nterraform = "infra"\n'
        (root / "celadon.toml").write_text(text)

    async def run(self, *words: str) -> Ran:
        environ = {"LINODE_URL": self.lab.url, "LINODE_TOKEN": TOKEN, **self.terraform.environ}
        return await asyncio.to_thread(self.world.run, *words, environ=environ)

    async def deployed(self) -> None:
        assert (await self.run("deploy", "v1", "--yes")).exit == 0

    def plans(self, change: Callable[[PlanBuilder], object]) -> None:
        plan = PlanBuilder()
        # The world's NodeBalancer has another id; here only the machines are of interest.
        plan.there = {
            a: (kind, v) for a, (kind, v) in plan.there.items() if kind == "linode_instance" and a.endswith('-1"]')
        }
        change(plan)
        tree = plan.tree
        tree["prior_state"]["values"]["outputs"] = {"celadon": {"sensitive": False, "value": {}}}
        (self.terraform.folder / "plan.json").write_text(json.dumps(tree))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_lab() as lab:
        yield Scene(tmp_path, lab)


def live_type(plan: PlanBuilder) -> object:
    return plan.update(vm("blue-1"), type="g6-standard-2")


def idle_image(plan: PlanBuilder) -> object:
    return plan.replace(vm(GREEN1), image="linode/debian13")


async def test_the_guard_alone_refuses_and_passes(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(live_type)
    file = scene.terraform.folder / "plan.json"
    ran = await scene.run("infra", "guard", str(file), "--json")
    assert (ran.exit, ran.end["result"]) == (2, "refused")
    (refusal,) = ran.end["refused"]
    assert refusal["attribute"] == "type"
    assert "blue-1 may get traffic" in refusal["message"]
    assert "celadon infra renew green" in refusal["way_out"]
    assert "error: " in ran.err
    assert "way out: " in ran.err
    scene.plans(idle_image)
    assert (await scene.run("infra", "guard", str(file))).exit == 0
    assert scene.terraform.calls == []


@pytest.mark.parametrize(
    ("text", "word"), [("", "is empty"), ("PK\x03\x04", "is a plan file"), ("{}", "is not a Terraform")]
)
async def test_the_guard_says_what_is_no_plan(scene: Scene, text: str, word: str) -> None:
    (scene.world.root / "x.json").write_text(text)
    ran = await scene.run("infra", "guard", "x.json")
    assert (ran.exit, word in ran.err) == (2, True), ran.err
    assert (await scene.run("infra", "guard", "absent.json")).exit == 2


async def test_plan_tells_changes_and_cost_and_changes_nothing(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(lambda p: p.create(vm("green-2"), "linode_instance", instance("green-2")))
    ran = await scene.run("infra", "plan")
    assert ran.exit == 0, ran.err
    assert '  + module.celadon.linode_instance.app["green-2"]' in ran.out
    assert "cost: 10.00 now, 15.00 afterwards" in ran.out
    assert {call[1] for call in scene.terraform.calls} == {"plan", "show"}


async def test_apply_asks_and_applies_what_was_read(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(idle_image)
    asked = await scene.run("infra", "apply")
    assert (asked.exit, "--yes" in asked.err) == (2, True)
    ran = await scene.run("infra", "apply", "--yes")
    assert ran.exit == 0, ran.err
    words = [call[1] for call in scene.terraform.calls]
    assert words.count("apply") == 1
    lease = msgspec.json.decode(await scene.world.store.read_lease() or b"", type=LeaseFacts)
    assert lease.holder == ""  # taken meanwhile, and given back


async def test_nothing_is_applied_that_the_guard_refuses(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(live_type)
    ran = await scene.run("infra", "apply", "--yes")
    assert ran.exit == 2
    assert "Nothing was changed." in ran.err
    assert "apply" not in [call[1] for call in scene.terraform.calls]


async def test_who_serves_is_looked_at_again_before_the_apply(scene: Scene) -> None:
    """Between the question and the answer another deployed to green."""
    await scene.deployed()
    scene.plans(idle_image)
    connect, seen = scene.world.connect, []

    @asynccontextmanager
    async def later(*args: Any) -> AsyncIterator[Any]:
        seen.append(1)
        if len(seen) == 3:  # the first look, the lease, the last look
            nodes = (await scene.world.balancer.read()).configs[0].nodes
            green = next(node for node in nodes if node.label == GREEN1)
            await scene.world.balancer.set_node(green, msgspec.convert("accept", type(green.mode)), 100, 1.0)
        async with connect(*args) as connected:
            yield connected

    scene.world.connect = later  # type: ignore[method-assign, assignment]  # one instance of a fake
    ran = await scene.run("infra", "apply", "--yes")
    assert ran.exit == 2, ran.err
    assert "green-1 may get traffic" in ran.err
    assert "apply" not in [call[1] for call in scene.terraform.calls]


async def test_no_apply_while_another_drives(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(idle_image)
    raw = await scene.world.store.read_lease()
    held = msgspec.structs.replace(msgspec.json.decode(raw or b"", type=LeaseFacts), holder="ci@runner")
    await scene.world.store.swap_lease(raw, msgspec.json.encode(held))
    renewing = asyncio.create_task(_renew(scene, held))
    try:
        ran = await scene.run("infra", "apply", "--yes")
    finally:
        renewing.cancel()
    assert ran.exit == 4, ran.err
    assert "ci@runner" in ran.err
    assert "apply" not in [call[1] for call in scene.terraform.calls]


async def _renew(scene: Scene, held: LeaseFacts) -> None:
    while True:
        raw = await scene.world.store.read_lease()
        held = msgspec.structs.replace(held, counter=held.counter + 1)
        await scene.world.store.swap_lease(raw, msgspec.json.encode(held))
        await asyncio.sleep(0.05)


async def test_a_stale_plan_is_terraforms_own_refusal(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(idle_image)
    stale = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "Saved plan is stale", "detail": ""}}
    scene.terraform.tell(says={"apply": [stale]}, exits={"apply": 1})
    ran = await scene.run("infra", "apply", "--yes")
    assert (ran.exit, "Saved plan is stale" in ran.err) == (2, True), ran.err


async def test_new_names_that_are_taken_are_found_before_anything_is_made(scene: Scene) -> None:
    await scene.lab.instance("green-2")
    await scene.deployed()
    scene.plans(lambda p: p.create(vm("green-2"), "linode_instance", instance("green-2")))
    ran = await scene.run("check", "--infra")
    assert ran.exit == 2
    assert "there is a Linode green-2 already" in ran.out


async def test_check_infra_finds_region_and_token(scene: Scene) -> None:
    await scene.deployed()
    for region, word in (("nowhere-1", "there is no region nowhere-1"), ("us-east", "us-east has no VPCs")):
        values = {"label": "x-vpc", "region": region}
        scene.plans(lambda p, v=values: p.create("module.celadon.linode_vpc.app[0]", "linode_vpc", v))  # type: ignore[misc]
        ran = await scene.run("check", "--infra")
        assert (ran.exit, word in ran.out) == (2, True), ran.out
    without = await asyncio.to_thread(scene.world.run, "check", "--infra", environ=scene.terraform.environ)
    assert (without.exit, "LINODE_TOKEN is not set" in without.out) == (2, True), without.out


async def test_a_machine_deleted_by_hand_is_explained(scene: Scene) -> None:
    await scene.deployed()
    await scene.lab.instance("blue-1")
    ran = await scene.run("check")
    assert ran.exit == 2
    assert "green-1: Terraform's state has it, the account has not" in ran.out
    assert "celadon infra apply" in ran.out


async def test_without_a_folder_that_is_said(scene: Scene) -> None:
    (scene.world.root / "celadon.toml").write_text(CONFIG)
    for verb in ("plan", "apply", "renew"):
        ran = await scene.run("infra", verb, "--yes")
        assert (ran.exit, "hosts.terraform names no folder" in ran.err) == (2, True)


async def test_a_destroyed_nodebalancer_is_refused_on_a_memory_world_too(scene: Scene) -> None:
    await scene.deployed()
    scene.plans(
        lambda p: (
            p.there.update({nb(): ("linode_nodebalancer", {"id": "1", "label": "app-nodebalancer"})}) or p.delete(nb())
        )
    )
    ran = await scene.run("infra", "plan", "--json")
    assert [each["code"] for each in ran.end["refused"]] == ["nodebalancer"]
