"""F8: a server deployed over itself while requests of all lengths are under way."""

import asyncio
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import msgspec
from benchmarks.scoreboard.ground import PORT, Ground, Seen
from benchmarks.scoreboard.results import Cell

from celadon.core.errors import Unavailable

APP = Path(__file__).parents[2] / "tests" / "torture" / "server_app"
LONG = 15.0  # seconds: longer than Docker waits by default before it kills
BEFORE = 8.0  # seconds, so that some of the long ones are under way
FAST = {"new": 60, "keep": 20, "post": 20}


class Server(msgspec.Struct, frozen=True):
    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    websocket: bool = False


BIND = f"0.0.0.0:{PORT}"
SERVERS = (
    Server("gunicorn", ("gunicorn",), ("gunicorn", "--threads", "20", "--timeout", "90", "-b", BIND, "wsgi:app")),
    Server(
        "uvicorn",
        ("uvicorn", "websockets"),
        ("uvicorn", "--host", "0.0.0.0", "--port", str(PORT), "--no-access-log", "asgi:app"),
        websocket=True,
    ),
)


async def matrix(ground: Ground) -> dict[str, Cell]:
    told: dict[str, dict[str, list[int]]] = {}
    harmed = sent = 0
    try:
        for server in SERVERS:
            await ground.deployed(_release(ground, server))
            cells = await _over_itself(ground, server)
            told[server.name] = cells
            sent += sum(counts[0] for counts in cells.values())
            harmed += sum(counts[1] for counts in cells.values())
    finally:
        await ground.mended()
    facts = {"servers": told, "versions": {server.name: _libraries(server.packages)[1] for server in SERVERS}}
    return {"F8": Cell(text=f"{harmed} of {sent:,}", good=harmed == 0, facts=facts)}


async def _over_itself(ground: Ground, server: Server) -> dict[str, list[int]]:
    fast, five, long = Seen(), Seen(), Seen()
    streams = {"sse": 10, **({"ws": 10} if server.websocket else {})}
    async with (
        ground.watched(fast, rate=15.0, mix=FAST),
        ground.watched(five, rate=1.5, mix={"slow": 10, **streams}, slow=(5.0, 5.0)),
        ground.watched(long, rate=0.3, mix={"slow": 1}, slow=(LONG, LONG)),
    ):
        await asyncio.sleep(BEFORE)
        await ground.deployed(_release(ground, server))
    cells = {"fast": [fast.sent, fast.harmed], "5 s": five.kinds["slow"], f"{LONG:.0f} s": long.kinds["slow"]}
    return cells | {kind: five.kinds.get(kind, [0, 0]) for kind in streams}


def _release(ground: Ground, server: Server) -> str:
    own = {f"app/{name}": (APP / name).read_bytes() for name in ("asgi.py", "wsgi.py")}
    command = ("python3", "-m", *server.command)
    environ = {"PYTHONPATH": "/app:/app/lib", "CELADON_RELEASE": "none"}
    return ground.fresh(command=command, files=own | _libraries(server.packages)[0], env=environ)


@cache
def _libraries(packages: tuple[str, ...]) -> tuple[dict[str, bytes], str]:
    """The files of a server and what it needs, and its exact version."""
    with tempfile.TemporaryDirectory(prefix="celadon-scoreboard-") as folder:
        uv = str(Path(sys.executable).with_name("uv"))
        words = [uv, "pip", "install", "-q", "--python-version", "3.11", "--target", folder, *packages]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise Unavailable(f"{packages[0]} cannot be installed: {done.stderr[-300:]}")
        root = Path(folder)
        found = {
            f"app/lib/{path.relative_to(root)}": path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
        }
        version = next(path.name for path in root.glob(f"{packages[0]}-*.dist-info"))
    return found, version.removesuffix(".dist-info").replace("-", " ")
