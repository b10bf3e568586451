"""The matrix's application for WSGI servers: the paths of the load, without a framework in between. No WebSocket."""

import os
import time
from urllib.parse import parse_qs

HELLO = f"Hello from App Version: {os.environ['APP_VERSION']}!".encode()
RELEASE = ("x-release", os.environ["CELADON_RELEASE"])


def app(environ, start_response):
    asked = {name: float(values[0]) for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    path = environ["PATH_INFO"]
    if path == "/events":
        start_response("200 OK", [("content-type", "text/event-stream"), RELEASE])
        return events(int(asked["count"]), asked["every"])
    if path == "/slow":
        time.sleep(asked["seconds"])
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) if path == "/echo" else HELLO
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body))), RELEASE])
    return [body]


def events(count, every):
    for number in range(count):
        yield b"data: %d\n\n" % number
        time.sleep(every)
