"""Terraform as a program: what it says, how it fails, and that an apply which has begun ends as Terraform ends it."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.infra.fake_terraform import FakeTerraform

from celadon.adapters import terraform_run
from celadon.adapters.terraform import output as terraform_output
from celadon.adapters.terraform_run import Terraform, program
from celadon.core.errors import CeladonError, NoAnswer, Refused, Unavailable


@pytest.fixture
def fake(tmp_path: Path) -> FakeTerraform:
    return FakeTerraform(tmp_path / "bin")


def runner(fake: FakeTerraform, tmp_path: Path) -> Terraform:
    for name in ("infra", "scratch"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Terraform(tmp_path / "infra", fake.environ, tmp_path / "scratch")


def problem(summary: str, detail: str = "", address: str = "") -> dict[str, object]:
    return {"type": "diagnostic", "diagnostic": {
        "severity": "error", "summary": summary, "detail": detail, "address": address}}  # fmt: skip


async def test_the_plan_that_was_made_is_the_one_that_is_shown_and_applied(fake: FakeTerraform, tmp_path: Path) -> None:
    (fake.folder / "plan.json").write_text('{"a": 1}')
    terraform = runner(fake, tmp_path)
    plan = await terraform.plan(print, ["-var-file=x"])
    assert json.loads(await terraform.show(plan)) == {"a": 1}
    await terraform.apply(plan, print)
    planned, shown, applied = fake.calls
    assert f"-out={plan}" in planned
    assert planned[-1] == "-var-file=x"
    assert shown[-1] == applied[-1] == str(plan)


async def test_progress_is_told_line_by_line(fake: FakeTerraform, tmp_path: Path) -> None:
    says = [{"type": "apply_start", "@message": "x: Creating..."}, {"type": "version", "@message": "no news"},
            {"type": "apply_complete", "@message": "x: Creation complete after 3s"}]  # fmt: skip
    fake.tell(says={"apply": says})
    told: list[str] = []
    terraform = runner(fake, tmp_path)
    await terraform.apply(await terraform.plan(print), told.append)
    assert told == ["x: Creating...", "x: Creation complete after 3s"]


@pytest.mark.parametrize(
    ("word", "said", "kind", "hint"),
    [
        ("apply", problem("Saved plan is stale"), Refused, "infra apply again"),
        ("apply", problem("[400] Label must be unique", address="linode_instance.a"), NoAnswer, "mend it"),
        ("plan", problem("Error acquiring the state lock"), Unavailable, "somebody else applies"),
        (
            "plan",
            problem("Error acquiring the state lock", "- Unsupported state file format: x"),
            Refused,
            "tfstate.backup",
        ),
        ("plan", problem("Required plugins are not installed"), Refused, "init"),
        ("plan", problem("Invalid value for variable", "region: like us-ord"), Refused, "plan"),
    ],
)
async def test_failures_say_what_to_do(
    fake: FakeTerraform, tmp_path: Path, word: str, said: dict[str, object], kind: type[CeladonError], hint: str
) -> None:
    terraform = runner(fake, tmp_path)
    plan = await terraform.plan(print)
    fake.tell(says={word: [said]}, exits={word: 1})
    with pytest.raises(kind) as caught:
        await (terraform.apply(plan, print) if word == "apply" else terraform.plan(print))
    assert hint in (caught.value.hint or "")
    assert type(caught.value) is kind
    diagnostic = said["diagnostic"]
    assert isinstance(diagnostic, dict)
    assert diagnostic["detail"] in "\n".join([caught.value.message, *caught.value.details])


async def test_a_first_stop_lets_terraform_write_its_state(fake: FakeTerraform, tmp_path: Path) -> None:
    terraform = runner(fake, tmp_path)
    plan = await terraform.plan(print)
    began = asyncio.Event()
    fake.tell(waits=True, says={"apply": [{"type": "apply_start", "@message": "x: Creating..."}]})
    applying = asyncio.create_task(terraform.apply(plan, lambda _: began.set()))
    async with asyncio.timeout(30):
        await began.wait()
        terraform.stop()
        terraform.stop()  # a second one must not make Terraform leave its state behind
        with pytest.raises(Unavailable, match="was stopped"):
            await applying
    assert (fake.folder / "state").read_text() == "written"


async def test_an_apply_outlives_whoever_began_it(fake: FakeTerraform, tmp_path: Path) -> None:
    """Cancelled, as at the end of patience: it is asked to stop, and ends by itself."""
    terraform = runner(fake, tmp_path)
    plan = await terraform.plan(print)
    began = asyncio.Event()
    fake.tell(waits=True, says={"apply": [{"type": "apply_start", "@message": "x: Creating..."}]})
    applying = asyncio.create_task(terraform.apply(plan, lambda _: began.set()))
    async with asyncio.timeout(30):
        await began.wait()
        applying.cancel()
        await asyncio.gather(applying, return_exceptions=True)
        while not (fake.folder / "state").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)


async def test_a_plan_past_its_deadline_is_ended(
    fake: FakeTerraform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform_run, "APPLY_WITHIN", 0.2)
    terraform = runner(fake, tmp_path)
    plan = await terraform.plan(print)
    fake.tell(waits=True)
    with pytest.raises(NoAnswer, match="did not end within"):
        await terraform.apply(plan, print)
    assert (fake.folder / "state").read_text() == "written"


def test_without_terraform_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="neither terraform nor tofu"):
        program({"PATH": str(tmp_path)})
    (tmp_path / "tofu").touch(mode=0o755)
    assert program({"PATH": str(tmp_path)}).endswith("tofu")


async def test_tofu_alone_tells_a_deploy_its_hosts(fake: FakeTerraform, tmp_path: Path) -> None:
    """`hosts.terraform` and `infra apply` find the same program."""
    (fake.folder / "terraform").rename(fake.folder / "tofu")
    (fake.folder / "output.json").write_text("{}")
    environ = {"PATH": str(fake.folder)}
    assert (await terraform_output(tmp_path, environ)).strip() == "{}"
    (fake.folder / "tofu").unlink()
    with pytest.raises(Refused, match=r"hosts\.terraform: neither terraform nor tofu"):
        await terraform_output(tmp_path, environ)
