"""The application inside the test images: standard library only, and bad in the way its VARIANT says.

`/` tells who answers, `/healthz` whether it is well, `/slow?seconds=5` takes its time, `/events` streams, a POST to
`/echo` comes back, `/env` shows the environment. Ends well on SIGTERM: what has begun is answered first.
"""

import itertools
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VARIANT = os.environ.get("VARIANT", "good")
LIMIT = 512 << 20  # of memory: what outgrows a small instance is killed there
asked = itertools.count(1)
kept: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.answer(503 if VARIANT == "never_ready" else 200, b"")
            return
        if url.path == "/events":
            query = parse_qs(url.query)
            self.stream(int(query["count"][0]), float(query["every"][0]))
            return
        if url.path == "/slow":
            time.sleep(float(parse_qs(url.query)["seconds"][0]))
        if VARIANT == "three_times_as_slow":
            time.sleep(0.01)  # a good one answers in 3 to 5 ms
        if VARIANT == "leak":
            kept.append(os.urandom(1 << 12) * (1 << 12))
            if sum(map(len, kept)) > LIMIT:
                os._exit(137)  # as one that was killed; process 1 of a container cannot kill itself
        answer = {
            "version": os.environ.get("APP_VERSION", ""),
            "release": os.environ.get("CELADON_RELEASE", ""),
            "colour": os.environ.get("CELADON_COLOUR", ""),
            "argv": sys.argv[1:],
        }
        if url.path == "/env":
            answer["env"] = dict(os.environ)  # type: ignore[assignment]
        bad = VARIANT == "never_ready" or (VARIANT == "errors" and next(asked) % 10 == 0)
        self.answer(500 if bad else 200, json.dumps(answer).encode(), "application/json")

    def do_POST(self) -> None:
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Release", os.environ.get("CELADON_RELEASE", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, count: int, every: float) -> None:
        """Ends with its connection, as HTTP/1.0 has it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("X-Release", os.environ.get("CELADON_RELEASE", ""))
        self.end_headers()
        for number in range(count):
            self.wfile.write(b"data: %d\n\n" % number)
            time.sleep(every)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the answers under way
    request_queue_size = 128


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    say(f"starting {VARIANT}")
    sys.stderr.write("a line for stderr\n")
    if VARIANT == "crash":
        sys.stderr.write("RuntimeError: no database\n")
        sys.exit(3)
    port = int(os.environ["PORT"]) + (1 if VARIANT == "wrong_port" else 0)
    server = Server(("127.0.0.1" if VARIANT == "loopback_only" else "0.0.0.0", port), Handler)
    if VARIANT == "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM ignored"))
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if VARIANT == "crash_later":
        threading.Timer(float(os.environ.get("CRASH_AFTER", "1")), lambda: os._exit(4)).start()
    say(f"listening on {port}")
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    say("bye")


if __name__ == "__main__":
    main()
