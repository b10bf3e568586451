"""The whole account as one value, and the few verbs that change it.

`State` is frozen: a change is a new state, so an old one can be kept (stale reads), compared (what must the data
plane be told?), written to a file, or gone back to when an operation fails halfway.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from celadon.lab.switches import Switches
from celadon.lab.world.addresses import AddressBlock
from celadon.lab.world.objects import (
    Balancer,
    BalancerVpc,
    Config,
    Disk,
    Domain,
    Event,
    EventStatus,
    Firewall,
    FirewallDevice,
    HeldPort,
    Instance,
    InstanceConfig,
    Item,
    Job,
    Json,
    Lock,
    Node,
    Record,
    SshKey,
    Subnet,
    Tag,
    Token,
    Vpc,
)
from celadon.lab.world.problems import NotFound

T = TypeVar("T", bound=Item)

FIRST_ID = 100_001
EVENTS_KEPT = 1_000  # Linode keeps 90 days; a lab's state file is written at every change


class State(msgspec.Struct, frozen=True):
    """Every table of the account. Never changed in place."""

    next_id: int = FIRST_ID
    block: AddressBlock = AddressBlock(1)
    switches: Switches = Switches()
    username: str = "lab"
    company: Json = {}
    instances: dict[int, Instance] = {}
    disks: dict[int, Disk] = {}
    instance_configs: dict[int, InstanceConfig] = {}
    balancers: dict[int, Balancer] = {}
    configs: dict[int, Config] = {}
    nodes: dict[int, Node] = {}
    balancer_vpcs: dict[int, BalancerVpc] = {}
    held_ports: dict[int, HeldPort] = {}
    firewalls: dict[int, Firewall] = {}
    firewall_devices: dict[int, FirewallDevice] = {}
    vpcs: dict[int, Vpc] = {}
    subnets: dict[int, Subnet] = {}
    domains: dict[int, Domain] = {}
    records: dict[int, Record] = {}
    ssh_keys: dict[int, SshKey] = {}
    tokens: dict[int, Token] = {}
    tags: dict[int, Tag] = {}
    locks: dict[int, Lock] = {}
    events: dict[int, Event] = {}
    jobs: dict[int, Job] = {}

    def all(self, kind: type[T]) -> tuple[T, ...]:
        table: dict[int, T] = getattr(self, TABLES[kind])
        return tuple(table.values())

    def find(self, kind: type[T], item_id: int) -> T:
        """Raises NotFound, as the API answers it."""
        table: dict[int, T] = getattr(self, TABLES[kind])
        try:
            return table[item_id]
        except KeyError:
            raise NotFound from None


TABLES: dict[type[Item], str] = {
    Instance: "instances",
    Disk: "disks",
    InstanceConfig: "instance_configs",
    Balancer: "balancers",
    Config: "configs",
    Node: "nodes",
    BalancerVpc: "balancer_vpcs",
    HeldPort: "held_ports",
    Firewall: "firewalls",
    FirewallDevice: "firewall_devices",
    Vpc: "vpcs",
    Subnet: "subnets",
    Domain: "domains",
    Record: "records",
    SshKey: "ssh_keys",
    Token: "tokens",
    Tag: "tags",
    Lock: "locks",
    Event: "events",
    Job: "jobs",
}


class Account:
    """The one place where the state changes. `clock` gives seconds of the epoch."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self.state = state
        self.clock = clock

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """All or nothing: an operation that fails halfway leaves the state as it was."""
        before = self.state
        try:
            yield
        except BaseException:
            self.state = before
            raise

    def all(self, kind: type[T]) -> tuple[T, ...]:
        return self.state.all(kind)

    def find(self, kind: type[T], item_id: int) -> T:
        return self.state.find(kind, item_id)

    def put(self, item: T) -> T:
        table = TABLES[type(item)]
        self._replace(table, {**getattr(self.state, table), item.id: item})
        return item

    def amend(self, item: T, changes: Json) -> T:
        """`item` with some fields changed, put back. The values are converted to the fields' types."""
        return self.put(msgspec.convert({**msgspec.to_builtins(item), **changes}, type=type(item)))

    def drop(self, item: Item) -> None:
        table = TABLES[type(item)]
        self._replace(table, {key: held for key, held in getattr(self.state, table).items() if key != item.id})

    def drop_where(self, kind: type[T], doomed: Callable[[T], bool]) -> None:
        for item in self.all(kind):
            if doomed(item):
                self.drop(item)

    def new_id(self) -> int:
        taken = self.state.next_id
        self._replace("next_id", taken + 1)
        return taken

    def stamp(self) -> str:
        """Now, as the API writes times: UTC, no zone, no fraction (anything else breaks linodego)."""
        return datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S")

    def note(
        self, action: str, entity: Json, status: EventStatus = "notification", secondary: Json | None = None
    ) -> Event:
        event = Event(
            id=self.new_id(),
            action=action,
            created=self.stamp(),
            status=status,
            entity=entity,
            secondary_entity=secondary,
            percent_complete=100 if status == "notification" else 0,
        )
        kept = dict(list(self.state.events.items())[-EVENTS_KEPT + 1 :])
        self._replace("events", {**kept, event.id: event})
        return event

    def describe(self, company: Json) -> None:
        """The account's own name and address."""
        self._replace("company", company)

    def turn(self, switches: Switches) -> None:
        self._replace("switches", switches)

    def _replace(self, name: str, value: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **{name: value})


def entity(kind: str, item_id: int | str, label: str, url: str) -> Json:
    """What an event is about."""
    return {"id": item_id, "type": kind, "label": label, "url": url}
