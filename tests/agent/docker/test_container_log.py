"""Lines out of frames: the cases that a real Engine shows rarely."""

from celadon.agent import container_log
from celadon.agent.container_log import Entry


def test_a_line_in_several_frames_is_one_line_and_streams_do_not_mix() -> None:
    frames = [(1, b"first "), (2, b"error\n"), (1, b"half\nnext\r\n"), (1, b"unfinished")]
    assert list(container_log.lines(frames)) == ["error", "first half", "next", "unfinished"]


def test_a_line_without_end_is_bounded_and_bytes_that_are_no_text_are_shown() -> None:
    endless = [(1, b"x" * 50_000)] * 20
    assert [len(line) for line in container_log.lines(endless)] == [container_log.LONGEST_LINE]
    assert list(container_log.lines([(1, b"\xff\n")])) == ["\ufffd"]


def test_times_are_read_to_the_nanosecond_the_engine_writes() -> None:
    frames = [(1, b"2026-11-24T17:15:51.500000000Z two words\n"), (1, b"no time here\n")]
    assert list(container_log.entries(frames)) == [Entry(1795540551.5, "two words"), Entry(None, "no time here")]
