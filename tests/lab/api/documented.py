"""Checks answers of the lab against the facts of the OpenAPI specification: one mechanism for every test."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from celadon.lab.api.app import ENDPOINTS

Json = dict[str, Any]

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
# Recorded answers differ from the specification here; the recordings win (research, sections 1.3 and 2.4).
NULLABLE = {
    "vpc_nat_1_1",
    "gateway",
    "entity",
    "secondary_entity",
    "duration",
    "rate",
    "time_remaining",
    "service",
    "protocol",
    "tag",
}
MISSPELT = {"site-type"}  # the specification's own; answers say site_type
STATUS_BY_CASE = {"unknown"}
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
DATES = ("created", "updated", "expiry", "eol", "active_since")


@cache
def answers() -> dict[str, Json]:
    found: dict[str, Json] = json.loads(Path(__file__).with_name("responses.json").read_text())
    return found


@cache
def routes() -> list[tuple[str, re.Pattern[str], str]]:
    """Method, pattern of the path, name of the operation in the facts."""
    made: list[tuple[str, re.Pattern[str], str]] = []
    for endpoint in ENDPOINTS:
        pattern = re.sub(r"{\w+:path}", r".+", endpoint.path)
        pattern = re.sub(r"{\w+:int}", r"\\d+", pattern)
        pattern = re.sub(r"{\w+}", r"[^/]+", pattern)
        made.append((endpoint.method, re.compile(pattern), endpoint.operation))
    return made


def operation(method: str, path: str) -> str | None:
    plain = re.sub(r"^/v4(beta)?", "", path.partition("?")[0])
    return next((name for verb, pattern, name in routes() if verb == method and pattern.fullmatch(plain)), None)


def check(method: str, path: str, body: Any) -> str | None:
    """Assert that a 200's body is what is documented. Returns the operation when the facts know it."""
    name = operation(method, path)
    facts = answers().get(name or "")
    _check_dates(body)
    if facts is None:
        return None
    if "rows" in facts and "data" in body:
        assert set(body) == {"data", "page", "pages", "results"}, name
        for row in body["data"]:
            _check_row(f"{name}", facts["rows"], row)
    missing = set(facts.get("fields", ())) - set(body) - MISSPELT
    assert not missing, f"{name}: {sorted(missing)} missing"
    return name


def _check_row(name: str, fields: Json, row: Json) -> None:
    for field, facts in fields.items():
        if field in MISSPELT:
            continue
        assert field in row, f"{name}: {field} missing"
        value = row[field]
        if value is None:
            assert facts.get("nullable") or field in NULLABLE, f"{name}: {field}"
            continue
        if "type" in facts:
            assert isinstance(value, KINDS[facts["type"]]), f"{name}: {field} is {value!r}"
        if "enum" in facts and str(value).lower() not in STATUS_BY_CASE:
            assert value in facts["enum"], f"{name}: {field} is {value!r}"


def _check_dates(value: Any) -> None:
    """Every date, however deep: linodego rejects anything else."""
    if isinstance(value, list):
        for each in value:
            _check_dates(each)
    if isinstance(value, dict):
        for key, each in value.items():
            if key in DATES and isinstance(each, str):
                assert DATE.fullmatch(each), f"{key}: {each}"
            _check_dates(each)
