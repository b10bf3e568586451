"""Where a lab listens, and which addresses it owns."""

import socket
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from celadon.core.errors import Refused, Unavailable
from celadon.lab.api.app import create_app, open_account
from celadon.lab.api.serve import refuse_public, serve
from celadon.lab.blocks import GUARD_PORT, claim_block, claim_for
from celadon.lab.memory import MemoryMachines, MemoryPlane
from celadon.lab.store import StateFile
from celadon.lab.world import balancers
from celadon.lab.world.account import State
from celadon.lab.world.addresses import AddressBlock


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "8.8.8.8", "example.com", "", "localhost"])
def test_only_loopback_addresses_are_listened_on(host: str) -> None:
    with pytest.raises(Refused, match="does not listen"):
        refuse_public(host)


async def test_a_public_address_is_refused_before_anything_is_opened() -> None:
    account = open_account(StateFile(None), "token", AddressBlock(1))
    with pytest.raises(Refused):
        await serve(create_app(account, MemoryPlane(), MemoryMachines()), "0.0.0.0")


async def test_a_taken_port_is_named() -> None:
    account = open_account(StateFile(None), "token", AddressBlock(1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=str(port)):
            await serve(create_app(account, MemoryPlane(), MemoryMachines()), port=port)


async def test_the_port_is_free_after_closing() -> None:
    account = open_account(StateFile(None), "token", AddressBlock(1))
    served = await serve(create_app(account, MemoryPlane(), MemoryMachines()))
    port = int(served.url.rpartition(":")[2])
    await served.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


async def test_a_lab_that_cannot_start_says_so() -> None:
    account = open_account(StateFile(None), "token", AddressBlock(1))
    plane = MemoryPlane()
    plane.failing = OSError("no room")
    balancers.create(account, {"region": "us-ord", "label": "edge"})
    with pytest.raises(OSError, match="no room"):
        await serve(create_app(account, plane, MemoryMachines()))


def test_two_labs_never_own_the_same_block(tmp_path: Path) -> None:
    first, second = claim_block(tmp_path), claim_block(tmp_path)
    try:
        assert first.block != second.block
        with pytest.raises(Refused, match="another lab"):
            claim_block(tmp_path, first.block.octet)
        with pytest.raises(OSError, match="in use"):
            socket.create_server((first.block.guard, GUARD_PORT))
    finally:
        first.close()
        second.close()


def test_a_kept_account_gets_its_own_block_or_none(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with closing(claim_for(StateFile(file), tmp_path)) as fresh:
        octet = fresh.block.octet
        with closing(claim_block(tmp_path)) as next_one:
            other = next_one.block.octet
    file.write_bytes(msgspec.json.encode({"format": 1, "state": State(block=AddressBlock(other))}))
    with closing(claim_for(StateFile(file), tmp_path)) as kept:
        assert kept.block.octet == other
        with pytest.raises(Refused, match="another lab"):
            claim_for(StateFile(file), tmp_path)
        with pytest.raises(Refused, match="kept account"):
            claim_for(StateFile(file), tmp_path, octet)


def test_the_same_folder_gets_the_same_block_again(tmp_path: Path) -> None:
    first = claim_block(tmp_path)
    first.close()
    again = claim_block(tmp_path)
    again.close()
    assert again.block == first.block
    for wrong in (0, 2, 254, 255, -1):
        with pytest.raises(Refused, match="no address block"):
            claim_block(tmp_path, wrong)
