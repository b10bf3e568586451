"""A Docker Engine reduced to what the lab asks of it, on a unix socket. Nothing is run."""

import asyncio
import json
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


class EngineDouble:
    def __init__(self) -> None:
        self.containers: dict[str, dict[str, str]] = {}  # id -> host label and state
        self.refuse = False

    def add(self, name: str, host: str, state: str = "running") -> None:
        self.containers[name] = {"host": host, "state": state}

    def state(self, name: str) -> str:
        return self.containers[name]["state"]

    async def _list(self, request: web.Request) -> web.Response:
        if self.refuse:
            return web.json_response({"message": "no"}, status=500)
        filters = json.loads(urllib.parse.unquote(request.query["filters"]))
        (label,) = filters["label"]
        found = [
            {"Id": name}
            for name, container in self.containers.items()
            if label == f"celadon.host={container['host']}"
            and container["state"] in filters.get("status", [container["state"]])
        ]
        return web.json_response(found)

    async def _remove(self, request: web.Request) -> web.Response:
        if request.query.get("force") != "true":
            return web.json_response({"message": "running"}, status=409)
        del self.containers[request.match_info["id"]]
        return web.Response(status=204)

    async def _act(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        states = {"stop": "exited", "kill": "exited", "start": "running", "pause": "paused", "unpause": "running"}
        self.containers[request.match_info["id"]]["state"] = states[verb]
        return web.Response(status=204)

    @asynccontextmanager
    async def served(self, path: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/containers/json", self._list)
        app.router.add_delete("/containers/{id}", self._remove)
        app.router.add_post("/containers/{id}/{verb}", self._act)
        runner = web.AppRunner(app, handle_signals=False)
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await runner.cleanup()
