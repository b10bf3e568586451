"""Finding processes again, and ending only the right ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from celadon.lab.processes import (
    Process,
    belonging,
    end_all,
    end_from_pidfile,
    end_now,
    gone,
    left_behind,
    look,
    members,
    send,
    write_pidfile,
)

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    children: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **environment: str) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen(
            command or ("sleep", "1000"), env={**os.environ, **environment}, start_new_session=True, stdout=-1
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def named(child: "subprocess.Popen[bytes]") -> Process:
    seen = look(child.pid)
    assert seen is not None
    return seen.process


def test_a_process_is_its_pid_and_its_start(spawn: Spawn) -> None:
    child = spawn()
    process = named(child)
    impostor = msgspec.structs.replace(process, started=process.started - 1)
    assert gone(impostor)
    send(impostor, signal.SIGKILL)
    end_now(impostor)
    assert not gone(process)
    end_now(process)
    assert gone(process)
    end_now(process)  # twice is fine


def test_a_name_with_brackets_and_spaces_does_not_mislead(spawn: Spawn, tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = spawn(str(program), "1000")
    deadline = time.monotonic() + 10
    while (seen := look(child.pid)) is None or seen.session != child.pid:
        assert time.monotonic() < deadline
    assert seen.parent == os.getpid()


def test_belonging_is_by_marker_session_and_descent(spawn: Spawn) -> None:
    marker = f"CELADON_TEST_MARKER={os.getpid()}-{time.monotonic_ns()}"
    name, _, value = marker.partition("=")
    # A marked shell; a child of it without the marker; a child in a session of its own, without it too.
    code = "env -i sleep 1000 & env -i setsid sleep 1000 & echo ready; wait"
    family = spawn("/bin/sh", "-c", code, **{name: value})
    assert family.stdout is not None
    assert family.stdout.readline() == b"ready\n"
    stranger, look_alike = spawn(), spawn(**{name: value + "0"})
    deadline = time.monotonic() + 10
    while len(found := {process.pid for process in belonging(marker)}) < 3:
        assert time.monotonic() < deadline
    assert family.pid in found
    assert {stranger.pid, look_alike.pid, os.getpid()} & found == set()
    end_all(marker)
    assert belonging(marker) == ()
    assert not gone(named(stranger))
    assert not gone(named(look_alike))


def test_a_known_process_brings_its_session_along(spawn: Spawn) -> None:
    marker = "CELADON_TEST_MARKER=nobody-has-this"
    family = spawn("/bin/sh", "-c", "env -i sleep 1000 & echo ready; wait")
    assert family.stdout is not None
    family.stdout.readline()
    leader = named(family)
    survivors = [process for process in members(family.pid) if process != leader]
    os.kill(family.pid, signal.SIGKILL)
    family.wait()
    assert belonging(marker) == ()
    assert set(belonging(marker, survivors)) == set(survivors)
    reused = [msgspec.structs.replace(process, started=1) for process in survivors]
    assert belonging(marker, reused) == ()
    for process in survivors:
        end_now(process)


def test_a_member_of_a_strangers_session_does_not_claim_it(spawn: Spawn) -> None:
    marker = f"CELADON_TEST_MARKER={time.monotonic_ns()}"
    name, _, value = marker.partition("=")
    stranger = spawn("/bin/sh", "-c", f"{name}={value} sleep 1000 & sleep 1000 & echo ready; wait")
    assert stranger.stdout is not None
    stranger.stdout.readline()
    deadline = time.monotonic() + 10
    while len(found := belonging(marker)) != 1:
        assert time.monotonic() < deadline
    assert stranger.pid not in {process.pid for process in found}
    for process in members(stranger.pid):
        end_now(process)


def test_nothing_is_left_behind_in_a_session_that_begins_anew(spawn: Spawn) -> None:
    family, stranger = spawn("/bin/sh", "-c", "sleep 1000 & echo ready; wait"), spawn()
    assert family.stdout is not None
    family.stdout.readline()
    (survivor,) = [process for process in members(family.pid) if process.pid != family.pid]
    os.kill(family.pid, signal.SIGKILL)
    family.wait()
    try:
        assert left_behind(family.pid) == (survivor,)
        assert left_behind(stranger.pid) == ()  # a number that was given away
    finally:
        end_now(survivor)


def test_pidfiles_end_the_process_they_mean(spawn: Spawn, tmp_path: Path) -> None:
    child, other = spawn(), spawn()
    right, wrong, torn = tmp_path / "right", tmp_path / "wrong", tmp_path / "torn"
    write_pidfile(right, child.pid)
    wrong.write_bytes(msgspec.json.encode(Process(other.pid, 1)))
    torn.write_bytes(b'{"pid":')
    expected = named(child)
    for file in (right, wrong, torn):
        end_from_pidfile(file)
        assert not file.exists()
    assert gone(expected)
    assert not gone(named(other))
    child.wait()
    write_pidfile(right, child.pid)
    assert not right.exists(), "nothing to remember"


def test_a_leashed_program_dies_with_its_parent(spawn: Spawn) -> None:
    from celadon.lab.plane import leash  # noqa: PLC0415 - a script, imported for its path

    code = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {leash.__file__!r}, str(os.getpid()),"
        " '/bin/sh', '-c', 'echo leashed; exec sleep 1000'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = spawn(sys.executable, "-c", code)
    assert parent.stdout is not None
    lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    assert b"leashed" in lines
    (pid,) = (int(line) for line in lines - {b"leashed"})
    seen = look(pid)
    assert seen is not None
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while not gone(seen.process):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.01)


def test_a_leash_whose_holder_is_gone_already_starts_nothing() -> None:
    from celadon.lab.plane import leash  # noqa: PLC0415

    done = subprocess.run(
        [sys.executable, "-I", "-S", leash.__file__, "1", "/bin/echo", "started"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
