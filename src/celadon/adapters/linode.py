"""The Linode API v4, as much of it as a deploy needs. Each method is one call, or one call a page.

It replaces `linode_api4`, which re-sends POST, has no timeouts and writes back `<REDACTED>` certificates (measured in
its conformance tests with the lab). Errors: see `linode_http.py`.
"""

from collections.abc import Collection, Iterable
from typing import Final, Self

from celadon.adapters.linode_http import CallCounts, LinodeHttp
from celadon.adapters.linode_scopes import NEEDED
from celadon.adapters.linode_wire import Config, Instance, Listener, Listeners, Node, NodeBalancer
from celadon.core.errors import Refused
from celadon.core.observed import Mode
from celadon.core.release import Seconds
from celadon.core.secret import Secret

DEFAULT_URL = "https://api.linode.com"
FILTERED = 40  # labels in one X-Filter header: 40 x 64 characters stay below the 8 KiB that servers accept


class LinodeApi:
    """A client of one account. Use it with `async with`."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        needed: tuple[str, ...] = NEEDED,
        connect: Seconds = 10.0,
        deadline: Seconds = 30.0,
    ) -> None:
        self._http: Final = LinodeHttp(url, token, needed=needed, connect=connect, deadline=deadline)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    @property
    def counts(self) -> CallCounts:
        return self._http.counts

    @property
    def loopback(self) -> bool:
        """The URL is on this machine: a lab."""
        return self._http.loopback

    async def scopes(self) -> frozenset[str] | None:
        """What the token may do (`linode_scopes.scope_refusal` judges it); None when the API does not say."""
        return await self._http.scopes("/v4/profile")

    async def instances(self, labels: Collection[str]) -> dict[str, Instance]:
        """The instances with these labels. One that does not exist is refused, with all names that are missing."""
        wanted = sorted(set(labels))
        found: dict[str, Instance] = {}
        for start in range(0, len(wanted), FILTERED):
            chunk = wanted[start : start + FILTERED]
            where = {"+or": [{"label": label} for label in chunk]}
            for instance in await self._http.list("/v4/linode/instances", Instance, where=where):
                found[instance.label] = instance
        if missing := [label for label in wanted if label not in found]:
            raise Refused(
                f"no Linode labelled {', '.join(missing)}",
                hint="labels in [hosts] are those of Cloud Manager; or give ssh and private addresses",
                where=self._http.url,
            )
        return {label: found[label] for label in wanted}

    async def instances_tagged(self, tags: Iterable[str]) -> tuple[Instance, ...]:
        """The instances that have all of these tags (case does not matter), by label."""
        asked = sorted(set(tags))
        if not asked:
            raise Refused("no tags given: every Linode of the account would match")
        where = {"+and": [{"tags": tag} for tag in asked]}
        found = await self._http.list("/v4/linode/instances", Instance, where=where)
        wanted = {tag.lower() for tag in asked}
        matching = (instance for instance in found if wanted <= {tag.lower() for tag in instance.tags})
        return tuple(sorted(matching, key=lambda instance: instance.label))

    async def balancer(self, label_or_id: str) -> NodeBalancer:
        """By its label, which is unique; a number that is nobody's label is an id."""
        found = await self._http.list("/v4/nodebalancers", NodeBalancer, where={"label": label_or_id})
        if (match := next((each for each in found if each.label == label_or_id), None)) is not None:
            return match
        if label_or_id.isascii() and label_or_id.isdigit():
            return await self.balancer_by_id(int(label_or_id))
        raise Refused(
            f"no NodeBalancer {label_or_id!r}",
            hint="[balancer] nodebalancer is a label or id of this token's account",
            where=self._http.url,
        )

    async def balancer_by_id(self, balancer_id: int) -> NodeBalancer:
        return await self._http.get(f"/v4/nodebalancers/{balancer_id}", NodeBalancer)

    async def configs(self, balancer_id: int) -> tuple[Config, ...]:
        return await self._http.list(f"/v4/nodebalancers/{balancer_id}/configs", Config)

    async def nodes(self, balancer_id: int, config_id: int) -> tuple[Node, ...]:
        return await self._http.list(f"/v4/nodebalancers/{balancer_id}/configs/{config_id}/nodes", Node)

    async def node(self, balancer_id: int, config_id: int, node_id: int) -> Node:
        """Raises NotFound when it is gone."""
        return await self._http.get(_node_path(balancer_id, config_id, node_id), Node)

    async def put_node(self, path: tuple[int, int, int], mode: Mode, weight: int, deadline: Seconds) -> Node:
        """`path`: balancer, config and node. Label and address stay as they are: the API updates what is sent."""
        body = {"mode": mode.value, "weight": weight}
        return await self._http.put(_node_path(*path), body, Node, deadline=deadline)

    async def post_node(self, balancer_id: int, config_id: int, body: dict[str, str | int]) -> Node:
        return await self._http.post(f"/v4/nodebalancers/{balancer_id}/configs/{config_id}/nodes", body, Node)

    async def lab_listeners(self, balancer_id: int) -> tuple[Listener, ...]:
        """Where a lab's balancer really listens. Only a lab has this; asked of any other URL it is refused."""
        if not self.loopback:
            raise Refused("only a lab says where its listeners are", where=self._http.url)
        return (await self._http.get(f"/lab/balancers/{balancer_id}", Listeners)).listeners


def _node_path(balancer_id: int, config_id: int, node_id: int) -> str:
    return f"/v4/nodebalancers/{balancer_id}/configs/{config_id}/nodes/{node_id}"
