"""An image registry in this process: what `docker pull` and `docker push` need of it, and a key to the door.

Only an image that came from a registry has a digest. Several listeners may share one store, so that hosts in other
network namespaces reach it by an address of their own.
"""

import base64
import hashlib
import json
import socket
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Store:
    """Blobs by digest (small ones in memory, large ones where they are on disk) and manifests by name."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes | Path] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # (repository, tag or digest): (type, content)
        self.uploads: dict[str, bytearray] = {}
        self.lock = threading.Lock()

    def add(self, content: bytes) -> str:
        digest = digest_of(content)
        with self.lock:
            self.blobs[digest] = content
        return digest

    def add_manifest(self, repository: str, tag: str, media_type: str, content: bytes) -> str:
        digest = digest_of(content)
        with self.lock:
            self.manifests[repository, tag] = self.manifests[repository, digest] = (media_type, content)
        return digest


class Registry:
    """One store behind any number of listening sockets. `key`: (user, password) that everybody must show."""

    def __init__(self, *, key: tuple[str, str] | None = None, store: Store | None = None) -> None:
        self.store = store or Store()
        self._key = None if key is None else "Basic " + base64.b64encode(":".join(key).encode()).decode()
        self._servers: list[ThreadingHTTPServer] = []
        self.bytes_sent = 0

    def listen(self, door: socket.socket) -> str:
        """Serve on a socket that is bound already, wherever it was made; returns its `ip:port`."""
        door.listen(64)
        server = ThreadingHTTPServer(door.getsockname()[:2], _handler(self), bind_and_activate=False)
        server.socket.close()
        server.socket = door
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._servers.append(server)
        address, port = door.getsockname()[:2]
        return f"{address}:{port}"

    def listen_on_loopback(self) -> str:
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        return self.listen(door)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def admits(self, authorization: str | None) -> bool:
        return self._key is None or authorization == self._key


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        owner = registry

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Registry

    def log_message(self, *_: object) -> None:
        pass  # pytest shows what fails

    def do_GET(self) -> None:
        self._guarded(self._read)

    def do_HEAD(self) -> None:
        self._guarded(self._read)

    def do_POST(self) -> None:
        self._guarded(self._begin_upload)

    def do_PATCH(self) -> None:
        self._guarded(self._append)

    def do_PUT(self) -> None:
        self._guarded(self._put)

    def _guarded(self, answer: Callable[[str, str, str], None]) -> None:
        content = self._body()
        self._content = content
        if not self.owner.admits(self.headers.get("Authorization")):
            self._fail(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="rig"'})
            return
        path = urlsplit(self.path).path.removeprefix("/v2/").strip("/")
        for kind in ("manifests", "blobs"):
            repository, found, reference = path.rpartition(f"/{kind}/")
            if found:
                answer(repository, kind, reference)
                return
        if "/blobs/uploads" in path:
            repository, _, reference = path.partition("/blobs/uploads")
            answer(repository, "uploads", reference.strip("/"))
            return
        self._send(200, b"{}")

    def _read(self, repository: str, kind: str, reference: str) -> None:
        store = self.owner.store
        if kind == "manifests":
            found = store.manifests.get((repository, reference))
            if found is None:
                self._fail(404, "MANIFEST_UNKNOWN", "manifest unknown")
                return
            media_type, content = found
            self._send(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(content)})
            return
        blob = store.blobs.get(reference)
        if blob is None:
            self._fail(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}
        self._send(200, blob if isinstance(blob, bytes) else blob.read_bytes(), headers)

    def _begin_upload(self, repository: str, kind: str, reference: str) -> None:
        upload = uuid.uuid4().hex
        self.owner.store.uploads[upload] = bytearray()
        location = f"/v2/{repository}/blobs/uploads/{upload}"
        self._send(202, b"", {"Location": location, "Range": "0-0", "Docker-Upload-UUID": upload})

    def _append(self, repository: str, kind: str, upload: str) -> None:
        upload = upload.rpartition("/")[2]
        self.owner.store.uploads[upload] += self._content
        end = max(0, len(self.owner.store.uploads[upload]) - 1)
        location = f"/v2/{repository}/blobs/uploads/{upload}"
        self._send(202, b"", {"Location": location, "Range": f"0-{end}", "Docker-Upload-UUID": upload})

    def _put(self, repository: str, kind: str, reference: str) -> None:
        store = self.owner.store
        if kind == "manifests":
            digest = store.add_manifest(
                repository, reference, self.headers.get("Content-Type", MANIFEST), self._content
            )
            self._send(201, b"", {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest})
            return
        content = bytes(store.uploads.pop(reference.rpartition("/")[2])) + self._content
        wanted = parse_qs(urlsplit(self.path).query)["digest"][0]
        if digest_of(content) != wanted:
            self._fail(400, "DIGEST_INVALID", "content is not what its digest says")
            return
        store.add(content)
        self._send(201, b"", {"Location": f"/v2/{repository}/blobs/{wanted}", "Docker-Content-Digest": wanted})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _fail(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        problem: dict[str, Any] = {"errors": [{"code": code, "message": message, "detail": None}]}
        self._send(status, json.dumps(problem).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
            self.owner.bytes_sent += len(content)
