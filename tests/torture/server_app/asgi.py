"""The matrix's application for ASGI servers: the paths of the load, without a framework in between."""

import asyncio
import os
from urllib.parse import parse_qs

HELLO = f"Hello from App Version: {os.environ['APP_VERSION']}!".encode()
RELEASE = (b"x-release", os.environ["CELADON_RELEASE"].encode())


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    else:
        await http(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def websocket(receive, send):
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept", "headers": [RELEASE]})
        elif message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            return


async def http(scope, receive, send):
    asked = {name: float(values[0]) for name, values in parse_qs(scope["query_string"].decode()).items()}
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/events":
        await begin(send, b"text/event-stream")
        for number in range(int(asked["count"])):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await asyncio.sleep(asked["every"])
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(asked["seconds"])
    await begin(send, b"text/plain")
    await send({"type": "http.response.body", "body": body if scope["path"] == "/echo" else HELLO})


async def begin(send, kind):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), RELEASE]})
