"""What every request passes, in order: token, rate, scope, faults, body, the work, the answer."""

import asyncio
import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from celadon.core.errors import Bug, CeladonError
from celadon.lab.api import bodies, filters
from celadon.lab.api.endpoint import Answer, Call, Endpoint, Json
from celadon.lab.api.faults import Armed, Faults
from celadon.lab.api.rates import Rates, Standing
from celadon.lab.parts import DataPlane, NodeStatus, Spread
from celadon.lab.world import profile
from celadon.lab.world.account import Account
from celadon.lab.world.objects import Token
from celadon.lab.world.problems import Problem

LOG = logging.getLogger(__name__)

SPEC_VERSION = "4.229.1"
ANONYMOUS = "anonymous"
COMMON_HEADERS = {
    "X-Spec-Version": SPEC_VERSION,
    "Cache-Control": "private, max-age=0, s-maxage=0, no-cache, no-store",
    "Vary": "Authorization, X-Filter",
    "Access-Control-Expose-Headers": "X-OAuth-Scopes, X-Accepted-OAuth-Scopes, X-RateLimit-Limit",
}
NOT_AUTHORIZED = "Your OAuth token is not authorized to use this endpoint."
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
REASONS = {
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable. Please try again later.",
}


class Lost(Response):
    """No answer at all: the connection is closed in the client's face."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        connection = scope.get("state", {}).get("connection")
        if connection is None:
            raise Bug("only a lab's own server can lose an answer")
        connection.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Gate:
    """Runs endpoints for one account. `spread` makes a change true and kept before it is answered."""

    def __init__(self, account: Account, plane: DataPlane, rates: Rates, faults: Faults, spread: Spread) -> None:
        self._account = account
        self._plane = plane
        self._rates = rates
        self._faults = faults
        self._spread = spread

    async def serve(self, endpoint: Endpoint, request: Request) -> Response:
        headers = {**COMMON_HEADERS, "X-Accepted-OAuth-Scopes": endpoint.needed_scope}
        try:
            token = self.admit(request, anonymous=not endpoint.scope)
            scopes = token.scopes if token else ""
            headers["X-OAuth-Scopes"] = scopes or ANONYMOUS
            standing = self._rates.count(str(token.id) if token else ANONYMOUS, endpoint.rate)
            headers |= standing.headers
            _refuse(endpoint, standing, scopes)
            fault = self._faults.meet(request.method, unversioned(request.url.path))
            if fault and fault.fault.kind == "status":
                return self._refusal(fault, standing, headers)
            answer = await self._answer(endpoint, request, fault)
        except Problem as problem:
            return failure(problem, headers)
        if fault and fault.fault.kind == "lost":
            return Lost()
        if fault and fault.fault.kind == "slow":
            await asyncio.sleep(fault.fault.seconds)
        return answered(answer, headers=headers)

    def admit(self, request: Request, *, anonymous: bool = False) -> Token | None:
        """The token of a request. Raises 401 for a wrong one, and for none unless `anonymous` may ask."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if not kind and anonymous:
            return None
        token = profile.token_for(self._account.state, secret.strip()) if kind.lower() == "bearer" else None
        if token is None:
            raise Problem("Invalid Token", status=401)
        return token

    def statuses(self) -> dict[int, NodeStatus]:
        """The status of every node now; kept by a fault that makes reads stale."""
        return {node_id: self._plane.status(node_id) for node_id in self._account.state.nodes}

    async def _answer(self, endpoint: Endpoint, request: Request, fault: Armed | None) -> Answer:
        body: Json = {}
        if endpoint.method in ("POST", "PUT"):
            body = bodies.check(endpoint.operation, bodies.parse(await request.body()))
        before = self._account.state
        call = Call(
            account=self._account,
            state=before,
            path=request.path_params,
            body=body,
            status_of=self._plane.status,
            traffic_of=self._plane.totals,
        )
        if fault and fault.state:
            call = _stale(call, fault)
        with self._account.change():
            answer = endpoint.answer(call)
        if isinstance(answer, list):
            facts = bodies.operations().get(endpoint.operation, {})
            kept = filters.select(answer, request.headers.get("x-filter"), facts.get("filterable", ()))
            answer = filters.page(kept, request.query_params)
        if self._account.state is not before:
            await self._make_true(endpoint)
        return answer

    async def _make_true(self, endpoint: Endpoint) -> None:
        try:
            await self._spread()
        except Exception as error:
            LOG.exception("%s was done, and the lab could not make it true", endpoint.operation)
            why = error.message if isinstance(error, CeladonError) else repr(error)
            raise Problem(f"The lab could not make this true: {why}", status=500) from error

    def _refusal(self, armed: Armed, standing: Standing, headers: dict[str, str]) -> Response:
        fault = armed.fault
        if fault.status == 502:
            return Response(BAD_GATEWAY, 502, headers, media_type="text/html")
        retry_after = fault.retry_after
        if fault.status == 429:
            headers = {**headers, "X-RateLimit-Limit": str(standing.limit), "X-RateLimit-Remaining": "0"}
            retry_after = 1 if retry_after is None else retry_after
        if retry_after is not None:
            headers = {**headers, "Retry-After": str(retry_after)}
        if fault.maintenance:
            headers = {**headers, "X-Maintenance-Mode": "the lab was asked for maintenance"}
        return failure(Problem(REASONS[fault.status], status=fault.status), headers)


def _refuse(endpoint: Endpoint, standing: Standing, scopes: str) -> None:
    if standing.retry_after is not None:
        raise Problem(REASONS[429], status=429)
    if endpoint.scope and not profile.permits(scopes, endpoint.needed_scope):
        raise Problem(NOT_AUTHORIZED, status=401)


def unversioned(path: str) -> str:
    """`/v4/regions` and `/v4beta/regions` are `/regions` for faults."""
    return "/" + path.lstrip("/").partition("/")[2]


def answered(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The content type is exactly `application/json`: linodego compares it as a string."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def failure(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    entry = {"reason": problem.reason} | ({"field": problem.field} if problem.field else {})
    return answered({"errors": [entry]}, problem.status, headers)


def _stale(call: Call, fault: Armed) -> Call:
    def status_then(node_id: int) -> NodeStatus:
        return fault.statuses.get(node_id, "Unknown")

    return msgspec.structs.replace(call, state=fault.state, status_of=status_then)
