"""The store on a host: what is asked of the agent there."""

from typing import Any

from celadon.adapters import host_store
from celadon.adapters.agent_link import Call
from celadon.adapters.host_store import HostHomes
from celadon.core.home import Seat


async def test_a_journal_goes_in_pieces_that_fit_a_frame_and_keep_their_numbers() -> None:
    asked: list[dict[str, Any]] = []

    async def ask(host: str, call: Call) -> None:
        assert host == "green-1"
        asked.append(dict(call.args))

    events = [f"{number}:".encode() + b"x" * (host_store.PIECE // 3) for number in range(7)]
    events.insert(3, b"y" * (host_store.PIECE + 1))  # alone it is longer than a piece, and goes all the same
    await HostHomes("shop", ask).receive_events("green-1", Seat(1, 1, "green-1"), 9, 4, 100, events)
    assert [event.encode() for piece in asked for event in piece["events"]] == events
    assert len(asked) > 3
    number = 100
    for piece in asked:
        assert (piece["start"], piece["journal"]) == (number, 4)
        assert len(piece["events"]) == 1 or sum(map(len, piece["events"])) <= host_store.PIECE
        number += len(piece["events"])
