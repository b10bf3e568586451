"""`celadon infra plan|apply|guard` and `check --infra`, on a world in memory, a lab's API and a told Terraform."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from celadon.agent.first_boot import AT_WORK
from celadon.cli import infra_root
from celadon.cli.app import Need
from celadon.cli.infra_ready import wait_ready
from celadon.config.project import open_project
from celadon.core.errors import Refused
from celadon.core.release import Colour
from celadon.drive.lease import LeaseFacts
from tests.cli.worlds import CONFIG, MemoryWorld, Ran
from tests.infra.fake_terraform import FakeTerraform
from tests.infra.plan_builder import GREEN1, PlanBuilder, instance, nb, vm
from tests.lab.api.running import TOKEN, RunningLab, running_lab

pytestmark = pytest.mark.slow  # each starts a stand-in for Terraform, some a dozen times


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
        (self.terraform.folder / "plan.json").write_text(json.dumps(plan.tree))


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


# -- renew -----------------------------------------------------------------------------------------


def generations(scene: Scene, blue: int = 1, green: int = 1) -> None:
    """What Terraform's output says of the machines there are."""
    hosts = {
        colour: [{"label": f"{colour}-1", "ssh": f"192.0.2.{last}", "private": f"192.168.130.{last}", "id": last,
                  "machine": f"{colour}-g{generation}-1", "generation": generation}]
        for colour, last, generation in (("blue", 11, blue), ("green", 21, green))
    }  # fmt: skip
    output = {"hosts": hosts, "nodebalancer": 1, "known_hosts": ""}
    (scene.terraform.folder / "output.json").write_text(json.dumps(output))


def wanted(scene: Scene) -> dict[str, int]:
    tree = json.loads((scene.world.root / "infra" / infra_root.COLOURS).read_text())
    return {colour: its["generation"] for colour, its in tree["colours"].items()}


async def renewable(scene: Scene) -> None:
    await scene.deployed()
    generations(scene)
    infra_root.write_colours(scene.world.root / "infra", {colour: infra_root.Wanted() for colour in Colour})
    scene.plans(idle_image)


async def test_renew_raises_the_idle_colours_generation(scene: Scene) -> None:
    await renewable(scene)
    ran = await scene.run("infra", "renew", "--yes")
    assert ran.exit == 0, ran.err
    assert wanted(scene) == {"blue": 1, "green": 2}
    assert (await scene.run("infra", "renew", "purple", "--yes")).exit == 2


async def test_renew_never_takes_the_live_colour_nor_the_home(scene: Scene) -> None:
    await renewable(scene)
    live = await scene.run("infra", "renew", "blue", "--yes")
    assert (live.exit, "blue is not idle" in live.err) == (2, True)
    assert (await scene.run("deploy", "v2", "--yes")).exit == 0  # green serves now, and blue has the home
    home = await scene.run("infra", "renew", "--yes")
    assert (home.exit, "celadon store move green-1" in home.err) == (2, True)
    assert wanted(scene) == {"blue": 1, "green": 1}
    assert scene.terraform.calls == [call for call in scene.terraform.calls if call[1] == "output"]


async def test_a_renewal_that_was_not_applied_leaves_all_as_it_was(scene: Scene) -> None:
    await renewable(scene)
    asked = await scene.run("infra", "renew")
    assert asked.exit == 2
    assert wanted(scene) == {"blue": 1, "green": 1}
    scene.plans(live_type)
    refused = await scene.run("infra", "renew", "--yes")
    assert refused.exit == 2
    assert wanted(scene) == {"blue": 1, "green": 1}
    scene.plans(lambda p: [idle_image(p), p.update(vm("blue-1"), tags=["new"])])
    more = await scene.run("infra", "renew", "--yes")
    assert (more.exit, "of the other colour" in more.err) == (2, True)
    assert "apply" not in [call[1] for call in scene.terraform.calls]


async def test_a_renewal_that_broke_off_is_gone_on_with(scene: Scene) -> None:
    await renewable(scene)
    said = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "[500] oops", "detail": ""}}
    scene.terraform.tell(says={"apply": [said]}, exits={"apply": 1})
    assert (await scene.run("infra", "renew", "--yes")).exit == 4
    assert wanted(scene) == {"blue": 1, "green": 2}
    scene.terraform.tell(says={}, exits={})
    assert (await scene.run("infra", "renew", "--yes")).exit == 0
    assert wanted(scene) == {"blue": 1, "green": 2}


async def test_deploy_fresh_renews_first_and_goes_on_where_a_rollout_is_open(scene: Scene) -> None:
    await renewable(scene)
    ran = await scene.run("deploy", "v2", "--fresh", "--yes")
    assert ran.exit == 0, ran.err
    assert wanted(scene) == {"blue": 1, "green": 2}
    assert "v2 is live on green" in ran.out
    generations(scene, green=2)
    held = asyncio.create_task(scene.run("deploy", "v3", "--yes", "--hold"))
    async with asyncio.timeout(30):
        while b'"v3"' not in (await scene.world.store.read_intent() or b""):  # noqa: ASYNC110 - a fake
            await asyncio.sleep(0.05)
    again = asyncio.create_task(scene.run("deploy", "v3", "--fresh", "--yes", "--hold"))
    assert (await again).exit == 4  # it found the open rollout, with its driver
    await scene.run("abort")
    await held
    assert wanted(scene) == {"blue": 1, "green": 2}


async def test_an_output_that_cannot_be_read_is_not_taken_for_none(scene: Scene) -> None:
    await renewable(scene)
    (scene.terraform.folder / "output.json").write_text("{}")
    scene.terraform.tell(stderr="Error: state data in S3 does not have the expected content", exits={"output": 1})
    ran = await scene.run("infra", "renew", "green", "--yes")
    assert (ran.exit, "does not have the expected content" in ran.err) == (2, True), ran.err
    assert "apply" not in [call[1] for call in scene.terraform.calls]


class Heard:
    """An output that notes what it is told, and lets the world go on each time."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.lines: list[str] = []
        self._then = then

    def say(self, line: str, _style: str = "") -> None:
        self.lines.append(line)
        self._then()


async def test_a_new_machine_is_waited_for_until_cloud_init_is_done(scene: Scene) -> None:
    machine = scene.world.hosts.machines["green-1"]
    machine.first_boot = AT_WORK
    heard = Heard(lambda: setattr(machine, "first_boot", ""))
    lines = await _waited(scene, heard)
    assert lines == [f"  green-1: {AT_WORK}", "  green-1 is ready"]


async def test_a_new_machine_that_cloud_init_spoilt_is_refused(scene: Scene) -> None:
    scene.world.hosts.machines["green-1"].first_boot = "cloud-init ended with errors: apt"
    with pytest.raises(Refused, match="green-1: cloud-init ended with errors: apt"):
        await _waited(scene, Heard(lambda: None))


async def _waited(scene: Scene, heard: Heard) -> list[str]:
    call: Any = SimpleNamespace(output=heard)
    project = open_project(None, start=scene.world.root)
    async with scene.world.connect(project, Need(balancer=False), {}) as connected:
        await wait_ready(call, msgspec.structs.replace(connected, lab=True), ["green-1"])
    return heard.lines
