"""What the Linode API v4 says, in its own words: only the fields Celadon reads, each with a checked type.

Unknown fields are ignored, as the API promises to add some. No meaning is given here: see `nodebalancer.py`.
"""

import ipaddress
from typing import Annotated, Any, Generic, TypeVar

import msgspec

Id = Annotated[int, msgspec.Meta(ge=1)]
Item = TypeVar("Item")

PRIVATE = ipaddress.IPv4Network("192.168.128.0/17")
"""Where Linode's private IPv4 addresses live, in every region."""


def decode_address(kind: type[Any], value: Any) -> Any:
    """For msgspec, which has no addresses of its own. A ValueError becomes its ValidationError."""
    if kind is ipaddress.IPv4Address and isinstance(value, str):
        return ipaddress.IPv4Address(value)
    raise TypeError(f"{kind.__name__} from {type(value).__name__}")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    data: tuple[Item, ...]
    pages: int


class Instance(msgspec.Struct, frozen=True):
    id: Id
    label: str
    status: str
    type: str | None = None
    region: str = ""
    ipv4: tuple[ipaddress.IPv4Address, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def public(self) -> str | None:
        """The first IPv4 address outside the private range."""
        return next((str(address) for address in self.ipv4 if address not in PRIVATE), None)

    @property
    def private(self) -> str | None:
        """The address in 192.168.128.0/17; None for an instance made without one."""
        return next((str(address) for address in self.ipv4 if address in PRIVATE), None)


class NodeBalancer(msgspec.Struct, frozen=True):
    id: Id
    label: str
    ipv4: ipaddress.IPv4Address
    region: str = ""
    client_conn_throttle: int = 0
    lke_cluster: Any = None  # an object when Kubernetes owns this balancer

    @property
    def owned_by_kubernetes(self) -> bool:
        return self.lke_cluster is not None


class Config(msgspec.Struct, frozen=True):
    id: Id
    port: int
    protocol: str
    check: str
    check_interval: int
    check_attempts: int
    check_passive: bool
    stickiness: str


class Node(msgspec.Struct, frozen=True):
    id: Id
    config_id: Id
    label: str
    address: str
    weight: int
    mode: str
    status: str


class Listener(msgspec.Struct, frozen=True):
    """Lab only: where a balancer's port really listens on this machine."""

    port: int
    host: str
    bound_port: int


class Listeners(msgspec.Struct, frozen=True):
    listeners: tuple[Listener, ...]


class ErrorItem(msgspec.Struct, frozen=True):
    reason: str
    field: str | None = None


class Errors(msgspec.Struct, frozen=True):
    errors: tuple[ErrorItem, ...]
