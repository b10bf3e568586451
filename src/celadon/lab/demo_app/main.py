"""The application of the demo: ordinary answers, slow ones, streams; it says which release answers."""

import asyncio
import os

import broken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

VERSION = os.environ["APP_VERSION"]
HEADERS = {"X-Release": os.environ["CELADON_RELEASE"]}


async def hello(_: Request):
    status = broken.status()
    return PlainTextResponse(f"Hello from App Version: {VERSION}!", status, HEADERS)


async def healthz(_: Request):
    return PlainTextResponse("ok", broken.health(), HEADERS)


async def echo(request: Request):
    return Response(await request.body(), headers=HEADERS)


async def slow(request: Request):
    await asyncio.sleep(min(float(request.query_params["seconds"]), 60.0))
    return PlainTextResponse(VERSION, headers=HEADERS)


async def events(request: Request):
    count, every = int(request.query_params["count"]), float(request.query_params["every"])

    async def stream():
        for number in range(min(count, 1000)):
            yield f"data: {number}\n\n"
            await asyncio.sleep(every)

    return StreamingResponse(stream(), media_type="text/event-stream", headers=HEADERS)


async def ws(socket: WebSocket):
    await socket.accept(headers=[(b"x-release", HEADERS["X-Release"].encode())])
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/healthz", healthz),
        Route("/echo", echo, methods=["POST"]),
        Route("/slow", slow),
        Route("/events", events),
        WebSocketRoute("/ws", ws),
    ]
)
