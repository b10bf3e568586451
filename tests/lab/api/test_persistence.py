"""A lab that ends and comes back is the same lab."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from tests.lab.api.running import KEY, RunningLab, running_lab

from celadon.core.errors import Refused
from celadon.lab.api.app import Options, open_account
from celadon.lab.runner import Timing
from celadon.lab.store import StateFile
from celadon.lab.switches import Switches
from celadon.lab.world.account import State
from celadon.lab.world.addresses import AddressBlock
from celadon.lab.world.objects import Instance

STUCK = Options(timing=Timing(provision_seconds=600, boot_seconds=600))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.json"


async def test_everything_is_there_again_and_told_again(file: Path) -> None:
    async with running_lab(file) as lab:
        instance = await lab.instance("web-1", tags=["shop"])
        balancer = await lab.balancer()
        config = await lab.config(balancer, port=8080)
        node = await lab.post(f"{config}/nodes", {"label": "blue-1", "address": f"{instance['ipv4'][1]}:80"})
        await lab.put("/lab/switches", {"mode_delay_seconds": 2, "redispatch": True})
        token = (await lab.post("/v4/profile/tokens", {"label": "ci", "scopes": "linodes:read_only"}))["token"]
        before = await everything(lab)
    async with running_lab(file) as lab:
        assert await everything(lab) == before
        assert lab.account.state.switches == Switches(mode_delay_seconds=2, redispatch=True)
        assert lab.machines.running == {instance["id"]}
        assert lab.machines.machines[instance["id"]].authorized_keys == (KEY,)
        (told,) = lab.plane.balancers.values()
        assert told.configs[0].nodes[0].id == node["id"]
        assert (await lab.ask("GET", "/v4/linode/instances", token=token)).status == 200
        assert (await lab.balancer("another")) > balancer


async def everything(lab: RunningLab) -> list[object]:
    paths = ("/v4/linode/instances", "/v4/nodebalancers", "/v4/account/events", "/v4/tags")
    return [(await lab.get(path))["data"] for path in paths]


async def test_what_was_being_done_goes_on(file: Path) -> None:
    async with running_lab(file, options=STUCK) as lab:
        body = {"region": "us-ord", "type": "g6-nanode-1", "image": "linode/debian12", "authorized_keys": [KEY]}
        made = await lab.post("/v4/linode/instances", body)
        await lab.eventually(lambda: any(event.status == "started" for event in lab.account.state.events.values()))
    async with running_lab(file) as lab:
        assert (await lab.settled(made["id"]))["status"] == "running"
        assert lab.machines.log == [("create", made["id"]), ("boot", made["id"])]


async def test_an_instance_that_was_off_stays_off(file: Path) -> None:
    async with running_lab(file) as lab:
        made = await lab.instance("web-1", booted=False)
    async with running_lab(file) as lab:
        assert (made["id"] in lab.machines.machines, lab.machines.running) == (True, set())


async def test_an_answer_means_that_it_is_kept(file: Path) -> None:
    async with running_lab(file) as lab:
        await lab.balancer("kept")
        kept = json.loads(_text(file))
        assert [each["label"] for each in kept["state"]["balancers"].values()] == ["kept"]
    assert _others_may(file) == 0
    assert _beside(file) == []


async def test_many_changes_at_once_are_written_together(file: Path) -> None:
    kept = StateFile(file)
    states = [State(next_id=number) for number in range(100)]
    await asyncio.gather(*(kept.save(state) for state in states))
    assert kept.writes < 10
    assert StateFile(file).load() == states[-1]


def _text(file: Path) -> str:
    return file.read_text()


def _others_may(file: Path) -> int:
    return file.stat().st_mode & 0o077


def _beside(file: Path) -> list[Path]:
    return [each for each in file.parent.iterdir() if each != file]


async def test_no_secret_of_a_token_is_in_the_file(file: Path) -> None:
    async with running_lab(file) as lab:
        token = (await lab.post("/v4/profile/tokens", {"label": "ci"}))["token"]
    kept = _text(file)
    assert token not in kept
    assert "lab-token" not in kept


def test_a_file_that_is_no_state_is_refused_by_name(file: Path) -> None:
    file.parent.mkdir()
    for content in ("", "{", "[]", '{"format": 1}', '{"format": 2, "state": {}}'):
        file.write_text(content)
        with pytest.raises(Refused, match="state"):
            StateFile(file).load()


def test_a_kept_account_keeps_its_block_and_gets_the_new_token(file: Path) -> None:
    account = open_account(StateFile(None), "first", AddressBlock(3))
    file.parent.mkdir()
    file.write_bytes(msgspec.json.encode({"format": 1, "state": account.state}))
    again = open_account(StateFile(file), "second", AddressBlock(9))
    assert again.state.block == AddressBlock(3)
    assert len(again.state.tokens) == 2


def test_every_table_survives_the_file(file: Path) -> None:
    """A field that JSON cannot carry both ways would be lost only at the next start."""
    instance = Instance(
        id=5,
        label="web-1",
        region="us-ord",
        type="g6-nanode-1",
        image=None,
        status="offline",
        ipv4=("127.1.0.2",),
        ipv6="2001:db8::1/128",
        created="2026-01-01T00:00:00",
        updated="2026-01-01T00:00:00",
        host_uuid="x",
    )
    state = State(instances={5: instance}, switches=Switches(mode_delay_seconds=1.5))
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
