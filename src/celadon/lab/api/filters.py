"""`X-Filter` and paging of collections. Pure."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from celadon.lab.world.problems import Problem

Json = dict[str, Any]
Rows = list[Json]

PAGE_SIZE, LEAST_PAGE_SIZE, MOST_PAGE_SIZE = 100, 25, 500
FIELD = "X-Filter"
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "+gt": lambda held, asked: held > asked,
    "+gte": lambda held, asked: held >= asked,
    "+lt": lambda held, asked: held < asked,
    "+lte": lambda held, asked: held <= asked,
    "+neq": lambda held, asked: not _equal(held, asked),
    "+contains": lambda held, asked: str(asked).lower() in str(held).lower(),
}


def select(rows: Rows, header: str | None, filterable: Collection[str]) -> Rows:
    """The rows that the filter lets through, in its order. Names an unknown key as the API does (recorded)."""
    if not header:
        return rows
    try:
        wanted = msgspec.json.decode(header)
    except msgspec.DecodeError:
        raise Problem("Invalid JSON", FIELD) from None
    if not isinstance(wanted, dict):
        raise Problem("Must be an object", FIELD)
    order_by, order = wanted.pop("+order_by", None), wanted.pop("+order", "asc")
    _refuse_unknown(wanted, filterable)
    kept = [row for row in rows if _matches(row, wanted)]
    if order not in ("asc", "desc"):
        raise Problem("+order must be asc or desc", FIELD)
    if order_by is not None:
        if order_by not in filterable:
            raise Problem(f"Cannot order by {order_by}", FIELD)
        kept.sort(key=lambda row: _sortable(at(row, order_by)), reverse=order == "desc")
    elif order == "desc":
        kept.reverse()
    return kept


def page(rows: Rows, query: Mapping[str, str]) -> Json:
    number, size = _integer(query, "page", 1), _integer(query, "page_size", PAGE_SIZE)
    if not LEAST_PAGE_SIZE <= size <= MOST_PAGE_SIZE:
        raise Problem(f"Must be {LEAST_PAGE_SIZE}-{MOST_PAGE_SIZE}", "page_size")
    pages = max(1, -(-len(rows) // size))
    if not 1 <= number <= pages:
        raise Problem("Not found", status=404)
    return {
        "data": rows[(number - 1) * size : number * size],
        "page": number,
        "pages": pages,
        "results": len(rows),
    }


def at(row: Any, path: str) -> Any:
    """The value at a dotted path; None where there is nothing."""
    for step in path.split("."):
        row = row.get(step) if isinstance(row, dict) else None
    return row


def _refuse_unknown(wanted: Json, filterable: Collection[str]) -> None:
    for key, value in wanted.items():
        if key in ("+and", "+or"):
            if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
                raise Problem(f"{key} must be a list of objects", FIELD)
            for each in value:
                _refuse_unknown(each, filterable)
        elif key not in filterable:
            raise Problem(f"Cannot filter on {key}", FIELD)
        elif isinstance(value, dict) and (unknown := value.keys() - COMPARE.keys()):
            raise Problem(f"Unknown operator {min(unknown)}", FIELD)


def _matches(row: Json, wanted: Json) -> bool:
    return all(_holds(row, key, value) for key, value in wanted.items())


def _holds(row: Json, key: str, value: Any) -> bool:
    if key == "+and":
        return all(_matches(row, each) for each in value)
    if key == "+or":
        return any(_matches(row, each) for each in value)
    held = at(row, key)
    if isinstance(value, dict):
        return all(_compare(operator, held, asked) for operator, asked in value.items())
    return _equal(held, value)


def _equal(held: Any, asked: Any) -> bool:
    """A list (tags, addresses) equals each of its members."""
    return asked in held if isinstance(held, list) else bool(held == asked)


def _compare(operator: str, held: Any, asked: Any) -> bool:
    if isinstance(held, list) and operator == "+contains":
        return any(COMPARE[operator](each, asked) for each in held)
    try:
        return COMPARE[operator](held, asked)
    except TypeError:
        return False  # a number against a text, or nothing there to compare


def _sortable(value: Any) -> tuple[bool, Any]:
    """Nothing first; numbers as numbers."""
    return (value is not None, value if isinstance(value, int | float) else str(value))


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise Problem("Must be of type Integer", name)
    return int(text)
