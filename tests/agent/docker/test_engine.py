"""The Engine's API at its edges: a socket that is not there, versions, errors inside a stream, silence."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celadon.agent import engine as engine_module
from celadon.agent import images
from celadon.agent.engine import Engine, EngineError, common_version, frames, socket_path
from celadon.agent.errors import AgentError

VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
Answer = Callable[[str, socket.socket], None]
Make = Callable[..., tuple[Engine, "StandIn"]]


class StandIn:
    """An Engine of few words: `/version` as told, and one scripted answer to everything else."""

    def __init__(self, path: Path, version: dict[str, str], answer: Answer) -> None:
        self.asked: list[str] = []
        self._version, self._answer = version, answer
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(8)
        self._lines: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            self._lines.append(line)
            line.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                request += line.recv(65536)
            target = request.split(b" ")[1].decode()
            self.asked.append(target)
            if target == "/version":
                line.sendall(plain(200, self._version))
            else:
                self._answer(target, line)

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()
        for line in self._lines:
            line.close()


def plain(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


def chunked(*records: object) -> bytes:
    out = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    for record in records:
        body = json.dumps(record).encode() + b"\r\n"
        out += b"%x\r\n%s\r\n" % (len(body), body)
    return out + b"0\r\n\r\n"


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Make]:
    made: list[StandIn] = []

    def make(answer: Answer, version: dict[str, str] | None = None) -> tuple[Engine, StandIn]:
        path = tmp_path / f"{len(made)}.sock"
        made.append(StandIn(path, version or VERSION, answer))
        return Engine(str(path)), made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        ("1.41", "1.12", (1, 41)),  # Docker 20.10
        ("1.47", "1.24", (1, 47)),  # 27
        ("1.52", "1.44", engine_module.NEWEST_KNOWN),  # 29
        ("1.99", "1.60", (1, 60)),  # one that has left us behind: its oldest is our best chance
        ("1.41", None, (1, 41)),
    ],
)
def test_both_sides_speak_the_newest_version_both_know(
    newest: str, oldest: str | None, spoken: tuple[int, int]
) -> None:
    assert common_version(newest, oldest) == spoken


def test_the_version_is_asked_once(stand_in: Make) -> None:
    engine, other = stand_in(lambda _, line: line.sendall(plain(200, [])))
    engine.get("/images/json")
    engine.get("/containers/json", {"all": "1"})
    assert other.asked == ["/version", "/v1.41/images/json", "/v1.41/containers/json?all=1"]


def test_docker_host_is_followed_when_it_is_a_socket(tmp_path: Path) -> None:
    assert socket_path({}) == "/var/run/docker.sock"
    assert socket_path({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}) == "/run/user/1000/docker.sock"
    for elsewhere in ("tcp://10.0.0.1:2375", "ssh://web-2", "unix://relative"):
        with pytest.raises(AgentError, match="not a unix socket") as error:
            socket_path({"DOCKER_HOST": elsewhere})
        assert error.value.kind == "refused"


def test_no_engine_is_said_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no Docker Engine") as error:
        Engine(str(tmp_path / "absent.sock")).get("/info")
    assert (error.value.kind, "docker.io" in str(error.value.hint)) == ("unavailable", True)


def test_a_dead_engine_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
    with pytest.raises(AgentError, match="does not answer") as error:
        Engine(str(path)).get("/info")
    assert error.value.kind == "unavailable"


def test_an_engine_that_says_nothing_is_given_up(stand_in: Make) -> None:
    engine, _ = stand_in(lambda *_: None)
    with pytest.raises(AgentError, match="no answer in time") as error:
        engine.get("/info", seconds=0.3)
    assert error.value.kind == "unavailable"


def test_a_body_that_trickles_is_given_up_as_a_whole(stand_in: Make) -> None:
    def trickle(_: str, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while True:
                line.sendall(b" ")
                threading.Event().wait(0.05)
        except OSError:
            return

    engine, _ = stand_in(trickle)
    with pytest.raises(AgentError, match="no answer in time"):
        engine.get("/info", seconds=0.5)


def test_an_answer_cut_in_the_middle_is_unavailable(stand_in: Make) -> None:
    def cut(_: str, line: socket.socket) -> None:
        line.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half')
        line.shutdown(socket.SHUT_RDWR)

    engine, _ = stand_in(cut)
    with pytest.raises(AgentError) as error:
        engine.get("/info")
    assert error.value.kind == "unavailable"


def test_an_error_status_keeps_the_engines_words(stand_in: Make) -> None:
    engine, _ = stand_in(lambda _, line: line.sendall(plain(409, {"message": "in use"})))
    with pytest.raises(EngineError) as error:
        engine.delete("/images/x")
    assert (error.value.status, error.value.message) == (409, "in use")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("manifest for r/a@sha256:00 not found: manifest unknown: manifest unknown", "refused", "manifest unknown"),
        ("unauthorized: authentication required", "refused", "unauthorized"),
        ("pull access denied for r/a, repository does not exist or may require 'docker login'", "refused", "denied"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "refused", "processor"),
        ("failed to register layer: write /usr/lib/x: no space left on device", "refused", "disk of Docker is full"),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", "unavailable", "lookup r"),
        ("received unexpected HTTP status: 502 Bad Gateway", "unavailable", "502"),
    ],
)
def test_errors_inside_the_pull_stream_are_understood(stand_in: Make, said: str, kind: str, words: str) -> None:
    def answer(target: str, line: socket.socket) -> None:
        if "/images/create" in target:
            problem = {"error": said, "errorDetail": {"message": said}}
            line.sendall(chunked({"status": "Pulling from r/a"}, problem))
        else:
            line.sendall(plain(404, {"message": "No such image"}))

    engine, _ = stand_in(answer)
    with pytest.raises(AgentError) as error:
        images.pull(engine, "r/a@sha256:00", None)
    assert error.value.kind == kind
    assert words in error.value.message
    assert error.value.message.startswith("r/a@sha256:00: ")


def test_moved_bytes_are_those_of_each_layer_once(stand_in: Make) -> None:
    pulled = threading.Event()

    def answer(target: str, line: socket.socket) -> None:
        if "/images/create" in target:
            pulled.set()
            progress = [
                {"status": "Downloading", "id": "a", "progressDetail": {"current": n, "total": 100}} for n in (1, 50)
            ]
            other = {"status": "Downloading", "id": "b", "progressDetail": {"current": 7}}
            unpacking = {"status": "Extracting", "id": "a", "progressDetail": {"current": 900}}
            line.sendall(chunked(*progress, other, unpacking, {"status": "Already exists", "id": "c"}))
        else:
            line.sendall(plain(200, {}) if pulled.is_set() else plain(404, {"message": "No such image"}))

    engine, _ = stand_in(answer)
    assert images.pull(engine, "r/a@sha256:00", None) == 107


def test_a_multiplexed_log_is_taken_apart() -> None:
    content = b"\x01\0\0\0\0\0\0\x03out" + b"\x02\0\0\0\0\0\0\x04err\n" + b"\x01\0\0\0\0\0\0\x01\n"
    assert list(frames(content)) == [(1, b"out"), (2, b"err\n"), (1, b"\n")]


def test_names_are_given_as_people_write_them(stand_in: Make) -> None:
    listed = [
        {"RepoDigests": ["ghcr.io/a/b@sha256:1", "acme/hello@sha256:2", "redis@sha256:3"]},
        {"RepoDigests": None},
    ]
    engine, _ = stand_in(lambda _, line: line.sendall(plain(200, listed)))
    found = set(images.by_digest(engine))
    assert {"ghcr.io/a/b@sha256:1", "docker.io/acme/hello@sha256:2", "docker.io/library/redis@sha256:3"} <= found
