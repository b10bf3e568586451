"""A Linode account as infrastructure asks for it: names that are taken, regions, prices; and the certificate's write.

What a deploy asks is in `linode.py`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import msgspec

from celadon.adapters.linode_http import LinodeHttp, NotFound
from celadon.adapters.linode_wire import Config, Id, Instance, Node, NodeBalancer
from celadon.core.errors import Refused
from celadon.core.secret import Secret

PATHS: Mapping[str, tuple[str, str]] = {
    "linode_instance": ("/v4/linode/instances", "label"),
    "linode_nodebalancer": ("/v4/nodebalancers", "label"),
    "linode_firewall": ("/v4/networking/firewalls", "label"),
    "linode_vpc": ("/v4/vpcs", "label"),
    "linode_domain": ("/v4/domains", "domain"),
}
"""Terraform's resource types whose names are unique, where they are listed, and what the name is called."""


class Region(msgspec.Struct, frozen=True):
    id: str
    capabilities: tuple[str, ...] = ()


class Price(msgspec.Struct, frozen=True):
    monthly: float | None = None
    id: str = ""  # of the region, in a region's own price


class Priced(msgspec.Struct, frozen=True):
    """A type of instance or NodeBalancer."""

    id: str
    price: Price = Price()
    region_prices: tuple[Price, ...] = ()

    def monthly(self, region: str) -> float | None:
        own = next((price.monthly for price in self.region_prices if price.id == region), None)
        return own if own is not None else self.price.monthly


class TlsConfig(msgspec.Struct, frozen=True):
    """A config as far as its certificate matters. The API shows only names of it, never its text."""

    id: Id
    port: int
    protocol: str
    ssl_commonname: str | None = None
    ssl_fingerprint: str | None = None


class Firewall(msgspec.Struct, frozen=True):
    id: Id
    label: str


class _Named(msgspec.Struct, frozen=True):
    label: str = ""
    domain: str = ""


class LinodeAccount:
    """One token's account. Use it with `async with`."""

    def __init__(self, url: str, token: Secret, *, needed: tuple[str, ...]) -> None:
        self._http: Final = LinodeHttp(url, token, needed=needed)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def taken(self, kind: str, names: Iterable[str]) -> frozenset[str]:
        """Which of the names something of this type has already."""
        wanted = sorted(set(names))
        if not wanted:
            return frozenset()
        path, key = PATHS[kind]
        where = {"+or": [{key: name} for name in wanted]} if len(wanted) > 1 else {key: wanted[0]}
        found = await self._http.list(path, _Named, where=where)
        return frozenset({getattr(each, key) for each in found} & set(wanted))

    async def region(self, name: str) -> Region | None:
        try:
            return await self._http.get(f"/v4/regions/{_plain(name)}", Region)
        except NotFound:
            return None

    async def instances(self) -> tuple[Instance, ...]:
        return await self._http.list("/v4/linode/instances", Instance)

    async def balancers(self) -> tuple[NodeBalancer, ...]:
        return await self._http.list("/v4/nodebalancers", NodeBalancer)

    async def configs(self, balancer_id: int) -> tuple[Config, ...]:
        return await self._http.list(f"/v4/nodebalancers/{balancer_id}/configs", Config)

    async def nodes(self, balancer_id: int, config_id: int) -> tuple[Node, ...]:
        return await self._http.list(f"/v4/nodebalancers/{balancer_id}/configs/{config_id}/nodes", Node)

    async def firewalls(self) -> tuple[Firewall, ...]:
        return await self._http.list("/v4/networking/firewalls", Firewall)

    async def prices(self) -> dict[str, Priced]:
        """By type; `nodebalancer` is the common one."""
        types = await self._http.list("/v4/linode/types", Priced)
        balancers = await self._http.list("/v4/nodebalancers/types", Priced)
        return {each.id: each for each in (*types, *balancers)}

    async def tls_configs(self, balancer_id: int) -> tuple[TlsConfig, ...]:
        """Those that answer https, by port."""
        found = await self._http.list(f"/v4/nodebalancers/{balancer_id}/configs", TlsConfig)
        return tuple(sorted((each for each in found if each.protocol == "https"), key=lambda config: config.port))

    async def push_certificate(self, balancer_id: int, config_id: int, certificate: str, key: Secret) -> TlsConfig:
        """Both fields in one call. `protocol` is sent too: the API takes the two only for https."""
        body: dict[str, Any] = {"protocol": "https", "ssl_cert": certificate, "ssl_key": key.reveal()}
        return await self._http.put(f"/v4/nodebalancers/{balancer_id}/configs/{config_id}", body, TlsConfig)


def _plain(name: str) -> str:
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name):
        raise Refused(f"{name[:60]!r} is not a name")
    return name
