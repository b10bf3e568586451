"""HAProxy's configuration file for one balancer config. Pure: text out of values.

Everything about nodes is changed later by the runtime socket; the file holds enough server slots for all of them
(1,000 nodes a config is Linode's own limit; so many idle slots cost 20 ms and 15 MiB at start). Written in are
the slots in use, because a process that takes over a port must know its servers with its first request.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from celadon.lab.parts import PlaneConfig
from celadon.lab.plane.modes import ServerState

SLOTS = tuple(f"s{number}" for number in range(1, 1001))
LOG_TAG = "celadon-request"  # tells a request's line from HAProxy's own notices

# Not published for NodeBalancers; long enough for uploads, event streams and WebSockets. Seconds.
CONNECT, IDLE, TUNNEL = 5, 300, 3600


class Server(msgspec.Struct, frozen=True):
    """What a slot should be. `host` is a loopback address."""

    host: str
    port: int
    weight: int
    state: ServerState


class Shape(msgspec.Struct, frozen=True):
    """All that cannot change without a new process."""

    protocol: str
    algorithm: str
    stickiness: str
    proxy_protocol: str
    ssl_cert: str | None
    ssl_key: str | None
    redispatch: bool


def shape(config: PlaneConfig, *, redispatch: bool) -> Shape:
    return Shape(
        config.protocol,
        config.algorithm,
        config.stickiness,
        config.proxy_protocol,
        config.ssl_cert,
        config.ssl_key,
        redispatch,
    )


class Place(msgspec.Struct, frozen=True):
    """Where the process runs: descriptors it inherits, its source address, and its limits."""

    traffic_fd: int
    admin_fd: int
    source: str
    max_connections: int
    throttle: int
    certificate: Path | None


def render(shape: Shape, place: Place, servers: Mapping[str, Server]) -> str:
    sections = (_global(place), _defaults(shape), _frontend(place), _backend(shape, place, servers))
    return "\n".join("\n  ".join(lines) for lines in sections) + "\n"


def _global(place: Place) -> list[str]:
    return [
        "global",
        "nbthread 1",  # exact weights, and the lab shares the machine with the applications
        f"maxconn {place.max_connections}",
        "log stdout len 1024 format raw local0 info",
        f"stats socket fd@{place.admin_fd} level admin",
        "stats timeout 30s",
        f"set-var proc.throttle int({place.throttle})",
        "ssl-default-bind-options ssl-min-ver TLSv1.2",
    ]


def _defaults(shape: Shape) -> list[str]:
    lines = [
        "defaults",
        f"mode {'tcp' if shape.protocol == 'tcp' else 'http'}",
        "log global",
        "option dontlog-normal",  # passive checks need the failures only
        f"timeout connect {CONNECT}s",
        f"timeout client {IDLE}s",
        f"timeout server {IDLE}s",
        f"timeout tunnel {TUNNEL}s",
    ]
    if shape.redispatch:
        lines += ["retries 3", "option redispatch 1"]
    else:
        lines += ["retries 0"]  # a refused connection is the client's 503: nothing is hidden
    if shape.protocol == "tcp":
        return [*lines, f'log-format "{LOG_TAG} %s - %ts"']
    # As documented: no keep-alive to the client. An upgraded connection (WebSocket) lives on all the same.
    return [*lines, "option httpclose", f'log-format "{LOG_TAG} %s %ST %ts"']


def _frontend(place: Place) -> list[str]:
    bind = f"bind fd@{place.traffic_fd}"
    if place.certificate is not None:
        bind += f' ssl crt "{place.certificate}" alpn http/1.1'  # HAProxy 2.8 would offer HTTP/2 by itself
    over = "sc0_conn_rate,sub(proc.throttle) gt 0"
    return [
        "frontend in",
        bind,
        "stick-table type ip size 100k expire 10s store conn_rate(1s)",
        "tcp-request connection track-sc0 src",
        f"tcp-request connection reject if {{ var(proc.throttle) -m int gt 0 }} {{ {over} }}",
        "default_backend nodes",
    ]


def _backend(shape: Shape, place: Place, servers: Mapping[str, Server]) -> list[str]:
    lines = ["backend nodes", f"balance {shape.algorithm}"]
    if shape.algorithm == "source":
        lines += ["hash-type consistent"]  # without it weights and servers cannot change at run time
    if shape.protocol != "tcp":
        lines += ["option forwardfor", f"http-request set-header X-Forwarded-Proto {shape.protocol}"]
    if shape.stickiness == "table":
        lines += ["stick-table type ip size 100k expire 30m", "stick on src"]
    if shape.stickiness == "http_cookie":
        lines += ["cookie NB_SRVID insert indirect nocache"]
    return [*lines, *(_server(slot, servers.get(slot), shape, place) for slot in SLOTS)]


def _server(slot: str, server: Server | None, shape: Shape, place: Place) -> str:
    host, port, weight = (server.host, server.port, server.weight) if server else ("127.0.0.1", 1, 1)
    line = f"server {slot} {host}:{port} weight {weight} source {place.source}"
    if shape.stickiness == "http_cookie":
        line += f" cookie {slot}"
    if shape.proxy_protocol != "none":
        line += " send-proxy-v2" if shape.proxy_protocol == "v2" else " send-proxy"
    return line if server and server.state == "ready" else f"{line} disabled"
