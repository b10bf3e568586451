"""How tests ask an agent for a trial, and an application that is bad on request."""

import contextlib
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from celadon.adapters.agent_link import AgentLink, Call
from celadon.core.trial import TrialFacts

RELEASE = "0123456789"
PROBE = {"path": "/", "host_header": "shop.example", "https": False, "timeout": 5.0}

SERVER = """
import http.server, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(2)
        if self.path == "/moved":
            self.send_response(302); self.send_header("Location", "/login"); self.end_headers(); return
        self.send_response(404 if self.path == "/missing" else 200)
        body = " ".join([os.environ["GREETING"], os.environ["CELADON_TRIAL"], os.environ["PORT"]]).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

def main(host, port, how):
    print("started", how, flush=True)
    if how == "dies":
        sys.exit("no database")
    address = ("127.0.0.9", port) if how == "hidden" else (host, port + 1 if how == "elsewhere" else port)
    server = http.server.ThreadingHTTPServer(address, Handler)
    server.daemon_threads = how == "cuts"
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif how == "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
    elif how != "cuts":
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.05)
    server.server_close()

main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""


def archive(text: str = SERVER) -> tuple[str, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("serve.py")
        member.size = len(text.encode())
        tar.addfile(member, io.BytesIO(text.encode()))
    return "sha256:" + hashlib.sha256(out.getvalue()).hexdigest(), out.getvalue()


def venv_release(how: str, **more: Any) -> dict[str, Any]:
    return {
        "app": "shop", "id": RELEASE, "version": "v2", "artifact": archive()[0], "runtime": "venv",
        "command": ["python3", "serve.py", "{host}", "{port}", how],
        "container_port": 0, "env": [], "secrets": [], "stop_timeout": 5.0, **more,
    }  # fmt: skip


def call(release: Mapping[str, Any], *, slow: str = "", path: str = "/", start_within: float = 60.0) -> Call:
    args = {
        "app": release["app"],
        "release": release,
        "slot": {"host": "here", "address": "127.0.0.1", "port": 5000},
        "colour": "green",
        "rollout": 0,
        "probe": {**PROBE, "path": path},
        "start_within": start_within,
        "slow": slow,
        "values": {"GREETING": "hello"},
        "credentials": None,
    }
    body = once(archive()[1]) if release["runtime"] == "venv" else None
    return Call("try_out", args, TrialFacts, 240, body)


async def try_out(link: AgentLink, release: Mapping[str, Any], **more: Any) -> TrialFacts:
    facts: TrialFacts = await link.ask(call(release, **more))
    return facts


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def processes_in(folder: Path) -> Iterator[int]:
    """Whoever stands in this folder, or below."""
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink().is_relative_to(folder):
                yield int(entry.parent.name)
