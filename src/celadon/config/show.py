"""`celadon config show|schema|example`: the resolved values with their origins, the JSON Schema, the reference."""

from datetime import timedelta
from importlib import resources
from typing import Any

import msgspec

from celadon.config.load import Parsed
from celadon.config.model import CONFIG
from celadon.config.values import Host, ImageRef, say_duration

DERIVED = {  # defaults that follow from another key
    "health.host_header": "url",
    "warm_up.paths": "health.path",
    "verify.path": "health.path",
    "hosts.home": "hosts.blue",
    "hosts.blue": "hosts.terraform",
    "hosts.green": "hosts.terraform",
    "balancer.nodebalancer": "hosts.terraform",
    "balancer.add_nodes": "hosts.terraform",
    "balancer.test_port": "hosts.terraform",
}


class Resolved(msgspec.Struct, frozen=True):
    """A config as plain values, in the file's own spelling, and where each of them comes from."""

    config: dict[str, Any]
    origins: dict[str, str]  # dotted key -> the file's name, `default`, or `from KEY`


def resolved(parsed: Parsed, *, file: str) -> Resolved:
    tree: dict[str, Any] = plain(parsed.config)
    origins = {}
    for key, value in _leaves(tree, ""):
        source = DERIVED.get(key)
        if key in parsed.written:
            origins[key] = file
        elif source in parsed.written and value is not None:
            origins[key] = f"from {source}"
        else:
            origins[key] = "default"
    return Resolved(tree, origins)


def plain(value: object) -> Any:
    """The value as TOML or JSON would write it: durations with units, an image by its name."""
    match value:
        case timedelta():
            return say_duration(value)
        case ImageRef():
            return str(value)
        case Host(label=str() as label):
            return label
        case Host():
            return {"ssh": str(value.ssh), "private": value.private}
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case tuple() | list():
            return [plain(item) for item in value]
        case dict():
            return {str(name): plain(item) for name, item in value.items()}
        case _:
            return value


def json_schema() -> dict[str, Any]:
    """What an editor can check while one types. The rules that join keys need `celadon check --offline`."""
    schema = CONFIG.schema()
    schema["oneOf"] = [{"required": ["image"]}, {"required": ["source", "command"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "celadon.toml", **schema}


def example() -> str:
    """The reference: every key, with its reason."""
    return resources.files("celadon.config").joinpath("example.toml").read_text("utf-8")


def _leaves(tree: dict[str, Any], prefix: str) -> list[tuple[str, object]]:
    leaves: list[tuple[str, object]] = []
    for name, value in tree.items():
        key = f"{prefix}{name}"
        leaves += _leaves(value, f"{key}.") if isinstance(value, dict) and value else [(key, value)]
    return leaves
