"""The server matrix: each server deployed over itself while requests of all kinds are under way."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome

from celadon.lab.broken import WELL
from celadon.lab.broken import Case as Bad
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess
from celadon.lab.load_report import Report

APP = Path(__file__).with_name("server_app")
# A drain of one minute at the lab's pace, as it is by default with a real NodeBalancer: longer than any request here.
CONFIG = '[rollout]\nbake = "90s"\ndrain = "6m"\n'
FAST = {"new": 60, "keep": 20, "post": 10}
CELLS = ("fast", "5 s", "40 s", "SSE", "WebSocket")


class Server(msgspec.Struct, frozen=True):
    name: str
    packages: tuple[str, ...]  # the first is the server; its version goes into the table
    command: tuple[str, ...]
    websocket: bool = False
    development: bool = False


BIND = "{host}:{port}"
ADDRESS = ("--host", "{host}", "--port", "{port}")
SERVERS = (
    Server("gunicorn-sync", ("gunicorn",), ("gunicorn", "-w", "8", "--timeout", "90", "-b", BIND, "wsgi:app")),
    Server(
        "gunicorn-gthread", ("gunicorn",), ("gunicorn", "--threads", "20", "--timeout", "90", "-b", BIND, "wsgi:app")
    ),
    Server(
        "gunicorn-uvicorn",
        ("gunicorn", "uvicorn", "uvicorn-worker", "websockets"),
        ("gunicorn", "-w", "2", "-k", "uvicorn_worker.UvicornWorker", "-b", BIND, "asgi:app"),
        websocket=True,
    ),
    Server("uvicorn", ("uvicorn", "websockets"), ("uvicorn", *ADDRESS, "asgi:app"), websocket=True),
    Server("hypercorn", ("hypercorn",), ("hypercorn", "-b", BIND, "asgi:app"), websocket=True),
    Server("granian", ("granian",), ("granian", "--interface", "asgi", *ADDRESS, "asgi:app"), websocket=True),
    Server("waitress", ("waitress",), ("waitress-serve", "--threads", "20", f"--listen={BIND}", "wsgi:app")),
    Server("daphne", ("daphne",), ("daphne", "-b", "{host}", "-p", "{port}", "asgi:app"), websocket=True),
    Server("flask-dev", ("flask",), ("flask", "--app", "flask_app", "run", *ADDRESS), development=True),
    Server("django-dev", ("django",), ("python", "manage.py", "runserver", "--noreload", BIND), development=True),
)


class ServerBench(Bench):
    """A bench whose application is the matrix's own, and whose load is only the fast kinds: the case sends the rest."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, more_config=CONFIG, mix=FAST, rate=10.0)

    async def serve(self, server: Server) -> str:
        """A release that runs under this server."""
        for file in APP.glob("*.py"):
            shutil.copy(file, self.stage.project)
        (self.stage.project / "requirements.txt").write_text("".join(f"{name}\n" for name in server.packages))
        return await self.fresh(Bad(server.name, "", WELL, command=server.command))


def cases() -> Iterator[Case]:
    for server in SERVERS:
        yield Case(f"server/{server.name}", _over_itself(server), kind="server", ci=server.name == "gunicorn-gthread")


def _over_itself(server: Server) -> Callable[[Bench, Outcome], Awaitable[None]]:
    async def play(bench: Bench, outcome: Outcome) -> None:
        assert isinstance(bench, ServerBench)
        await _deploy(bench, await bench.serve(server))
        outcome.facts["version"] = _installed(bench.stage.folder, server.packages[0])
        await _warned(bench, outcome, server)
        url = bench.stage.found.url
        streams = {"sse": 10, **({"ws": 10} if server.websocket else {})}
        five = await LoadProcess.start(Plan(url=url, rate=1.0, seconds=600, mix={"slow": 10, **streams}, slow=(5, 5)))
        forty = await LoadProcess.start(Plan(url=url, rate=0.1, seconds=600, mix={"slow": 1}, slow=(40, 40)))
        try:
            await asyncio.sleep(12)  # so that some of the longest are under way
            version = await bench.serve(server)
            began = time.monotonic()
            await _deploy(bench, version)
            outcome.seconds = round(time.monotonic() - began, 1)
            seen, longest = await asyncio.gather(five.stop(90), forty.stop(90))
        finally:
            await asyncio.gather(five.kill(), forty.kill())
        outcome.facts["command"] = " ".join(server.command)
        outcome.facts["cells"] = _cells(seen, longest, websocket=server.websocket)
        for report in (seen, longest):
            outcome.problems += [f"{each.kind}: {each.reason} by {each.who}" for each in report.failures]

    return play


async def _deploy(bench: Bench, version: str) -> None:
    ran = await bench.run("deploy", version, "--yes")
    assert ran.exit == 0, ran.err[-3000:]
    bench.live = version


async def _warned(bench: Bench, outcome: Outcome, server: Server) -> None:
    """`check` says what a server cannot do, and nothing against those that can."""
    ran = await bench.run("check", "--offline", "--json")
    checks = msgspec.json.decode(ran.out)["checks"]
    outcome.facts["check"] = [f"{each['name']}: {each['text']}" for each in checks if each["grade"] == "warning"]
    warned = any("open requests are lost" in text for text in outcome.facts["check"])
    if warned != server.development:
        outcome.message_true = False
        outcome.problems.append(f"check said {checks}")


def _cells(seen: Report, longest: Report, *, websocket: bool) -> dict[str, list[int] | None]:
    """By kind: answered or given up, failed, cut."""

    def of(report: Report, kind: str) -> list[int]:
        counts = report.kind(kind)
        return [counts.sent - counts.waiting, counts.failed, counts.cut]  # the last were sent after the deploy

    return {
        "5 s": of(seen, "slow"),
        "40 s": of(longest, "slow"),
        "SSE": of(seen, "sse"),
        "WebSocket": of(seen, "ws") if websocket else None,
    }


def _installed(folder: Path, package: str) -> str:
    """The version that the hosts' environments got."""
    name = package.replace("-", "_")
    found = [
        Path(each).name.removeprefix(f"{name}-").removesuffix(".dist-info")
        for each in folder.glob(
            f"lab/machines/*/home/.local/share/celadon/*/environments/*/lib/*/site-packages/{name}-*"
        )
    ]
    return max(found, default="?")
