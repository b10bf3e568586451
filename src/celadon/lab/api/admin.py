"""The lab's own endpoints under `/lab`, beside the API: where things really are, faults and switches.

They need a token with all scopes; to read where a NodeBalancer really listens, one that may read NodeBalancers will do,
because that is all a deployer needs to be given.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from celadon.core.errors import CeladonError, Refused
from celadon.lab import parts
from celadon.lab.api.faults import Armed, Fault, Faults
from celadon.lab.api.gate import Gate, answered, failure
from celadon.lab.switches import Switches
from celadon.lab.world.account import Account
from celadon.lab.world.objects import Balancer, Instance
from celadon.lab.world.problems import Problem
from celadon.lab.world.profile import ALL_SCOPES, permits

Json = dict[str, Any]
T = TypeVar("T", bound=msgspec.Struct)

LIMITS = (
    "firewalls are kept and filter nothing",
    "domains are kept and no name server answers",
    "NodeBalancers carry http, https and tcp over IPv4; no udp, no IPv6 backends",
    "VPC addresses are given out and lead nowhere",
)


class InstanceFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /lab/instances/{id}/faults`."""

    kind: parts.Fault


class Admin:
    """`changed` is told when the account was changed from here."""

    def __init__(
        self,
        gate: Gate,
        account: Account,
        plane: parts.DataPlane,
        machines: parts.Machines,
        faults: Faults,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._gate = gate
        self._account = account
        self._plane = plane
        self._machines = machines
        self._faults = faults
        self._changed = changed

    def routes(self) -> list[Route]:
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/status", self.overview),
            ("GET", "/balancers/{id:int}", self.balancer),
            ("GET", "/instances/{id:int}", self.instance),
            ("POST", "/instances/{id:int}/faults", self.fail_instance),
            ("GET", "/switches", self.switches),
            ("PUT", "/switches", self.turn),
            ("GET", "/faults", self.list_faults),
            ("POST", "/faults", self.arm),
            ("DELETE", "/faults", self.disarm),
            ("DELETE", "/faults/{id:int}", self.disarm),
        ]
        enough: dict[Callable[[Request], Awaitable[Any]], str] = {self.balancer: "nodebalancers:read_only"}
        return [
            Route(path, self._guarded(answer, enough.get(answer, ALL_SCOPES)), methods=[method])
            for method, path, answer in table
        ]

    async def overview(self, _: Request) -> Json:
        state = self._account.state
        return {
            "instances": [self._instance(instance) for instance in state.all(Instance)],
            "balancers": [self._balancer(balancer) for balancer in state.all(Balancer)],
            "switches": msgspec.to_builtins(state.switches),
            "limits": list(LIMITS),
        }

    async def balancer(self, request: Request) -> Json:
        return self._balancer(self._account.find(Balancer, request.path_params["id"]))

    async def instance(self, request: Request) -> Json:
        return self._instance(self._account.find(Instance, request.path_params["id"]))

    async def fail_instance(self, request: Request) -> Json:
        instance = self._account.find(Instance, request.path_params["id"])
        fault = await _read(request, InstanceFault)
        await self._machines.fault(instance.id, fault.kind)
        if fault.kind == "die" and instance.status == "running":
            self._account.amend(instance, {"status": "offline", "updated": self._account.stamp()})
            await self._changed()
        return {}

    async def switches(self, _: Request) -> Json:
        return _plain(self._account.state.switches)

    async def turn(self, request: Request) -> Json:
        """Partial: switches that are left out stay."""
        now = self._account.state.switches
        body = msgspec.json.decode(await request.body(), type=dict[str, Any])
        self._account.turn(msgspec.convert({**_plain(now), **body}, type=Switches))
        await self._changed()
        return _plain(self._account.state.switches)

    async def list_faults(self, _: Request) -> list[Json]:
        return [_armed(armed) for armed in self._faults.armed()]

    async def arm(self, request: Request) -> Json:
        fault = await _read(request, Fault)
        return _armed(self._faults.arm(fault, self._account.state, self._gate.statuses()))

    async def disarm(self, request: Request) -> Json:
        self._faults.disarm(request.path_params.get("id"))
        return {}

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Any]], scope: str
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                self._admit(request, scope)
                return answered(await answer(request))
            except Problem as problem:
                return failure(problem)
            except msgspec.MsgspecError as error:
                return failure(Problem(str(error)))
            except CeladonError as error:
                return failure(Problem(error.message, status=409))

        return endpoint

    def _admit(self, request: Request, scope: str) -> None:
        token = self._gate.admit(request)
        if token is None or not permits(token.scopes, scope):
            needed = "all scopes" if scope == ALL_SCOPES else scope
            raise Problem(f"A token with {needed} is needed", status=403)

    def _instance(self, instance: Instance) -> Json:
        """SSH details only while there is a machine: a new instance is still being made."""
        view: Json = {
            "id": instance.id,
            "label": instance.label,
            "status": instance.status,
            "address": instance.ipv4[0],
            "private_address": instance.private_address,
            "ssh_port": None,
            "host_key": None,
        }
        try:
            view["ssh_port"] = self._machines.ssh_port(instance.id)
            view["host_key"] = self._machines.host_key(instance.id)
        except Refused:
            return view
        return view

    def _balancer(self, balancer: Balancer) -> Json:
        listeners = [msgspec.to_builtins(each) for each in self._plane.listeners(balancer.id)]
        return {"id": balancer.id, "label": balancer.label, "address": balancer.ipv4, "listeners": listeners}


async def _read(request: Request, kind: type[T]) -> T:
    return msgspec.json.decode(await request.body(), type=kind)


def _plain(struct: msgspec.Struct) -> Json:
    plain: Json = msgspec.to_builtins(struct)
    return plain


def _armed(armed: Armed) -> Json:
    return {"id": armed.id, **_plain(armed.fault)}
