"""`celadon config show|schema|example`: the resolved config with origins, the JSON Schema, the reference."""

import json
from typing import Any

from celadon.cli.call import Call
from celadon.cli.figures import table
from celadon.cli.output import Result
from celadon.config import show


async def run(call: Call) -> Result:
    match call.verb.name.split()[1]:
        case "schema":
            return _whole(call, json.dumps(show.json_schema(), indent=2) + "\n", {"schema": show.json_schema()})
        case "example":
            return _whole(call, show.example(), {"example": show.example()})
        case _:
            return _show(call)


def _whole(call: Call, text: str, keys: dict[str, Any]) -> Result:
    if not call.output.json:
        call.output.raw(text)
    return Result(keys=keys)


def _show(call: Call) -> Result:
    resolved = show.resolved(call.project.parsed, file=call.project.file.name)
    rows = [(key, json.dumps(_at(resolved.config, key), ensure_ascii=False), o) for key, o in resolved.origins.items()]
    call.output.data(table(("key", "value", "origin"), rows))
    return Result(keys={"config": resolved.config, "origins": resolved.origins})


def _at(tree: dict[str, Any], key: str) -> Any:
    value: Any = tree
    for name in key.split("."):
        value = value[name]
    return value
