"""The seams inside the lab: what the API asks of the data plane and of the machines.

Nothing here acts. `lab/api` holds the account's objects and calls these; `lab/plane` and `lab/machines` carry
traffic and run SSH servers. Tests of the API use in-memory versions of both.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

Mode = Literal["accept", "reject", "drain", "backup"]
NodeStatus = Literal["Unknown", "UP", "DOWN"]  # spelled as the API answers it (recorded: a capital U first)

Fault = Literal["die", "freeze", "thaw", "cut_ssh", "lose_network", "restore_network"]


class PlaneNode(msgspec.Struct, frozen=True):
    """One backend as the account holds it. `address`: `IPv4:port` as Linode shows it (192.168.128.0/17)."""

    id: int
    address: str
    weight: int
    mode: Mode


class PlaneConfig(msgspec.Struct, frozen=True):
    """One port of a NodeBalancer, with the API's own field names and units (seconds)."""

    id: int
    port: int
    protocol: Literal["http", "https", "tcp"]
    algorithm: Literal["roundrobin", "leastconn", "source"]
    stickiness: Literal["none", "table", "http_cookie"]
    check: Literal["none", "connection", "http", "http_body"]
    check_interval: int
    check_timeout: int
    check_attempts: int
    check_path: str
    check_body: str
    check_passive: bool
    ssl_cert: str | None
    ssl_key: str | None
    proxy_protocol: Literal["none", "v1", "v2"] = "none"
    nodes: tuple[PlaneNode, ...] = ()


class PlaneBalancer(msgspec.Struct, frozen=True):
    """One NodeBalancer. `address` is the loopback address that its ports are opened on."""

    id: int
    address: str
    client_conn_throttle: int = 0  # new connections a second and client address; 0 = off
    configs: tuple[PlaneConfig, ...] = ()


class Listener(msgspec.Struct, frozen=True):
    """Where a port really listens: the same number where it can be bound, else + 8000 (80 needs root)."""

    port: int
    host: str
    bound_port: int


class DataPlane(Protocol):
    """Carries the traffic of all NodeBalancers of one lab."""

    async def apply(self, balancer: PlaneBalancer) -> None:
        """Make the plane look like this, after the delay in force. Idempotent; called after every change."""

    async def remove(self, balancer_id: int) -> None: ...

    def status(self, node_id: int) -> NodeStatus:
        """The balancer's own check of a node; `Unknown` before the first verdict and while unchecked."""

    def listeners(self, balancer_id: int) -> tuple[Listener, ...]: ...

    def totals(self, balancer_id: int) -> tuple[int, int, int]:
        """Connections, bytes in, bytes out since the balancer was made."""

    async def close(self) -> None: ...


class Machine(msgspec.Struct, frozen=True):
    """What an instance needs to run: its loopback address and what cloud-init would have installed."""

    id: int
    label: str
    address: str  # 127.x.y.z, shown by the API as the public IPv4
    private_address: str  # 192.168.128.0/17; "" when the instance has none
    authorized_keys: tuple[str, ...]
    user_data: str = ""  # decoded


class Machines(Protocol):
    """Runs the instances of one lab: SSH servers, homes, processes."""

    async def create(self, machine: Machine) -> None: ...

    async def boot(self, machine_id: int) -> None: ...

    async def shutdown(self, machine_id: int) -> None:
        """End every process of the instance, and only those; its disk (home) stays."""

    async def delete(self, machine_id: int) -> None: ...

    async def fault(self, machine_id: int, kind: Fault) -> None:
        """Make something go wrong (or right again: `thaw`, `restore_network`; `boot` recovers a dead one)."""

    def ssh_port(self, machine_id: int) -> int: ...

    def host_key(self, machine_id: int) -> str:
        """The public host key, `ssh-ed25519 AAAA...`: known before first contact, as cloud-init makes it."""

    def translate(self, private_address: str) -> str | None:
        """The loopback address of a private one, for the data plane; None when no instance has it."""

    async def close(self) -> None: ...


Spread = Callable[[], Awaitable[None]]
"""Told by the API when objects changed, so that the plane is applied."""


class LabPaths(msgspec.Struct, frozen=True):
    """Every file of one lab lives under `root`; `lab down` removes it whole."""

    root: Path

    @property
    def machines(self) -> Path:
        return self.root / "machines"

    @property
    def plane(self) -> Path:
        return self.root / "plane"
