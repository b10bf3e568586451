"""Between Terraform's protocol and plain values: dynamic values, schemas, paths. All that is known of `tf` is here."""

import json
from collections.abc import Iterable
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.types import Unknown
from tf.utils import read_dynamic_value, to_dynamic_value

Json = dict[str, Any]
UNKNOWN: Any = Unknown
NESTING = {"single": pb.Schema.NestedBlock.SINGLE, "list": pb.Schema.NestedBlock.LIST, "set": pb.Schema.NestedBlock.SET}

read, write = read_dynamic_value, to_dynamic_value


def schema(entry: Json) -> Any:
    return pb.Schema(version=entry.get("version", 0), block=_block(entry["block"]))


def path(dotted: str) -> Any:
    """`metadata.user_data` is the first block's attribute: every block here is a list."""
    first, *rest = dotted.split(".")
    steps = [pb.AttributePath.Step(attribute_name=first)]
    for name in rest:
        steps += [pb.AttributePath.Step(element_key_int=0), pb.AttributePath.Step(attribute_name=name)]
    return pb.AttributePath(steps=steps)


def errors(messages: Iterable[str]) -> list[Any]:
    return [pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=message) for message in messages]


def _block(block: Json) -> Any:
    return pb.Schema.Block(
        attributes=[_attribute(name, each) for name, each in block.get("attributes", {}).items()],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=_block(each["block"]),
                nesting=NESTING[each["nesting_mode"]],
                min_items=each.get("min_items", 0),
                max_items=each.get("max_items", 0),
            )
            for name, each in block.get("block_types", {}).items()
        ],
    )


def _attribute(name: str, each: Json) -> Any:
    flags = {flag: each.get(flag, False) for flag in ("required", "optional", "computed", "sensitive")}
    if "nested_type" not in each:
        return pb.Schema.Attribute(name=name, type=json.dumps(each["type"]).encode(), **flags)
    inner = each["nested_type"]
    nested = pb.Schema.Object(
        nesting=pb.Schema.Object.LIST,
        attributes=[_attribute(key, value) for key, value in inner["attributes"].items()],
    )
    return pb.Schema.Attribute(name=name, nested_type=nested, **flags)
