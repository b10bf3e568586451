"""Faults that a test asks for: which requests they meet, how often, and what happens then."""

import fnmatch
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from celadon.lab.parts import NodeStatus
from celadon.lab.world.account import State

Kind = Literal["status", "lost", "slow", "stale"]
Statuses = dict[int, NodeStatus]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A script for some requests.

    `status`: nothing is done, the answer is `status`. `lost`: it is done and the connection closed without an
    answer. `slow`: it is done and answered after `seconds`. `stale`: for `seconds`, GETs answer the state as it was
    when the fault was set.
    """

    kind: Kind
    method: str = "*"
    path: str = "*"  # as fnmatch has it (`*` crosses slashes), without the version: /nodebalancers/*/configs
    count: Annotated[int, msgspec.Meta(ge=1)] = 1  # `stale` counts seconds instead
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0  # matching requests that pass before the first is met
    status: Literal[429, 500, 502, 503] = 500
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None  # seconds; 429 always has one
    maintenance: bool = False  # with 503: X-Maintenance-Mode, which clients do not retry on
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0


class Armed(msgspec.Struct, frozen=True):
    """A fault that waits for requests. `state` and `statuses` are what stale reads are answered from."""

    id: int
    fault: Fault
    until: float | None = None
    state: State | None = None
    statuses: Statuses = {}

    def meets(self, method: str, path: str) -> bool:
        fault = self.fault
        if fault.kind == "stale" and method != "GET":
            return False
        return fault.method.upper() in ("*", method) and fnmatch.fnmatchcase(path, fault.path)


class Faults:
    """Those armed now, in the order in which they were asked for; the first that meets a request wins."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._armed: dict[int, Armed] = {}
        self._last_id = 0

    def arm(self, fault: Fault, state: State, statuses: Statuses) -> Armed:
        self._last_id += 1
        armed = Armed(self._last_id, fault)
        if fault.kind == "stale":
            armed = Armed(self._last_id, fault, self._clock() + fault.seconds, state, statuses)
        self._armed[armed.id] = armed
        return armed

    def disarm(self, fault_id: int | None = None) -> None:
        """One, or all. To disarm one that is spent already is no error."""
        if fault_id is None:
            self._armed.clear()
        else:
            self._armed.pop(fault_id, None)

    def armed(self) -> tuple[Armed, ...]:
        now = self._clock()
        self._armed = {key: each for key, each in self._armed.items() if each.until is None or each.until > now}
        return tuple(self._armed.values())

    def meet(self, method: str, path: str) -> Armed | None:
        """The fault for this request, counted down."""
        for armed in self.armed():
            if not armed.meets(method, path):
                continue
            fault = armed.fault
            if fault.skip:
                self._keep(armed, msgspec.structs.replace(fault, skip=fault.skip - 1))
                continue
            if fault.kind != "stale":
                if fault.count == 1:
                    del self._armed[armed.id]
                else:
                    self._keep(armed, msgspec.structs.replace(fault, count=fault.count - 1))
            return armed
        return None

    def _keep(self, armed: Armed, fault: Fault) -> None:
        self._armed[armed.id] = msgspec.structs.replace(armed, fault=fault)
