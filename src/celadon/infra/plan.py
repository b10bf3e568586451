"""A Terraform plan, read from the text of `terraform show -json PLAN`: what it would do to what. Judges nothing.

The text may come from anybody's pipeline, so it is bounded, and whatever is wrong with it is one clear refusal.
OpenTofu writes the same format.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from celadon.core.errors import Refused

LARGEST = 64 * 1024 * 1024  # bytes; a plan of a thousand machines has about 20 MB
SHOWN = 120  # characters of a name that are shown
MAKE = "terraform plan -out=plan.bin && terraform show -json plan.bin > plan.json"

Kind = Literal["nothing", "create", "update", "replace", "delete", "forget"]
KINDS: Mapping[tuple[str, ...], Kind] = {
    ("no-op",): "nothing",
    ("read",): "nothing",
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("forget",): "forget",
    ("create", "forget"): "create",  # a replacement whose old object Terraform lets go: it lives on
}


class BadPlan(Refused):
    """The text is no plan that can be judged; nothing is concluded from it."""

    code = "plan"


class _Change(msgspec.Struct, frozen=True):
    actions: tuple[str, ...]
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    after_unknown: Any = None
    before_sensitive: Any = None
    after_sensitive: Any = None
    replace_paths: tuple[tuple[str | int, ...], ...] = ()
    importing: Any = None


class _ResourceChange(msgspec.Struct, frozen=True):
    address: str
    type: str
    change: _Change
    mode: str = "managed"
    deposed: str | None = None
    action_reason: str | None = None


class _Resource(msgspec.Struct, frozen=True):
    address: str
    type: str
    mode: str = "managed"
    values: dict[str, Any] = {}


class _Module(msgspec.Struct, frozen=True):
    resources: tuple[_Resource, ...] = ()
    child_modules: tuple["_Module", ...] = ()


class _Values(msgspec.Struct, frozen=True):
    root_module: _Module = _Module()


class _State(msgspec.Struct, frozen=True):
    values: _Values | None = None


class _Plan(msgspec.Struct, frozen=True):
    format_version: str
    resource_changes: tuple[_ResourceChange, ...] | None = None
    planned_values: _Values | None = None
    prior_state: _State | None = None
    values: Any = None  # only a state has it
    errored: bool = False
    complete: bool = True
    applyable: bool = True


class Known(msgspec.Struct, frozen=True):
    """A resource as Terraform's state, refreshed while planning, or its plan for afterwards, has it."""

    address: str
    type: str
    values: Mapping[str, Any]


class Change(msgspec.Struct, frozen=True):
    """What would happen to one resource. `before` is empty for one that is made, `after` for one that goes."""

    address: str
    type: str
    kind: Kind
    before: Mapping[str, Any] = {}
    after: Mapping[str, Any] = {}
    unknown: Mapping[str, Any] = {}  # attributes that are known only after the apply
    sensitive: frozenset[str] = frozenset()  # attributes whose values nobody may print
    forced_by: tuple[str, ...] = ()  # the attributes that cannot be changed in place
    reason: str = ""  # why it goes or is replaced, where no attribute forces it

    @property
    def changed(self) -> tuple[str, ...]:
        """Attributes whose value differs or may differ afterwards."""
        names = self.before.keys() | self.after.keys() | self.unknown.keys()
        return tuple(sorted(name for name in names if self.changes(name)))

    def changes(self, name: str) -> bool:
        return _any_true(self.unknown.get(name)) or self.before.get(name) != self.after.get(name)

    def is_unknown(self, name: str) -> bool:
        return _any_true(self.unknown.get(name))

    def step(self, name: str) -> str:
        """`type: g6-nanode-1 → g6-standard-1`; without values where they are secret, long or not known."""
        if name in self.sensitive or self.is_unknown(name):
            return name
        old, new = self.before.get(name), self.after.get(name)
        if all(isinstance(value, str | int | float | bool | None) for value in (old, new)):
            return f"{name}: {_shown(old)} → {_shown(new)}"
        return name


class Plan(msgspec.Struct, frozen=True):
    changes: tuple[Change, ...]
    before: tuple[Known, ...]  # what the state has
    after: tuple[Known, ...]  # what it will have, as far as that is known
    applyable: bool = True  # false: nothing to do, not even an output


def read_plan(text: bytes, *, name: str = "the plan") -> Plan:
    """`name`: how errors call it. Raises `BadPlan`."""
    if len(text) > LARGEST:
        raise BadPlan(f"{name} is larger than {LARGEST // 1024**2} MiB; plans that large are not judged", where=name)
    if not text.strip():
        raise BadPlan(f"{name} is empty", hint=MAKE, where=name)
    try:
        raw = msgspec.json.decode(text, type=_Plan)
    except msgspec.ValidationError as error:
        raise BadPlan(f"{name} is not a Terraform plan: {_shown(str(error))}", hint=MAKE, where=name) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A plan file itself is a zip archive: the commonest mistake.
        what = "is a plan file, not its JSON" if text[:2] == b"PK" else "is not JSON"
        raise BadPlan(f"{name} {what}", hint=MAKE, where=name) from None
    return _checked(raw, name)


def _checked(raw: _Plan, name: str) -> Plan:
    if raw.format_version.partition(".")[0] != "1":
        raise BadPlan(f"{name} has format {_shown(raw.format_version)}; only format 1 is known", where=name)
    if raw.values is not None and raw.resource_changes is None:
        raise BadPlan(f"{name} is a state, not a plan", hint=MAKE, where=name)
    if raw.errored or not raw.complete:
        what = "ended in an error" if raw.errored else "is not complete (Terraform deferred a part of it)"
        raise BadPlan(f"{name}: planning {what}, so what is in it is not all", hint="terraform plan", where=name)
    if raw.planned_values is None:
        raise BadPlan(f"{name} has no planned values, so it is no plan", hint=MAKE, where=name)
    changes = tuple(_change(each, name) for each in raw.resource_changes or () if each.mode == "managed")
    prior = raw.prior_state.values if raw.prior_state is not None else None
    return Plan(changes, tuple(_known(prior)), tuple(_known(raw.planned_values)), raw.applyable)


def _change(raw: _ResourceChange, name: str) -> Change:
    change = raw.change
    kind = KINDS.get(change.actions)
    if kind is None:
        what = _shown("+".join(change.actions))
        raise BadPlan(
            f"{name}: {_shown(raw.address)} has an action that this version does not know: {what}", where=name
        )
    needs = {"update": (True, True), "replace": (True, True), "delete": (True, False), "create": (False, True)}
    before, after = needs.get(kind, (False, False))
    if (before and change.before is None) or (after and change.after is None):
        raise BadPlan(f"{name}: {_shown(raw.address)} is to {kind}, and its values are missing", where=name)
    sensitive = _names(change.before_sensitive, change.before) | _names(change.after_sensitive, change.after)
    unknown = change.after_unknown if isinstance(change.after_unknown, dict) else {}
    return Change(
        address=raw.address + (f" (deposed object {raw.deposed})" if raw.deposed else ""),
        type=raw.type,
        kind=kind,
        before=change.before or {},
        after=change.after or {},
        unknown=unknown,
        sensitive=frozenset(sensitive),
        forced_by=tuple(sorted({_path(path) for path in change.replace_paths})),
        reason=raw.action_reason or "",
    )


def _known(values: _Values | None) -> Iterator[Known]:
    modules = [values.root_module] if values is not None else []
    while modules:
        module = modules.pop()
        modules += module.child_modules
        for resource in module.resources:
            if resource.mode == "managed":
                yield Known(resource.address, resource.type, resource.values)


def _names(sensitive: Any, values: Mapping[str, Any] | None) -> set[str]:
    """The attributes with anything sensitive in them; `true` alone means all of them."""
    if sensitive is True:
        return set(values or ())
    return {name for name, part in sensitive.items() if _any_true(part)} if isinstance(sensitive, dict) else set()


def _any_true(tree: Any) -> bool:
    trees = [tree]
    while trees:
        each = trees.pop()
        if each is True:
            return True
        if isinstance(each, dict):
            trees += each.values()
        elif isinstance(each, list):
            trees += each
    return False


def _path(path: tuple[str | int, ...]) -> str:
    """`metadata.user_data`: places in a list say nothing to a person."""
    return _shown(".".join(part for part in path if isinstance(part, str)) or "itself")


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
