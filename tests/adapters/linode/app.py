"""A few kilobytes of Linode: the answers recorded in the API's own fixtures, over HTTP, for tests of the client."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from aiohttp import web

ALL_SCOPES = "linodes:read_only nodebalancers:read_write"


class LinodeApp:
    """State in dicts, as the API shows it. `served` counts requests by method and path."""

    def __init__(self) -> None:
        self.token = "sentinel-token"
        self.scopes: str | None = ALL_SCOPES
        self.instances: list[dict[str, Any]] = []
        self.balancers: dict[int, dict[str, Any]] = {}
        self.configs: dict[int, dict[str, Any]] = {}
        self.nodes: dict[int, dict[str, Any]] = {}
        self.served: list[str] = []
        self.bodies: list[Any] = []
        self.filters: list[Any] = []
        self.lose_answers = 0  # changes that are made, and whose answer is then cut off
        self.largest_page = 500
        self._ids: Iterator[int] = count(1001)

    def add_instance(self, label: str, *ipv4: str, tags: tuple[str, ...] = ()) -> None:
        self.instances.append(
            {"id": next(self._ids), "label": label, "status": "running", "ipv4": list(ipv4), "tags": list(tags),
             "region": "us-ord", "placement_group": None}
        )  # fmt: skip

    def add_balancer(self, label: str, **fields: Any) -> int:
        number = next(self._ids)
        self.balancers[number] = {
            "id": number, "label": label, "region": "us-ord", "ipv4": "192.0.2.141", "ipv6": None,
            "client_conn_throttle": 0, "lke_cluster": None, "tags": [], "transfer": {"in": None},
        } | fields  # fmt: skip
        return number

    def add_config(self, balancer: int, **fields: Any) -> int:
        number = next(self._ids)
        self.configs[number] = {
            "id": number, "nodebalancer_id": balancer, "port": 80, "protocol": "http", "algorithm": "roundrobin",
            "stickiness": "none", "check": "http", "check_interval": 31, "check_timeout": 30, "check_attempts": 3,
            "check_path": "/", "check_body": "", "check_passive": False, "cipher_suite": "recommended",
            "udp_check_port": 80, "udp_session_timeout": 16, "nodes_status": {"up": 0, "down": 0},
        } | fields  # fmt: skip
        return number

    def add_node(self, config: int, address: str, **fields: Any) -> int:
        number = next(self._ids)
        self.nodes[number] = {
            "id": number, "config_id": config, "nodebalancer_id": self.configs[config]["nodebalancer_id"],
            "label": "node", "address": address, "weight": 50, "mode": "accept", "status": "Unknown",
            "vpc_config_id": None,
        } | fields  # fmt: skip
        return number

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        node = "/v4/nodebalancers/{balancer}/configs/{config}/nodes"
        app.router.add_get("/v4/profile", self._profile)
        app.router.add_get("/v4/linode/instances", self._list_instances)
        app.router.add_get("/v4/nodebalancers", self._list_balancers)
        app.router.add_get("/v4/nodebalancers/{balancer}", self._get_balancer)
        app.router.add_get("/v4/nodebalancers/{balancer}/configs", self._list_configs)
        app.router.add_get(node, self._list_nodes)
        app.router.add_post(node, self._post_node)
        app.router.add_get(node + "/{node}", self._get_node)
        app.router.add_put(node + "/{node}", self._put_node)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.served.append(f"{request.method} {request.path}")
        if "X-Filter" in request.headers:
            self.filters.append(json.loads(request.headers["X-Filter"]))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return answer({"errors": [{"reason": "Invalid Token"}]}, 401)
        headers = {} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}
        if request.method != "GET" and self.scopes is not None and "nodebalancers:read_write" not in self.scopes:
            headers["X-Accepted-OAuth-Scopes"] = "nodebalancers:read_write"
            reason = "Your OAuth token is not authorized to use this endpoint."
            return answer({"errors": [{"reason": reason}]}, 401, headers)
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return answer({"errors": [{"reason": "Not found"}]}, 404, headers)
        if request.method != "GET" and self.lose_answers > 0:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        response.headers.update(headers)
        return response

    async def _profile(self, _request: web.Request) -> web.Response:
        return answer({"username": "ada"})

    async def _list_instances(self, request: web.Request) -> web.Response:
        return self._page(request, self.instances)

    async def _list_balancers(self, request: web.Request) -> web.Response:
        return self._page(request, list(self.balancers.values()))

    async def _get_balancer(self, request: web.Request) -> web.Response:
        return answer(self._find(self.balancers, request, "balancer"))

    async def _list_configs(self, request: web.Request) -> web.Response:
        number = int(request.match_info["balancer"])
        return self._page(request, [c for c in self.configs.values() if c["nodebalancer_id"] == number])

    async def _list_nodes(self, request: web.Request) -> web.Response:
        number = int(request.match_info["config"])
        return self._page(request, [n for n in self.nodes.values() if n["config_id"] == number])

    async def _get_node(self, request: web.Request) -> web.Response:
        return answer(self._find(self.nodes, request, "node"))

    async def _put_node(self, request: web.Request) -> web.Response:
        node = self._find(self.nodes, request, "node")
        body = await request.json()
        self.bodies.append(body)
        if not 1 <= body.get("weight", 1) <= 255:
            reason = {"reason": "Must be between 1 and 255", "field": "weight"}
            return answer({"errors": [reason]}, 400)
        node.update(body)
        if node["mode"] == "reject":
            node["status"] = "DOWN"
        return answer(node)

    async def _post_node(self, request: web.Request) -> web.Response:
        config = self._find(self.configs, request, "config")
        body = await request.json()
        self.bodies.append(body)
        return answer(self.nodes[self.add_node(config["id"], body.pop("address"), **body)])

    def _find(self, where: dict[int, dict[str, Any]], request: web.Request, name: str) -> dict[str, Any]:
        found = where.get(int(request.match_info[name]))
        if found is None:
            raise web.HTTPNotFound
        return found

    def _page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        if "X-Filter" in request.headers:
            items = [item for item in items if matches(item, json.loads(request.headers["X-Filter"]))]
        page, size = int(request.query["page"]), min(int(request.query["page_size"]), self.largest_page)
        pages = max(1, -(-len(items) // size))
        data = items[(page - 1) * size : page * size]
        return answer({"data": data, "page": page, "pages": pages, "results": len(items)})


def matches(item: dict[str, Any], where: dict[str, Any]) -> bool:
    for key, value in where.items():
        if key == "+or":
            if not any(matches(item, each) for each in value):
                return False
        elif key == "+and":
            if not all(matches(item, each) for each in value):
                return False
        elif isinstance(item[key], list):
            if value.lower() not in [each.lower() for each in item[key]]:
                return False
        elif item[key] != value:
            return False
    return True


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json"} | (headers or {})
    )
