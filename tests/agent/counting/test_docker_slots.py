"""Counting a slot behind a published Docker port, where the host's own table shows nothing."""

import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.agent.slots import own_slot, until
from tests.rig.docker_world import World
from tests.rig.processes import in_namespace

from celadon.agent import counting
from celadon.agent.counting import Counter

pytestmark = pytest.mark.slow  # a real Docker Engine

KEY = "web-1:5000"


class Subject:
    """One replica in its slot, and a counter that looks at it as the agent does: facts, watch, count."""

    def __init__(self, world: World, counter: Counter, variant: Any = "good") -> None:
        self.world, self.counter = world, counter
        self.release, self.slot = world.release(variant), own_slot()
        self.start()

    def start(self) -> None:
        self.world.docker.start(self.world.app, self.world.place(self.release, self.slot))
        until(lambda: self.world.facts(self.slot), lambda facts: bool(facts["listening"]), "it listens")

    def stop(self) -> None:
        self.world.docker.stop(self.world.app, self.release["id"], self.slot, 10)

    def count(self) -> counting.Count:
        facts = self.world.facts(self.slot)
        slot = self.slot
        self.counter.watch(KEY, slot["address"], slot["port"], facts["pid"], "docker", facts["container_port"])
        return self.counter.count(KEY)

    def ask(self, path: str = "/") -> None:
        with self.send(path) as line:
            assert line.recv(12) == b"HTTP/1.0 200"
            while line.recv(4096):
                pass

    def send(self, path: str) -> socket.socket:
        line = socket.create_connection((self.slot["address"], self.slot["port"]), timeout=30)
        line.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return line


@pytest.fixture(params=["netlink", "passive opens"])
def counter(request: pytest.FixtureRequest) -> Iterator[Counter]:
    """Both ways of counting: the kernel's news, and what is left where they cannot be had."""
    counter = Counter(netlink=request.param == "netlink")
    yield counter
    counter.close()


@pytest.fixture
def subject(world: World, counter: Counter) -> Subject:
    return Subject(world, counter)


def test_one_five_second_request_through_a_published_port_is_one_open(subject: Subject) -> None:
    assert subject.count().open == 0
    opened = subject.count().opened or 0
    with subject.send("/slow?seconds=5") as line:
        begun = until(subject.count, lambda count: count.open == 1, "one request is open")
        assert begun.opened == opened + 1
        assert subject.count().open == 1
        assert line.recv(12) == b"HTTP/1.0 200"
    until(subject.count, lambda count: count == (0, opened + 1), "it is answered")


def test_twenty_requests_a_second_are_never_taken_for_quiet(subject: Subject) -> None:
    opened = subject.count().opened or 0
    seen = [opened]
    for _ in range(6):
        for _ in range(10):
            subject.ask()
            time.sleep(0.04)
        seen.append(subject.count().opened or 0)
    assert all(later > earlier for earlier, later in itertools.pairwise(seen)), seen
    until(subject.count, lambda count: count == (0, opened + 60), "each of 60 was seen")


def test_a_stopped_replica_leaves_an_empty_slot(subject: Subject) -> None:
    subject.ask()
    subject.stop()
    assert subject.count() == (0, 0)


def test_a_replica_that_restarted_since_the_look_is_unknown_until_it_is_looked_at(
    subject: Subject, world: World
) -> None:
    subject.ask()
    before = until(subject.count, lambda count: count.open == 0, "answered").opened or 0
    container = world.container(subject.release, subject.slot)["Id"]
    world.engine.engine.post(f"/containers/{container}/restart", {"t": "5"})
    assert subject.counter.count(KEY) == (None, None)
    until(lambda: world.facts(subject.slot), lambda facts: bool(facts["listening"]), "it listens again")
    assert (subject.count().opened or 0) >= before
    subject.ask()
    until(subject.count, lambda count: (count.opened or 0) > before, "and counts on")


def test_a_slot_that_a_foreign_container_holds_is_unknown(world: World, counter: Counter) -> None:
    slot = own_slot()
    world.unmanaged(f"{world.app}-by-hand", slot)
    facts = world.facts(slot)
    counter.watch(KEY, slot["address"], slot["port"], facts["pid"], "docker", facts["container_port"])
    assert counter.count(KEY) == (None, None)


def test_the_containers_own_health_checks_are_not_traffic(world: World) -> None:
    counter = Counter()
    try:
        subject = Subject(world, counter)
        before = subject.count()
        pid = world.facts(subject.slot)["pid"]
        with in_namespace(pid, lambda: socket.create_connection(("127.0.0.1", 8000), timeout=10)):
            assert subject.count().open == 0
        subject.ask()
        until(subject.count, lambda count: count.open == 0 and count != before, "one request from outside")
        assert subject.count().opened == (before.opened or 0) + 1
    finally:
        counter.close()


def test_counting_holds_no_namespace_once_the_slot_is_forgotten(subject: Subject) -> None:
    subject.count()
    subject.stop()
    subject.count()
    assert subject.counter._watches == {}
