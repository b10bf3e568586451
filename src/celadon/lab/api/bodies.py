"""One mechanism that checks request bodies against the facts of the OpenAPI specification.

Unknown fields are ignored, read-only ones (left out of the facts) too. Where the facts do not allow `null` it counts
as not sent, because that is what Go clients send for an empty list.
"""

import re
from functools import cache
from typing import Any

import msgspec

from celadon.lab.facts.catalogue import read
from celadon.lab.world.problems import Problem

Json = dict[str, Any]

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


@cache
def operations() -> dict[str, Json]:
    """By `POST /nodebalancers/{}/configs`."""
    return read("requests.json")


def parse(raw: bytes) -> Json:
    """An empty body is an empty object: clients send none with POSTs that need none."""
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise Problem("Invalid JSON") from None
    if not isinstance(body, dict):
        raise Problem("Invalid JSON: must be an object")
    return body


def check(operation: str, body: Json) -> Json:
    """The body without what is ignored. Raises the first Problem, with the field's path."""
    facts = operations().get(operation)
    if facts is None:
        return body
    for name in facts.get("required", ()):
        if body.get(name) in (None, ""):
            raise Problem(f"{name} is required", name)
    return _fields(facts.get("fields", {}), body, "")


def _fields(known: Json, body: Json, where: str) -> Json:
    """Fields the facts do not know are dropped when the facts know any: the API ignores them."""
    if not known:
        return body
    return {
        name: _value(known[name], value, f"{where}{name}")
        for name, value in body.items()
        if name in known and (value is not None or known[name].get("nullable"))
    }


def _value(facts: Json, value: Any, where: str) -> Any:
    kind = facts.get("type")
    if value is None and facts.get("nullable"):
        return None
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        raise Problem(f"Must be of type {kind.title()}", where)
    if isinstance(value, str):
        _text(facts, value, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _number(facts, value, where)
    if isinstance(value, list) and "items" in facts:
        return [_value(facts["items"], each, f"{where}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, dict):
        return _fields(facts.get("fields", {}), value, f"{where}.")
    return value


def _text(facts: Json, value: str, where: str) -> None:
    shortest, longest = facts.get("minLength", 0), facts.get("maxLength")
    if len(value) < shortest or (longest is not None and len(value) > longest):
        raise Problem(f"Length must be {shortest}-{longest or ''} characters", where)
    if "enum" in facts and value not in facts["enum"]:
        raise Problem(f"Must be one of {', '.join(facts['enum'])}", where)
    if "pattern" in facts and not re.search(facts["pattern"], value):
        raise Problem(f"Must match {facts['pattern']}", where)


def _number(facts: Json, value: float, where: str) -> None:
    least, most = facts.get("minimum"), facts.get("maximum")
    if (least is not None and value < least) or (most is not None and value > most):
        raise Problem(f"Must be {least}-{most}", where)
