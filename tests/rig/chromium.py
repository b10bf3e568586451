"""A headless Chromium, spoken to by its own DevTools protocol: one page at a time, closed by who opened it."""

import asyncio
import base64
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from tests.rig.require import program, require

DEADLINE = 60.0  # seconds: generous, the machine is shared
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Tab:
    """One page. Every message has a deadline; requests and what the page said are kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.requested: list[str] = []
        self.said: list[str] = []  # errors, warnings and refusals of the console
        self._loaded = False

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])

    async def open(self, url: str) -> None:
        self._loaded = False
        await self.call("Page.navigate", url=url)
        while not self._loaded:
            await self._next()

    async def ask(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def look(self, *, scheme: str = "light", width: int = 1100, media: str = "screen") -> None:
        """How the reader sees: light or dark, wide or narrow, on a screen or on paper."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", media=media, features=features)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )

    async def pdf(self) -> bytes:
        return base64.b64decode((await self.call("Page.printToPDF"))["data"])

    async def _next(self) -> dict[str, Any]:
        heard: dict[str, Any] = await self._socket.receive_json(timeout=DEADLINE)
        match heard.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(heard["params"]["request"]["url"])
            case "Log.entryAdded":
                self.said.append(heard["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Page.javascriptDialogOpening":
                self.said.append(str(heard["params"]))
            case "Page.loadEventFired":
                self._loaded = True
        return heard


@contextlib.asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A browser of its own; skips loudly where there is none."""
    found = next((path for name in NAMES if (path := program(name))), None)
    require(found, "Chromium (apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="celadon-chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            *(str(found), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
            *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        ]
        heard = Path(profile) / "stderr"
        with heard.open("wb") as stderr:
            browser = await asyncio.create_subprocess_exec(*command, stdout=stderr, stderr=stderr)
            try:
                async with aiohttp.ClientSession() as session, await _connect(session, heard, browser) as socket:
                    opened = Tab(socket)
                    for domain in ("Page", "Network", "Log", "Runtime"):
                        await opened.call(f"{domain}.enable")
                    yield opened
            finally:
                await _end(browser)


async def _connect(
    session: aiohttp.ClientSession, heard: Path, browser: asyncio.subprocess.Process
) -> aiohttp.ClientWebSocketResponse:
    port = await _port(heard, browser)
    async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
        address = (await answer.json())["webSocketDebuggerUrl"]
    return await session.ws_connect(address, max_msg_size=0)


async def _end(browser: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        browser.terminate()
    try:
        async with asyncio.timeout(10.0):
            await browser.wait()
    except TimeoutError:
        browser.kill()
        await browser.wait()


async def _port(heard: Path, browser: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(DEADLINE):
        while True:
            text = await asyncio.to_thread(heard.read_text, "utf-8", "replace")
            if listening := re.search(r"DevTools listening on ws://[^:]+:(\d+)/", text):
                return int(listening[1])
            assert browser.returncode is None, text[-2000:]
            await asyncio.sleep(0.05)
