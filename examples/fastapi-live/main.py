"""Long-lived answers: server-sent events and a WebSocket. Both end politely when the process is asked to stop."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

VERSION = os.environ.get("APP_VERSION", "unknown")  # set by Celadon: what was deployed
RELEASE = os.environ.get("CELADON_RELEASE", "")  # set by Celadon: the release's short id

stopping = asyncio.Event()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Hears SIGTERM as well as uvicorn does, so that streams can end before uvicorn waits for them."""
    before = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(stopping.set)
        if callable(before):
            before(number, frame)

    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, stop)
    yield


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def name_release(request: Request, call_next):
    response = await call_next(request)
    response.headers["X-Release"] = RELEASE
    return response


@app.get("/")
async def hello() -> dict[str, str]:
    return {"version": VERSION}


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/events")
async def events() -> StreamingResponse:
    """A tick a second, and `bye` at the end: the browser's EventSource then connects again, to the new release."""

    async def ticks() -> AsyncIterator[str]:
        yield "retry: 500\n\n"
        number = 0
        while not await stopped_within(1):
            number += 1
            yield f"id: {number}\nevent: tick\ndata: {VERSION}\n\n"
        yield "event: bye\ndata: restarting\n\n"

    # Proxies that buffer would turn a stream into one late answer.
    return StreamingResponse(ticks(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    """Echoes with the version before it; on stop it closes with 1012, which means "service restart"."""
    await socket.accept()
    stop = asyncio.create_task(stopping.wait())
    try:
        while True:
            heard = asyncio.create_task(socket.receive_text())
            await asyncio.wait({heard, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not heard.done():
                heard.cancel()
                await socket.close(code=1012)
                return
            await socket.send_text(f"{VERSION}: {heard.result()}")
    except WebSocketDisconnect:
        return
    finally:
        stop.cancel()


async def stopped_within(seconds: float) -> bool:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return False
    return True
