"""What a route of the API is: a row in a table, and what its function gets and returns.

A function reads `call.state` (which a stale read may have set back), changes things through `call.account`, and
returns what JSON can hold: an object, or for a collection its rows, which the gate filters and pages.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec

from celadon.lab.api.rates import RateClass
from celadon.lab.parts import NodeStatus
from celadon.lab.world.account import Account, State
from celadon.lab.world.objects import Item
from celadon.lab.world.profile import ALL_SCOPES

Json = dict[str, Any]
Answer = Json | list[Json]
T = TypeVar("T", bound=Item)
Method = Literal["GET", "POST", "PUT", "DELETE"]


class Call(msgspec.Struct, frozen=True):
    """One request, past the gate."""

    account: Account
    state: State
    path: Mapping[str, Any]  # the parameters in it, as typed by the route
    body: Json
    status_of: Callable[[int], NodeStatus]
    traffic_of: Callable[[int], tuple[int, int, int]]

    def id(self, name: str) -> int:
        return int(self.path[name])

    def after(self) -> "Call":
        """The same call, looking at the account as its own change has left it."""
        return msgspec.structs.replace(self, state=self.account.state)

    def find(self, kind: type[T], name: str) -> T:
        """The item that a parameter of the path names."""
        return self.state.find(kind, self.id(name))


class Endpoint(msgspec.Struct, frozen=True, dict=True):
    """`scope` is the OAuth family; empty: anybody may ask, with or without a token."""

    method: Method
    path: str
    scope: str
    answer: Callable[[Call], Answer]
    rate: RateClass = "default"

    @cached_property
    def operation(self) -> str:
        """The name of the operation in the facts: `PUT /nodebalancers/{}/configs/{}`."""
        return f"{self.method} {re.sub(r'{[^}]*}', '{}', self.path)}"

    @property
    def needed_scope(self) -> str:
        """What `X-Accepted-OAuth-Scopes` says."""
        if not self.scope:
            return ALL_SCOPES
        return f"{self.scope}:{'read_only' if self.method == 'GET' else 'read_write'}"


def shown(item: Item, *hidden: str) -> Json:
    """An item as the API answers it, without the fields named."""
    view: Json = msgspec.to_builtins(item)
    return {name: value for name, value in view.items() if name not in hidden}
