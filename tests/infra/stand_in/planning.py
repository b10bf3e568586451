"""What a change would be: the provider's part of `terraform plan`, on plain values."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.infra.stand_in.facts import DEFAULTS, FORCE_NEW, LEGACY, VOLATILE
from tests.infra.stand_in.wire import UNKNOWN, Json

SCHEMAS: Json = json.loads(Path(__file__).with_name("schema.json").read_text())
RESOURCES: Json = SCHEMAS["resources"]


def plan(kind: str, prior: Json | None, proposed: Json | None, config: Json) -> tuple[Json | None, list[str]]:
    """The planned state, and the paths that force a replacement."""
    if proposed is None:
        return None, []
    block = RESOURCES[kind]["block"]
    planned = deepcopy(proposed)
    for name, value in DEFAULTS[kind].items():
        if config[name] is None:
            planned[name] = value
    if prior is None:
        return _fill(block, planned), []
    _keep_what_the_service_filled(block, planned, prior, config, legacy=kind in LEGACY)
    changed = {name for name in planned if differs(block, name, planned[name], prior[name])}
    if not changed:
        return prior, []
    for name in VOLATILE[kind]:
        if config[name] is None:
            planned[name] = UNKNOWN
    return planned, [path for path in FORCE_NEW[kind] if _part(planned, path) != _part(prior, path)]


def blank(kind: str) -> Json:
    block = RESOURCES[kind]["block"]
    blocks: Json = {
        name: None if each["nesting_mode"] == "single" else [] for name, each in block.get("block_types", {}).items()
    }
    return {**dict.fromkeys(block["attributes"]), **blocks}


def known(state: Any) -> Any:
    """Unknown values as null: for whoever makes the object, both mean `nobody said`."""
    match state:
        case dict():
            return {name: known(value) for name, value in state.items()}
        case list():
            return [known(value) for value in state]
        case _:
            return None if state is UNKNOWN else state


def differs(block: Json, name: str, one: Any, other: Any) -> bool:
    kind = block["attributes"].get(name, {}).get("type")
    if isinstance(kind, list) and kind[0] == "set" and isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) != sorted(map(str, other))
    return bool(one != other)


def _fill(block: Json, values: Json) -> Json:
    """A new object: what nobody said and the service will say is unknown."""
    filled = dict(values)
    for name, each in block.get("attributes", {}).items():
        if filled.get(name) is None and each.get("computed"):
            filled[name] = UNKNOWN
        elif "nested_type" in each and isinstance(filled.get(name), list):
            filled[name] = [_fill(each["nested_type"], item) for item in filled[name]]
    for name, each in block.get("block_types", {}).items():
        if isinstance(filled.get(name), list):
            filled[name] = [_fill(each["block"], item) for item in filled[name]]
    return filled


def _keep_what_the_service_filled(block: Json, planned: Json, prior: Json, config: Json, *, legacy: bool) -> None:
    for name in block.get("block_types", {}):
        if not config[name] and prior[name]:
            planned[name] = prior[name]
    if legacy:
        for name in block["attributes"]:
            if planned[name] is None and not prior[name]:
                planned[name] = prior[name]


def _part(state: Json, path: str) -> Any:
    first, *rest = path.split(".")
    if not rest:
        value = state[first]
        return sorted(map(str, value)) if isinstance(value, list) and value and isinstance(value[0], str) else value
    return [_part(item, ".".join(rest)) for item in state[first] or []]
