"""Docker Engine API over its unix socket: requests with deadlines, streams, and errors in our words.

Knows HTTP and the Engine's manners, nothing about releases. Works with Engines from 20.10 (API 1.41) to 29 (which
refuses anything below 1.44): the version is the newest that both sides know.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from celadon.agent.errors import AgentError

DEFAULT_SOCKET = "/var/run/docker.sock"
NEWEST_KNOWN = (1, 51)  # what this was written against; every field used has been there since 1.41
QUICK = 30.0  # seconds for an answer that needs no network
SILENCE = 120.0  # seconds a stream may say nothing before it is given up
MOST_JSON = 64 << 20  # bytes: an answer beyond it is not one of the Engine's
Query = Mapping[str, str]


class EngineError(Exception):
    """The Engine answered, with an error. Whoever asked knows what it means."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Deadline:
    """The end of one whole exchange, whatever number of reads it takes."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        return min(left, at_most)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a socket in the file system. Keeps the socket: http.client lets go of it while a body is read."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.settimeout(timeout)

    def connect(self) -> None:
        self.line.connect(self._path)
        self.sock = self.line


class Engine:
    """One Docker Engine. A connection a request: they cost nothing here, and threads share no state."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._prefix: str | None = None

    @property
    def path(self) -> str:
        if self._path is None:
            self._path = socket_path(os.environ)
        return self._path

    def get(self, path: str, query: Query | None = None, seconds: float = QUICK) -> Any:
        return self.ask("GET", path, query, seconds=seconds)

    def post(self, path: str, query: Query | None = None, body: Any = None, seconds: float = QUICK) -> Any:
        return self.ask("POST", path, query, body=body, seconds=seconds)

    def delete(self, path: str, query: Query | None = None) -> Any:
        return self.ask("DELETE", path, query, seconds=120.0)  # big images take their time to unlink

    def ask(
        self, method: str, path: str, query: Query | None = None, *, body: Any = None, seconds: float = QUICK
    ) -> Any:
        """The decoded JSON of the answer, None where it has none. Raises EngineError and AgentError."""
        deadline = Deadline(seconds)
        connection, answer = self._send(method, self._versioned(path), query, body, {}, deadline)
        try:
            content = _read_all(connection, answer, deadline, MOST_JSON)
            return json.loads(content) if content.strip() else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(error) from error
        finally:
            connection.close()

    def pull(self, name: str, digest: str, credentials: Mapping[str, str] | None, seconds: float) -> Iterator[Any]:
        """Progress records of a pull, as they come. `credentials` go with this one request and are kept nowhere.

        Raises EngineError (status 0 where the error came inside the stream) and AgentError.
        """
        deadline = Deadline(seconds)
        query = {"fromImage": name, "tag": digest}
        headers = {} if credentials is None else {"X-Registry-Auth": _registry_auth(credentials)}
        connection, answer = self._send("POST", self._versioned("/images/create"), query, None, headers, deadline)
        try:
            while True:
                connection.line.settimeout(deadline.left(SILENCE))
                line = answer.readline(1 << 20)
                if not line:
                    return
                record = json.loads(line) if line.strip() else {}
                if "error" in record or "errorDetail" in record:
                    detail = record.get("errorDetail") or {}
                    raise EngineError(0, str(record.get("error") or detail.get("message") or "unknown error"))
                yield record
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(error) from error
        finally:
            connection.close()

    def logs(self, container: str, lines: int, *, timestamps: bool = False) -> Iterator[tuple[int, bytes]]:
        """(stream, bytes) of a container's last log lines; stream 1 is stdout, 2 stderr, 0 a terminal's mixture."""
        deadline = Deadline(QUICK)
        query = {"stdout": "1", "stderr": "1", "tail": str(lines), "timestamps": str(int(timestamps))}
        connection, answer = self._send("GET", self._log_of(container), query, None, {}, deadline)
        try:
            content = _read_all(connection, answer, deadline, MOST_JSON)
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        finally:
            connection.close()
        return frames(content) if _framed(answer) else iter([(0, content)])

    def follow(self, container: str, lines: int, cancelled: threading.Event) -> Iterator[tuple[int, bytes]]:
        """The last lines, with timestamps, and then what comes, until the container stops or `cancelled` is set.

        A log may be silent for days, so only the caller ends this wait: the agent when its link is gone.
        """
        query = {"stdout": "1", "stderr": "1", "tail": str(lines), "timestamps": "1", "follow": "1"}
        connection, answer = self._send("GET", self._log_of(container), query, None, {}, Deadline(QUICK))
        ended = threading.Event()
        watcher = threading.Thread(target=_hang_up, args=(connection.line, cancelled, ended), daemon=True)
        watcher.start()
        try:
            connection.line.settimeout(None)
            while True:
                head = answer.read(8) if _framed(answer) else b""
                if head and len(head) < 8:
                    return
                content = answer.read(int.from_bytes(head[4:], "big")) if head else answer.read1(1 << 16)
                if not content and (not head or cancelled.is_set()):
                    return
                yield (head[0] if head else 0), content
        except (OSError, http.client.HTTPException) as error:
            if not cancelled.is_set():
                raise self._silent(error) from error
        finally:
            ended.set()
            watcher.join()
            connection.close()

    def _log_of(self, container: str) -> str:
        return self._versioned(f"/containers/{urllib.parse.quote(container, safe='')}/logs")

    def _versioned(self, path: str) -> str:
        if self._prefix is None:
            deadline = Deadline(QUICK)
            connection, answer = self._send("GET", "/version", None, None, {}, deadline)
            try:
                facts = json.loads(_read_all(connection, answer, deadline, MOST_JSON))
                major, minor = common_version(facts["ApiVersion"], facts.get("MinAPIVersion"))
                self._prefix = f"/v{major}.{minor}"
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                raise self._silent(error) from error
            finally:
                connection.close()
        return self._prefix + path

    def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Any,
        headers: dict[str, str],
        deadline: Deadline,
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        """The answer with its body still to be read. Raises EngineError for a status of 400 and more."""
        target = path if not query else path + "?" + urllib.parse.urlencode(query)
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers = {**headers, "Content-Type": "application/json"}
        connection = _UnixConnection(self.path, deadline.left(QUICK))
        try:
            connection.connect()
        except OSError as error:
            connection.line.close()
            raise self._closed(error) from error
        try:
            connection.line.settimeout(deadline.left(3600.0))
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            if answer.status < 400:
                return connection, answer
            problem = _message(_read_all(connection, answer, deadline, 1 << 20))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            connection.line.close()
            raise self._silent(error) from error
        connection.close()
        raise EngineError(answer.status, problem)

    def _closed(self, error: OSError) -> AgentError:
        if isinstance(error, PermissionError):
            return AgentError(
                "refused",
                f"Docker Engine: {self.path} may not be used by {_user()}",
                f"on the host: usermod -aG docker {_user()}   then connect again",
            )
        if isinstance(error, FileNotFoundError):
            return AgentError(
                "unavailable",
                f"no Docker Engine: {self.path} does not exist",
                "on the host: apt-get install docker.io   or deploy with `source` instead of `image`",
            )
        return AgentError(
            "unavailable", f"Docker Engine does not answer at {self.path}", "on the host: systemctl status docker"
        )

    def _silent(self, error: Exception) -> AgentError:
        why = "no answer in time" if isinstance(error, socket.timeout) else type(error).__name__
        return AgentError("unavailable", f"Docker Engine at {self.path}: {why}", "on the host: systemctl status docker")


def socket_path(environment: Mapping[str, str]) -> str:
    """Where the Engine listens, by the word of DOCKER_HOST; only sockets in the file system are taken."""
    named = environment.get("DOCKER_HOST", "")
    if not named:
        return DEFAULT_SOCKET
    scheme, _, path = named.partition("://")
    if scheme != "unix" or not path.startswith("/"):
        raise AgentError(
            "refused",
            "DOCKER_HOST on the host is not a unix socket",
            "the agent talks to the Engine of its own host: unset DOCKER_HOST, or unix:///path/docker.sock",
        )
    return path


def common_version(newest: str, oldest: str | None) -> tuple[int, int]:
    """The newest API version that the Engine and this file know; the Engine's oldest where it has left us behind."""
    theirs = _version(newest)
    return max(min(theirs, NEWEST_KNOWN), _version(oldest) if oldest else (0, 0))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _framed(answer: http.client.HTTPResponse) -> bool:
    """A container with a terminal writes plain bytes; every other log is in frames."""
    return answer.headers.get_content_type() != "application/vnd.docker.raw-stream"


def _hang_up(line: socket.socket, cancelled: threading.Event, ended: threading.Event) -> None:
    """End a read that waits for a line, when nobody waits for the line any more."""
    while not ended.is_set():
        if cancelled.wait(0.1):
            with contextlib.suppress(OSError):  # the other side was first
                line.shutdown(socket.SHUT_RDWR)
            return


def frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Docker's multiplexed stream: a byte for the stream, three of nothing, four of length, then as many bytes."""
    at = 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "big")
        yield content[at], content[at + 8 : at + 8 + size]
        at += 8 + size


def _read_all(connection: _UnixConnection, answer: http.client.HTTPResponse, deadline: Deadline, most: int) -> bytes:
    """The whole body, in pieces as they come: a read of a given size waits until it is full, past any deadline."""
    pieces: list[bytes] = []
    size = 0
    expected = answer.length  # None: in chunks, which say themselves when they end
    while size != expected:
        connection.line.settimeout(deadline.left(SILENCE))
        piece = answer.read1(1 << 16 if expected is None else min(1 << 16, expected - size))
        if not piece:
            if expected is not None:
                raise http.client.IncompleteRead(b"", expected - size)
            break
        size += len(piece)
        if size > most:
            raise http.client.HTTPException(f"answer larger than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _message(content: bytes) -> str:
    try:
        said = json.loads(content).get("message")
    except (ValueError, AttributeError):
        said = None
    return str(said or content[:200].decode("utf-8", "replace") or "no reason given").strip()


def _registry_auth(credentials: Mapping[str, str]) -> str:
    known = {name: credentials[name] for name in ("username", "password", "serveraddress") if name in credentials}
    return base64.urlsafe_b64encode(json.dumps(known).encode()).decode("ascii")


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"
