"""Write the lab's data files from the research material: `python scripts/lab_facts.py RECORDED.json OPENAPI.yaml`.

Writes `src/celadon/lab/facts/{catalogue,requests}.json` (shipped) and `tests/lab/api/responses.json` (what an answer
must contain; only tests read it). Run it again when the material changes; never edit its output.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
Json = dict[str, Any]

LIMITS = ("minimum", "maximum", "minLength", "maxLength", "pattern", "enum")
OVERLAY_TYPES = {"string", "integer", "number", "boolean"}
TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
THROTTLE = {"type": "integer", "minimum": 0, "maximum": 20}
VPC_OF_BALANCER = {"subnet_id": WHOLE, "ipv4_range": TEXT, "ipv4_range_auto_assign": TRUTH, "ipv6_range": TEXT}
TEXTS = {"type": "array", "items": TEXT}
# What a rule may say is checked where rules are kept; here only that it is one.
RULE = {
    **dict.fromkeys(("action", "protocol", "ports", "label", "description"), TEXT),
    "addresses": {"type": "object", "fields": {"ipv4": TEXTS, "ipv6": TEXTS}},
}
RULES = {"type": "array", "items": {"type": "object", "fields": RULE}}
RULE_LISTS: Json = {"inbound": RULES, "inbound_policy": TEXT, "outbound": RULES, "outbound_policy": TEXT}
# Version 4.229.1 as read from its per-tag copies and from recordings (keys `corrections_4_229_1` of the material).
NEWER: Json = {
    "POST /nodebalancers": {
        "client_udp_sess_throttle": THROTTLE,
        "type": {"type": "string", "enum": ["common", "premium", "premium_40gb"]},
        "vpcs": {"type": "array", "items": {"type": "object", "fields": VPC_OF_BALANCER}},
    },
    "PUT /nodebalancers/{}": {"client_udp_sess_throttle": THROTTLE},
    "POST /nodebalancers/{}/configs/{}/nodes": {"subnet_id": WHOLE},
    "PUT /nodebalancers/{}/firewalls": {"firewall_ids": {"type": "array", "items": WHOLE}},
    "POST /networking/firewalls": {"rules": {"type": "object", "fields": RULE_LISTS}},
    "PUT /networking/firewalls/{}/rules": RULE_LISTS,
    "POST /profile/tokens": {"label": TEXT, "scopes": TEXT, "expiry": {**TEXT, "nullable": True}},
    "POST /networking/firewalls/{}/devices": {
        "id": WHOLE,
        "type": {"type": "string", "enum": ["linode", "nodebalancer"]},
    },
}
UDP_CHECK_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
PROSE = {"^a-z, A-Z, 0-9, /, _, -$": "^[a-zA-Z0-9/_-]*$"}  # a sentence where a pattern should be
DEMANDED = {"post-tag": ["label"]}  # in the text of the specification, not in its schema
ANCHOR_FREE = re.compile(r"^[^^]")


def operation_key(method: str, path: str) -> str:
    """`PUT /nodebalancers/{}/configs/{}`: names of parameters differ between sources."""
    return f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"


def fields(source: Json) -> Json:
    made: Json = {}
    for name, field in source.items():
        if not isinstance(field, dict) or field.get("readOnly"):
            continue
        made[name] = one_field(name, field)
    return made


def one_field(name: str, field: Json) -> Json:
    made: Json = {}
    if "type" in field:
        made["type"] = field["type"]
    for limit in LIMITS:
        if limit in field:
            made[limit] = field[limit]
    if "pattern" in made and ANCHOR_FREE.match(made["pattern"]):
        made["pattern"] = f"^{made['pattern']}$"  # the specification leaves them out where it means them
    if made.get("pattern") in PROSE:
        made["pattern"] = PROSE[made["pattern"]]
    if field.get("nullable"):
        made["nullable"] = True
    if field.get("properties"):
        made["type"] = "object"
        made["fields"] = fields(field["properties"])
    items = field.get("items")
    if isinstance(items, dict):
        made["items"] = {"type": "object", "fields": fields(items)}
    elif field.get("items_type"):
        made["items"] = {"type": field["items_type"]}
    correct(name, made)
    return made


def correct(name: str, made: Json) -> None:
    """What version 4.229.1 and recordings say otherwise."""
    if name == "check_interval":
        made |= {"minimum": 2, "maximum": 3600}
    if name == "devices" and "fields" in made and "sda" in made["fields"]:
        made.pop("fields")  # disks and volumes by device name: passed through


def newer_fields(known: Json, operation: Json, key: str) -> list[str]:
    """Add what came after version 4.189.0 to the known fields; the names of those that are demanded."""
    demanded = ["firewall_ids"] if key == "PUT /nodebalancers/{}/firewalls" else []
    for name, field in (operation.get("added_by_4_229_1") or {}).items():
        if "." in name or field.get("type") not in OVERLAY_TYPES:
            continue
        known.setdefault(name, {"type": field["type"]})
        if field.get("required"):
            demanded.append(name)
    known |= NEWER.get(key, {})
    if key.startswith(("POST /nodebalancers/{}/configs", "PUT /nodebalancers/{}/configs")) and "port" in known:
        known["udp_check_port"] = UDP_CHECK_PORT
    if "/records" in key and "name" in known:
        del known["name"]["minLength"]  # a record of the zone itself has no name
    return demanded


def request(operation: Json, key: str) -> Json:
    made: Json = {"fields": fields(operation.get("request") or {})}
    required = list(operation.get("required") or DEMANDED.get(operation.get("operationId", ""), []))
    required += newer_fields(made["fields"], operation, key)
    if required == ["rdns"]:
        required, made["fields"]["rdns"] = [], {**TEXT, "nullable": True}  # null: back to the default name
    if "root_pass" in required:
        required.remove("root_pass")  # mandatory no more in 2026: keys will do (recorded)
    if required:
        made["required"] = sorted(set(required))
    if operation.get("filterable_4_229_1"):
        made["filterable"] = operation["filterable_4_229_1"]
    return {name: value for name, value in made.items() if value}


def response(operation: Json) -> Json:
    if "response_paginated_of" in operation:
        rows = operation["response_paginated_of"]
        return {"rows": {name: pick(field) for name, field in rows.items()}}
    return {"fields": operation.get("response_fields") or []}


def pick(field: Json) -> Json:
    return {name: field[name] for name in ("type", "enum", "nullable") if name in field}


def main(recorded: Path, openapi: Path) -> None:
    catalogue = json.loads(recorded.read_text())
    tables = ("regions", "types", "images", "nodebalancer_types")
    requests: Json = {}
    responses: Json = {}
    for path, methods in yaml.safe_load(openapi.read_text())["paths"].items():
        for method, operation in methods.items():
            key = operation_key(method, path)
            if needed := request(operation, key):
                requests[key] = needed
            responses[key] = response(operation)
    requests |= {key: {"fields": known} for key, known in NEWER.items() if key not in requests}
    write(ROOT / "src/celadon/lab/facts/catalogue.json", {name: catalogue[name] for name in tables})
    write(ROOT / "src/celadon/lab/facts/requests.json", requests)
    write(ROOT / "tests/lab/api/responses.json", responses)


def write(file: Path, content: Json) -> None:
    """One line an entry: small, and a change can be read in a diff."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f"{json.dumps(key)}:[\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}")
    file.write_text("{\n " + ",\n ".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
