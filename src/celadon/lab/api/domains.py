"""Domains and records over HTTP."""

from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.world import domains
from celadon.lab.world.objects import Domain, Record

DOMAIN, RECORD = "/domains/{domain:int}", "/records/{record:int}"


def domain_view(domain: Domain) -> Json:
    return shown(domain)


def record_view(record: Record) -> Json:
    return shown(record, "domain_id")


def list_domains(call: Call) -> list[Json]:
    return [domain_view(domain) for domain in call.state.all(Domain)]


def create(call: Call) -> Json:
    return domain_view(domains.create(call.account, call.body))


def view(call: Call) -> Json:
    return domain_view(call.find(Domain, "domain"))


def update(call: Call) -> Json:
    return domain_view(domains.update(call.account, call.id("domain"), call.body))


def delete(call: Call) -> Json:
    domains.delete(call.account, call.id("domain"))
    return {}


def list_records(call: Call) -> list[Json]:
    domain = call.find(Domain, "domain")
    return [record_view(record) for record in domains.records_of(call.state, domain.id)]


def create_record(call: Call) -> Json:
    return record_view(domains.create_record(call.account, call.id("domain"), call.body))


def view_record(call: Call) -> Json:
    return record_view(domains.record_of(call.state, call.id("domain"), call.id("record")))


def update_record(call: Call) -> Json:
    ids = call.id("domain"), call.id("record")
    return record_view(domains.update_record(call.account, *ids, call.body))


def delete_record(call: Call) -> Json:
    domains.delete_record(call.account, call.id("domain"), call.id("record"))
    return {}


ENDPOINTS = (
    Endpoint("GET", "/domains", "domains", list_domains, "list"),
    Endpoint("POST", "/domains", "domains", create),
    Endpoint("GET", DOMAIN, "domains", view),
    Endpoint("PUT", DOMAIN, "domains", update),
    Endpoint("DELETE", DOMAIN, "domains", delete),
    Endpoint("GET", f"{DOMAIN}/records", "domains", list_records, "list"),
    Endpoint("POST", f"{DOMAIN}/records", "domains", create_record),
    Endpoint("GET", f"{DOMAIN}{RECORD}", "domains", view_record),
    Endpoint("PUT", f"{DOMAIN}{RECORD}", "domains", update_record),
    Endpoint("DELETE", f"{DOMAIN}{RECORD}", "domains", delete_record),
)
