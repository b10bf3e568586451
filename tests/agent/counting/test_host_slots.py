"""Counting a slot in the host's own namespace: what a venv replica is, on loopback."""

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.slots import own_slot, until
from tests.rig.require import require, require_programs, require_root

import celadon.agent
from celadon.agent import counting, sockdiag
from celadon.agent.counting import Counter
from celadon.agent.errors import AgentError

KEY = "web-1:5000"


class Application:
    """Accepts, and answers a line when it is told to; `hold` keeps connections open meanwhile."""

    def __init__(self, address: str, port: int, *, dual: bool = False) -> None:
        family = socket.AF_INET6 if dual else socket.AF_INET
        self._door = socket.create_server((address, port), family=family, dualstack_ipv6=dual, backlog=128)
        self.port = self._door.getsockname()[1]
        self.release = threading.Event()
        self.release.set()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            self.release.wait(30)
            with line:
                line.sendall(b"done\n")

    def close(self) -> None:
        self.release.set()
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()


def ask(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=10) as line:
        assert line.recv(10) == b"done\n"
        assert line.recv(10) == b""


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.close()


@pytest.fixture
def application(slot: dict[str, Any]) -> Iterator[Application]:
    application = Application(slot["address"], slot["port"])
    yield application
    application.close()


@pytest.fixture
def slot() -> dict[str, Any]:
    return own_slot()


def watch(counter: Counter, slot: dict[str, Any]) -> None:
    counter.watch(KEY, slot["address"], slot["port"], os.getpid(), "venv")


def test_an_open_request_counts_and_an_answered_one_does_not(
    counter: Counter, slot: dict[str, Any], application: Application
) -> None:
    watch(counter, slot)
    assert counter.count(KEY) == (0, 0)
    application.release.clear()
    with socket.create_connection((slot["address"], slot["port"]), timeout=10) as line:
        until(lambda: counter.count(KEY), lambda count: count == (1, 1), "one open request")
        application.release.set()
        while line.recv(10):
            pass
    until(lambda: counter.count(KEY), lambda count: count == (0, 1), "the request is over, and was one")


def test_twenty_requests_a_second_are_never_taken_for_quiet(
    counter: Counter, slot: dict[str, Any], application: Application
) -> None:
    watch(counter, slot)
    seen = []
    for second in range(3):
        for number in range(20):
            ask(slot["address"], slot["port"])
            time.sleep(0.04 if number < 19 or second < 2 else 0)
            if number in (9, 19):  # every half second, as a driver in a hurry looks
                seen.append(until(lambda: counter.count(KEY), lambda count: count.open == 0, "answered").opened or 0)
    assert all(later > earlier for earlier, later in itertools.pairwise(seen)), seen
    assert until(lambda: counter.count(KEY).opened, lambda opened: opened == 60, "each of 60 was seen") == 60


def test_what_ended_between_two_looks_is_seen(counter: Counter, slot: dict[str, Any], application: Application) -> None:
    watch(counter, slot)
    ask(slot["address"], slot["port"])
    until(lambda: counter.count(KEY).opened, lambda opened: opened == 1, "one ended request")


def test_the_same_port_on_another_address_is_another_slot(
    counter: Counter, slot: dict[str, Any], application: Application
) -> None:
    other = {**own_slot(), "port": slot["port"]}
    watch(counter, other)
    ask(slot["address"], slot["port"])
    probe = Counter()
    try:
        watch(probe, slot)
        ask(slot["address"], slot["port"])
        until(lambda: probe.count(KEY).opened, lambda opened: opened == 1, "the slot itself is told")
    finally:
        probe.close()
    assert counter.count(KEY) == (0, 0)


@pytest.mark.parametrize("listens_on", ["0.0.0.0", "::"])
def test_who_listens_everywhere_is_counted_at_the_slots_address(counter: Counter, listens_on: str) -> None:
    application = Application(listens_on, 0, dual=listens_on == "::")
    try:
        counter.watch(KEY, "127.0.0.1", application.port, os.getpid(), "venv")
        application.release.clear()
        with socket.create_connection(("127.0.0.1", application.port), timeout=10) as line:
            until(lambda: counter.count(KEY), lambda count: count == (1, 1), "one open request")
            application.release.set()
            assert line.recv(10) == b"done\n"
        for _ in range(2):
            ask("127.0.0.1", application.port)
        until(lambda: counter.count(KEY), lambda count: count == (0, 3), "and two that were never seen open")
    finally:
        application.close()


def test_a_slot_with_nobody_there_is_empty(counter: Counter, slot: dict[str, Any]) -> None:
    counter.watch(KEY, slot["address"], slot["port"], None, "venv")
    assert counter.count(KEY) == (0, 0)


def test_a_listener_that_is_no_replica_makes_the_slot_unknown(
    counter: Counter, slot: dict[str, Any], application: Application
) -> None:
    counter.watch(KEY, slot["address"], slot["port"], None, "venv")
    assert counter.count(KEY) == (None, None)


def test_a_replica_that_stopped_leaves_an_empty_slot(counter: Counter, slot: dict[str, Any]) -> None:
    application = Application(slot["address"], slot["port"])
    watch(counter, slot)
    ask(slot["address"], slot["port"])
    application.close()
    counter.watch(KEY, slot["address"], slot["port"], None, "venv")
    assert counter.count(KEY) == (0, 0)


def test_a_slot_nobody_asked_to_watch_is_unknown(counter: Counter) -> None:
    assert counter.count("web-9:1") == (None, None)


def test_without_the_kernels_news_the_number_ever_opened_is_unknown(
    slot: dict[str, Any], application: Application
) -> None:
    counter = Counter(netlink=False)
    watch(counter, slot)
    assert counter.count(KEY) == (0, None)


def test_a_new_process_in_the_slot_goes_on_counting(
    counter: Counter, slot: dict[str, Any], application: Application
) -> None:
    watch(counter, slot)
    ask(slot["address"], slot["port"])
    until(lambda: counter.count(KEY).opened, lambda opened: opened == 1, "one")
    counter.watch(KEY, slot["address"], slot["port"], os.getppid(), "venv")
    ask(slot["address"], slot["port"])
    until(lambda: counter.count(KEY).opened, lambda opened: opened == 2, "two")


def test_a_docker_slot_cannot_be_counted_by_the_hosts_port(counter: Counter, slot: dict[str, Any]) -> None:
    with pytest.raises(AgentError, match="container's port") as error:
        counter.watch(KEY, slot["address"], slot["port"], os.getpid(), "docker")
    assert error.value.kind == "bug"


def test_a_replica_that_is_gone_before_it_was_counted_is_unknown(counter: Counter, slot: dict[str, Any]) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        counter.watch(KEY, slot["address"], slot["port"], process.pid, "docker", container_port=8000)
        process.kill()
    assert counter.count(KEY) == (None, None)


def test_more_news_than_fits_is_said_and_is_not_silence(slot: dict[str, Any], application: Application) -> None:
    ends = sockdiag.Ends(slot["port"], buffer_bytes=1)  # the kernel makes it as small as it can
    try:
        for _ in range(40):
            ask(slot["address"], slot["port"])
        told = 0
        lost = False
        deadline = time.monotonic() + 10
        while not lost and time.monotonic() < deadline:
            news, lost = ends.read()
            told += len(news)
        assert lost
        assert told < 40
    finally:
        ends.close()


def test_a_busy_neighbour_does_not_drown_a_quiet_slot(slot: dict[str, Any], application: Application) -> None:
    ends = sockdiag.Ends(own_slot()["port"], buffer_bytes=1)
    try:
        for _ in range(40):
            ask(slot["address"], slot["port"])
        assert ends.read() == ([], False)
    finally:
        ends.close()


def test_lost_news_is_taken_for_traffic_even_if_none_of_what_is_left_concerns_the_slot(
    slot: dict[str, Any], application: Application
) -> None:
    other = own_slot()  # the same port on another address: what fills the buffer says nothing of this slot
    subject = counting.Subject(other["address"], slot["port"], "venv", None, None, slot["port"])
    watch = counting.Watch(subject, sockdiag.Ends(slot["port"], buffer_bytes=1), 0)
    try:
        for _ in range(40):
            ask(slot["address"], slot["port"])
        until(watch.count, lambda count: count.open == 0 and bool(count.opened), "it is not quiet")
    finally:
        watch.close()


def test_a_process_id_that_is_somebody_elses_by_now_is_unknown(slot: dict[str, Any]) -> None:
    earlier = counting.Subject(slot["address"], slot["port"], "docker", os.getpid(), 1, 8000)
    assert counting.Watch(earlier, None, 0).count() == (None, None)


def test_memory_is_bounded_by_the_number_of_watches(counter: Counter) -> None:
    for number in range(counting.MOST_WATCHES + 50):
        counter.watch(f"web-1:{number}", "127.0.0.1", number + 1, None, "venv")
    assert len(counter._vacant) + len(counter._watches) <= counting.MOST_WATCHES
    assert counter.count("web-1:0") == (None, None)


def test_no_root_is_needed(slot: dict[str, Any], application: Application) -> None:
    """The agent's own files, run by nobody: opened, counted and told as for root."""
    require_root("to become nobody")
    require_programs("setpriv", package="util-linux")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    require(python is not None and os.access(python, os.X_OK), "a python3 of the system's")
    with tempfile.TemporaryDirectory(prefix="celadon-nobody-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        package = Path(folder) / "celadon" / "agent"
        shutil.copytree(Path(celadon.agent.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package.parent / "__init__.py").touch()
        code = (
            "import sys; from celadon.agent.counting import Counter\n"
            f"counter = Counter(); counter.watch('k', {slot['address']!r}, {slot['port']}, 1, 'venv')\n"
            "print('ready', flush=True)\n"
            "for _ in sys.stdin: print(*counter.count('k'), flush=True)\n"
        )
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(python), "-c", code]
        with subprocess.Popen(
            command, cwd=folder, env={"PYTHONPATH": folder}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as nobody:
            assert nobody.stdin is not None
            assert nobody.stdout is not None
            assert nobody.stdout.readline() == "ready\n"
            for _ in range(20):
                ask(slot["address"], slot["port"])

            def count() -> str:
                print("count", file=nobody.stdin, flush=True)
                return nobody.stdout.readline().strip() if nobody.stdout else ""

            assert until(count, lambda said: said == "0 20", "nobody counts 20") == "0 20"
            nobody.stdin.close()


def test_tables_are_read_as_the_kernel_prints_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        found = sockdiag.listener("127.0.0.1", door.getsockname()[1])
        assert found is not None
        assert (found.address, found.state) == ("127.0.0.1", sockdiag.LISTEN)
        assert sockdiag.owner(found.inode) == (os.getpid(), Path("/proc/self/comm").read_text().strip())
    assert sockdiag.plain(bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))) == "10.0.0.1"
    assert sockdiag.plain(bytes(15) + b"\1") == "::1"
