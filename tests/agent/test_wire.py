"""Frames: what is written is read, and what is not a frame is never taken for one."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.agent import operations, wire

KINDS = [wire.REQUEST, wire.REPLY, wire.CHUNK]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.binary(max_size=300))))
def test_frames_are_read_as_they_were_written(frames: list[tuple[int, int, bytes]]) -> None:
    source = io.BytesIO(b"".join(wire.frame(*one) for one in frames))
    assert [wire.read_frame(source) for _ in frames] == frames
    assert wire.read_frame(source) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    source = io.BytesIO(data)
    try:
        while (frame := wire.read_frame(source)) is not None:
            assert len(frame[2]) <= wire.limit(frame[0])
    except wire.BadFrame:
        pass


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_frame_that_is_cut_is_the_end(payload: bytes, data: st.DataObject) -> None:
    whole = wire.frame(wire.REPLY, 7, payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert wire.read_frame(io.BytesIO(whole[:cut])) is None


@pytest.mark.parametrize(
    ("kind", "length"),
    [(wire.REQUEST, wire.MAX_JSON + 1), (wire.CHUNK, wire.MAX_CHUNK + 2), (wire.PING, 1), (wire.CREDIT, 5), (99, 0)],
)
def test_a_length_beyond_its_limit_is_refused_before_it_is_read(kind: int, length: int) -> None:
    with pytest.raises(wire.BadFrame):
        wire.check_header(wire.HEADER.pack(kind, 1, length))
    if kind != 99:
        with pytest.raises(wire.BadFrame):
            wire.frame(kind, 1, b"x" * length)


def test_every_operation_is_served_and_counted() -> None:
    assert set(operations.HANDLERS) == set(wire.OPERATIONS)
    assert set(wire.OPERATIONS) >= wire.CHANGES
