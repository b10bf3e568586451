"""The lab's web application: every route under both versions of the API, and the lab's own."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from celadon.lab.api import account as account_routes
from celadon.lab.api import balancers, catalog, domains, firewalls, instances, networks
from celadon.lab.api.admin import Admin
from celadon.lab.api.endpoint import Endpoint
from celadon.lab.api.faults import Faults
from celadon.lab.api.gate import COMMON_HEADERS, Gate, failure
from celadon.lab.api.rates import Rates
from celadon.lab.parts import DataPlane, Machines
from celadon.lab.runner import Runner, Timing
from celadon.lab.store import StateFile
from celadon.lab.switches import Switches
from celadon.lab.world.account import Account, State
from celadon.lab.world.addresses import AddressBlock
from celadon.lab.world.problems import NotFound, Problem
from celadon.lab.world.profile import ALL_SCOPES, admit

ENDPOINTS: tuple[Endpoint, ...] = (
    *catalog.ENDPOINTS,
    *instances.ENDPOINTS,
    *balancers.ENDPOINTS,
    *firewalls.ENDPOINTS,
    *networks.ENDPOINTS,
    *domains.ENDPOINTS,
    *account_routes.ENDPOINTS,
)
VERSIONS = ("/v4", "/v4beta")


class Options(msgspec.Struct, frozen=True):
    """How a lab's API behaves, apart from the switches."""

    timing: Timing = Timing()
    rate_scale: float = 1.0  # 1: the documented limits


def open_account(
    file: StateFile,
    token: str,
    block: AddressBlock,
    *,
    switches: Switches | None = None,
    clock: Callable[[], float] = time.time,
) -> Account:
    """The account that the file holds, or a new one. `token` is let in with all scopes.

    A kept account keeps its own address block, whatever `block` is: its objects have addresses of it. So claim the
    block with `blocks.claim_for`.
    """
    state = file.load() or State(block=block)
    account = Account(state if switches is None else msgspec.structs.replace(state, switches=switches), clock)
    admit(account, token, ALL_SCOPES, "lab")
    return account


def create_app(
    account: Account,
    plane: DataPlane,
    machines: Machines,
    *,
    file: StateFile | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    on_switches: Callable[[Switches], None] = lambda _: None,
) -> Starlette:
    """`on_switches` hears of the switches at the start and after each change (the data plane wants them).

    Plane and machines are used, not owned: whoever made them closes them after the application has ended.
    """
    file = file or StateFile(None)

    async def keep() -> None:
        await file.save(account.state)

    runner = Runner(account, plane, machines, options.timing, keep)
    faults = Faults(account.clock)

    async def spread() -> None:
        await keep()
        await runner.settle()

    async def changed_by_admin() -> None:
        on_switches(account.state.switches)
        await keep()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await changed_by_admin()
        await runner.start()
        try:
            yield
        finally:
            await runner.close()

    gate = Gate(account, plane, Rates(account.clock, options.rate_scale), faults, spread)
    admin = Admin(gate, account, plane, machines, faults, changed_by_admin)
    routes = [_route(gate, endpoint) for endpoint in ENDPOINTS]
    mounts: list[BaseRoute] = [Mount(version, routes=routes) for version in VERSIONS]
    return Starlette(
        routes=[Mount("/lab", routes=admin.routes()), *mounts],
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_served, 500: _our_fault},
    )


def _route(gate: Gate, endpoint: Endpoint) -> Route:
    async def serve(request: Request) -> Response:
        return await gate.serve(endpoint, request)

    return Route(endpoint.path, serve, methods=[endpoint.method])


async def _not_served(_: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    problem = NotFound() if status == 404 else Problem("Method Not Allowed", status=status)
    return failure(problem, dict(COMMON_HEADERS))


async def _our_fault(_: Request, error: Exception) -> Response:
    """A bug of the lab says so, in the API's form; the server logs it."""
    return failure(Problem(f"The lab has a bug: {type(error).__name__}", status=500), dict(COMMON_HEADERS))
