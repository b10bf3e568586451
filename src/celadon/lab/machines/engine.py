"""The machine's Docker Engine, shared by all instances: what becomes of an instance's containers when it stops.

Standard library only, over the Engine's unix socket: the Docker runtime proper is the agent's.
"""

import http.client
import json
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celadon.core.errors import Unavailable

ANSWER_SECONDS = 60
HOST_LABEL = "celadon.host"  # every container of Celadon carries its host's name


def find_engine(environ: Mapping[str, str]) -> Path | None:
    """The socket of an Engine that answers, or None. One on another machine is none of the lab's business."""
    address = environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return None
    path = Path(address.removeprefix("unix://"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(str(path))
        except OSError:
            return None
    return path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """Blocking calls; ask them from a thread. Raises `Unavailable` when the Engine refuses or is silent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def containers(self, host: str, state: str | None = None) -> list[str]:
        """Ids of the containers of one host, all or those in one state (`running`, `paused`)."""
        filters = {"label": [f"{HOST_LABEL}={host}"]} | ({"status": [state]} if state else {})
        query = urllib.parse.urlencode({"all": "true", "filters": json.dumps(filters)})
        found = self._call("GET", f"/containers/json?{query}")
        return [container["Id"] for container in found]

    def remove(self, host: str) -> None:
        """Kill and remove them with their anonymous volumes."""
        for container in self.containers(host):
            self._call("DELETE", f"/containers/{container}?force=true&v=true")

    def act(self, verb: str, containers: list[str]) -> None:
        """`stop`, `kill`, `start`, `pause` or `unpause` each."""
        for container in containers:
            self._call("POST", f"/containers/{container}/{verb}")

    def _call(self, method: str, path: str) -> Any:
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the Docker Engine at {self.path} does not answer: {error}") from error
        finally:
            connection.close()
        # 304: it is so already. 404, 409: it has gone, or is going, since it was listed.
        if answer.status >= 400 and answer.status not in (404, 409):
            said = body.decode(errors="replace")[:200]
            raise Unavailable(f"the Docker Engine refused {method} {path.partition('?')[0]}: {said}")
        return json.loads(body) if body and answer.status < 300 else None
