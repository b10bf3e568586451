"""DNS zones and their records. The lab keeps them; no name server answers."""

import ipaddress
import re
from typing import Literal

from celadon.lab.world.account import Account, State, entity
from celadon.lab.world.objects import Domain, Json, Record
from celadon.lab.world.problems import NotFound, Problem
from celadon.lab.world.tags import clean_tags

SECONDS = (0, 30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200)
DOMAIN_FIELDS = (
    "type",
    "soa_email",
    "status",
    "description",
    "group",
    "master_ips",
    "axfr_ips",
)
TIMES = ("ttl_sec", "retry_sec", "refresh_sec", "expire_sec")
RECORD_FIELDS = ("name", "target", "priority", "weight", "port", "service", "protocol", "ttl_sec", "tag")
RECORD_TYPES = ("A", "AAAA", "NS", "MX", "CNAME", "TXT", "SRV", "PTR", "CAA")


def create(account: Account, body: Json) -> Domain:
    if any(each.domain == body["domain"] for each in account.all(Domain)):
        raise Problem("Domain already exists", "domain")
    now = account.stamp()
    domain = Domain(id=account.new_id(), domain=body["domain"], type=body["type"], created=now, updated=now)
    domain = _changed(account, domain, body)
    account.note("dns_zone_create", about(domain))
    return domain


def update(account: Account, domain_id: int, body: Json) -> Domain:
    domain = _changed(account, account.find(Domain, domain_id), {**body, "updated": account.stamp()})
    account.note("dns_zone_update", about(domain))
    return domain


def delete(account: Account, domain_id: int) -> None:
    domain = account.find(Domain, domain_id)
    for record in records_of(account.state, domain_id):
        account.drop(record)
    account.drop(domain)
    account.note("dns_zone_delete", about(domain))


def create_record(account: Account, domain_id: int, body: Json) -> Record:
    domain = account.find(Domain, domain_id)
    now = account.stamp()
    record = Record(id=account.new_id(), domain_id=domain_id, type=body["type"], created=now, updated=now)
    record = _changed_record(account, domain, record, body)
    account.note("dns_record_create", about(domain), secondary=_about_record(record))
    return record


def update_record(account: Account, domain_id: int, record_id: int, body: Json) -> Record:
    domain = account.find(Domain, domain_id)
    record = account.amend(record_of(account.state, domain_id, record_id), {"updated": account.stamp()})
    record = _changed_record(account, domain, record, body)
    account.note("dns_record_update", about(domain), secondary=_about_record(record))
    return record


def delete_record(account: Account, domain_id: int, record_id: int) -> None:
    domain = account.find(Domain, domain_id)
    record = record_of(account.state, domain_id, record_id)
    account.drop(record)
    account.note("dns_record_delete", about(domain), secondary=_about_record(record))


def record_of(state: State, domain_id: int, record_id: int) -> Record:
    state.find(Domain, domain_id)
    record = state.find(Record, record_id)
    if record.domain_id != domain_id:
        raise NotFound
    return record


def records_of(state: State, domain_id: int) -> list[Record]:
    return [record for record in state.all(Record) if record.domain_id == domain_id]


def about(domain: Domain) -> Json:
    return entity("domain", domain.id, domain.domain, f"/v4/domains/{domain.id}")


def _about_record(record: Record) -> Json:
    url = f"/v4/domains/{record.domain_id}/records/{record.id}"
    return entity("domain_record", record.id, record.name, url)


def _changed(account: Account, domain: Domain, body: Json) -> Domain:
    changes = {name: body[name] for name in (*DOMAIN_FIELDS, "updated") if body.get(name) is not None}
    changes |= {name: rounded(body[name]) for name in TIMES if body.get(name) is not None}
    if body.get("tags") is not None:
        changes["tags"] = clean_tags(body["tags"])
    if body.get("domain") not in (None, domain.domain):
        if any(each.domain == body["domain"] for each in account.all(Domain)):
            raise Problem("Domain already exists", "domain")
        changes["domain"] = body["domain"]
    changed = account.amend(domain, changes)
    if changed.type == "master" and not changed.soa_email:
        raise Problem("soa_email required when type=master", "soa_email")
    if changed.type == "slave" and not changed.master_ips:
        raise Problem("master_ips required when type=slave", "master_ips")
    return changed


def _changed_record(account: Account, domain: Domain, record: Record, body: Json) -> Record:
    changes = {name: body[name] for name in RECORD_FIELDS if body.get(name) is not None}
    if "ttl_sec" in changes:
        changes["ttl_sec"] = rounded(changes["ttl_sec"])
    changed = account.amend(record, changes)
    if changed.type not in RECORD_TYPES:
        raise Problem(f"Must be one of {', '.join(RECORD_TYPES)}", "type")
    if changed.type == "SRV":
        changed = account.amend(changed, {"name": _service_name(changed)})
    _refuse_wrong(changed)
    if changed.name.endswith(f".{domain.domain}"):
        # The API takes the zone's own name off a record that names it in full.
        changed = account.amend(changed, {"name": changed.name.removesuffix(f".{domain.domain}")})
    return changed


def _service_name(record: Record) -> str:
    if not (record.service and record.protocol):
        raise Problem("service and protocol are required for SRV records", "service")
    return f"_{record.service.strip('_')}._{record.protocol.strip('_')}"


def _refuse_wrong(changed: Record) -> None:
    if not changed.target and changed.type not in ("MX", "NS"):
        raise Problem("target is required", "target")
    if changed.type == "A":
        _address(changed.target, 4)
    if changed.type == "AAAA":
        _address(changed.target, 6)
    if changed.type == "CNAME" and not changed.name:
        raise Problem("CNAME records need a name", "name")
    if not re.fullmatch(r"(\*|[\w*-]+)?(\.[\w-]+)*", changed.name):
        raise Problem("Invalid hostname", "name")


def _address(text: str, version: Literal[4, 6]) -> None:
    try:
        valid = ipaddress.ip_address(text).version == version
    except ValueError:
        valid = False
    if not valid:
        raise Problem(f"Must be a valid IPv{version} address", "target")


def rounded(seconds: int) -> int:
    """The next of the times that a zone may have; the longest for anything longer (documented)."""
    return next((each for each in SECONDS if each >= seconds), SECONDS[-1])
