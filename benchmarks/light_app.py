"""The lightest application that can be deployed: one thread, no imports but sockets. It shows what Celadon costs.

python light_app.py HOST PORT
"""

import contextlib
import os
import socket
import sys


def serve(host: str, port: int) -> None:
    text = f"Hello from App Version: {os.environ['APP_VERSION']}!"
    release = os.environ["CELADON_RELEASE"]
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nX-Release: {release}\r\nConnection: close\r\n\r\n"
    answer = (head + text).encode()
    with socket.create_server((host, port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.settimeout(2)
                request = b""
                while b"\r\n\r\n" not in request and (piece := client.recv(4096)):
                    request += piece
                client.sendall(answer)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
