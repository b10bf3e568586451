"""Regions, types, images and NodeBalancer prices as the real API answered them when recorded."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from celadon.lab.world.problems import Problem

Json = dict[str, Any]


def read(name: str) -> Json:
    """A file of this package."""
    decoded: Json = msgspec.json.decode(files("celadon.lab.facts").joinpath(name).read_bytes())
    return decoded


@cache
def table(name: str) -> dict[str, Json]:
    """`regions`, `types`, `images` or `nodebalancer_types`, by id."""
    rows: list[Json] = read("catalogue.json")[name]
    return {row["id"]: row for row in rows}


def region(region_id: str) -> Json:
    return _find("regions", region_id, "region")


def type(type_id: str) -> Json:  # noqa: A001 - the API's word; read as `catalogue.type`
    return _find("types", type_id, "type")


def image(image_id: str) -> Json:
    return _find("images", image_id, "image")


def _find(name: str, row_id: str, field: str) -> Json:
    """A row that a request names: 400 with the field, not 404."""
    try:
        return table(name)[row_id]
    except KeyError:
        raise Problem(f"{field} is not valid", field) from None
