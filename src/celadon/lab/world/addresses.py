"""Which addresses the objects of a lab get.

Instances and NodeBalancers live in 127.0.0.0/8, so that no root is needed and nothing is reachable from outside.
A lab owns two neighbouring /16 of it. Private addresses only have to look as Linode's do.
"""

import ipaddress
from collections.abc import Collection, Iterable

import msgspec

from celadon.lab.world.problems import Problem

PRIVATE = ipaddress.ip_network("192.168.128.0/17")


class AddressBlock(msgspec.Struct, frozen=True):
    """`127.{octet}.0.0/16` for instances and the next /16 for NodeBalancers. `octet` is odd, 1 to 253."""

    octet: int

    @property
    def guard(self) -> str:
        """The address whose port is held while a lab owns the block. Never given to an object."""
        return f"127.{self.octet}.0.1"

    def instance_address(self, taken: Collection[str]) -> str:
        return self._first(self.octet, taken)

    def balancer_address(self, taken: Collection[str]) -> str:
        return self._first(self.octet + 1, taken)

    @staticmethod
    def _first(octet: int, taken: Collection[str]) -> str:
        candidates = (f"127.{octet}.{third}.{last}" for third in range(256) for last in range(2, 255))
        return first_free(candidates, taken)


def private_address(taken: Collection[str]) -> str:
    candidates = (str(address) for address in PRIVATE.hosts() if not str(address).endswith((".1", ".255")))
    return first_free(candidates, taken)


def first_free(candidates: Iterable[str], taken: Collection[str]) -> str:
    for candidate in candidates:
        if candidate not in taken:
            return candidate
    raise Problem("The lab has no address left to give", status=500)


def public_ipv6(address: str) -> str:
    """An IPv6 address that belongs to `address`, from the range kept for documentation: it leads nowhere."""
    high, low = divmod(int(ipaddress.IPv4Address(address)), 65536)
    return f"2001:db8::{high:x}:{low:x}"
