"""The guard's rules for machines: instances of a colour that is not idle, and the home."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from celadon.core.observed import Mode
from celadon.core.release import Colour
from celadon.infra.facts import Facts, Machine
from celadon.infra.plan import Change
from celadon.infra.refusal import Refusal, attribute, what

COMPUTED = frozenset(
    {
        "backups", "capabilities", "has_user_data", "host_uuid", "id", "ip_address", "ipv6", "lke_cluster_id", "locks",
        "private_ip_address", "specs", "status",
    }
)  # fmt: skip
"""Told by the API, never asked of it (the provider's schema, 3.13): a difference in them changes no machine."""

HARMLESS = frozenset(
    {
        "alerts", "backups_enabled", "group", "maintenance_policy", "migration_type",
        "placement_group_externally_managed", "resize_disk", "tags", "timeouts", "watchdog_enabled",
    }
)  # fmt: skip
EFFECTS: Mapping[str, str] = {
    "type": "it is shut down and resized",
    "region": "it is shut down and migrated",
    "root_pass": "it is powered off to set the password",
    "interface": "it is shut down and booted",
    "booted": "it is shut down",
    "private_ip": "it is rebooted",
    "config": "it is rebooted",
    "disk": "it is shut down",
    "boot_config_label": "it is rebooted",
    "swap_size": "it is shut down",
    "label": "its replicas are known by this name",
}
"""What the provider does to change these in place (its source, 3.13). Others are taken to hurt as well."""

PARTS = frozenset({"linode_instance_disk", "linode_instance_config"})


class Need(msgspec.Struct, frozen=True):
    """Why a machine must stay as it is."""

    code: Literal["serves", "home", "unknown"]
    why: str


def judge_instance(change: Change, facts: Facts) -> Iterator[Refusal]:
    """A `linode_instance` that exists already."""
    machine = whose(change.before, facts)
    if change.kind not in ("delete", "replace", "update") or machine is None:
        return
    need = needed(machine, facts)
    if need is None:
        return
    if change.kind == "update":
        yield from _in_place(change, machine, need, facts)
    else:
        yield _refusal(change, machine, need, facts, f"{what(change)}: {need.why}")


def judge_part(change: Change, facts: Facts) -> Iterator[Refusal]:
    """A disk or a config of an instance: changing one shuts the instance down."""
    linode_id = as_id(change.before.get("linode_id"))
    machine = next((each for each in facts.machines if linode_id is not None and each.id == linode_id), None)
    if machine is None or change.kind not in ("delete", "replace", "update") or not change.changed:
        return
    if (need := needed(machine, facts)) is not None:
        message = f"{what(change)}, and {machine.name} is shut down for it: {need.why}"
        yield _refusal(change, machine, need, facts, message)


def judge_address(change: Change, facts: Facts) -> Iterator[Refusal]:
    """A further address, added so that the instance is rebooted for it at once."""
    linode_id = as_id(change.after.get("linode_id"))
    machine = next((each for each in facts.machines if linode_id is not None and each.id == linode_id), None)
    if machine is None or change.kind not in ("create", "replace") or change.after.get("apply_immediately") is not True:
        return
    if (need := needed(machine, facts)) is not None:
        message = f"{change.address} would reboot {machine.name} (apply_immediately): {need.why}"
        yield _refusal(change, machine, need, facts, message, "apply_immediately")


def whose(values: Mapping[str, Any], facts: Facts) -> Machine | None:
    """The machine that these values describe; one that no colour names but that gets traffic is one, too."""
    found = addresses_of(values)
    label, linode_id = values.get("label"), as_id(values.get("id"))
    for machine in facts.machines:
        if machine.name == label or machine.addresses & found or (machine.id is not None and machine.id == linode_id):
            return machine
    if facts.at(found) or facts.unknown:
        return Machine(str(label or linode_id or "this machine"), found)
    return None


def needed(machine: Machine, facts: Facts) -> Need | None:
    """None: it may go."""
    node = next((n for n in facts.at(machine.addresses) if n.mode is not Mode.REJECT), None)
    if node is not None:
        return Need("serves", f"{machine.name} may get traffic: its node is {node.mode.value} on port {node.port}")
    for colour in machine.colours:
        if colour in facts.busy:
            return Need("serves", facts.busy[colour])
    if machine.name == facts.home:
        return Need("home", f"{machine.name} is the home: it keeps lease, intent and journal")
    return Need("unknown", f"whether {machine.name} serves is unknown: {facts.unknown}") if facts.unknown else None


def way_out(machine: Machine, need: Need, facts: Facts) -> str:
    if facts.unknown:
        return "mend that first, then run it again"
    if need.code == "home":
        return "celadon store move HOST   (to a machine that stays), then run it again"
    idle = [colour.value for colour in Colour if colour not in facts.busy]
    if len(idle) == 1 and machine.colours:
        return f"change only {idle[0]}, which is idle: celadon infra renew {idle[0]} · deploy to it, then the other"
    return "celadon status · when its colour is idle, run it again"


def addresses_of(values: Mapping[str, Any]) -> frozenset[str]:
    """All IPv4 addresses an instance has: `ipv4`, the private one, and those in a VPC."""
    its = values.get("ipv4")
    found = [values.get("private_ip_address"), values.get("ip_address"), *(its if isinstance(its, list) else ())]
    for interface in _dicts(values.get("interface")):
        found += [part.get("vpc") for part in _dicts(interface.get("ipv4"))]
    return frozenset(each for each in found if isinstance(each, str) and each)


def _in_place(change: Change, machine: Machine, need: Need, facts: Facts) -> Iterator[Refusal]:
    for name in change.changed:
        if name in COMPUTED | HARMLESS or (name == "booted" and change.after.get(name) is True):
            continue
        effect = EFFECTS.get(name, "what that does to a running machine is not known")
        yield _refusal(
            change,
            machine,
            need,
            facts,
            f"{change.address} would be changed ({change.step(name)}; {effect}): {need.why}",
            name,
        )


def _refusal(change: Change, machine: Machine, need: Need, facts: Facts, message: str, name: str = "") -> Refusal:
    return Refusal(
        resource=change.address,
        attribute=name or attribute(change),
        message=message,
        way_out=way_out(machine, need, facts),
        code=need.code,
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_id(value: Any) -> int | None:
    """Ids are texts in instances and numbers in what refers to them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None
