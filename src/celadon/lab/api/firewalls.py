"""Firewalls, their rules and devices over HTTP."""

from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.world import firewalls
from celadon.lab.world.account import State
from celadon.lab.world.objects import Firewall, FirewallDevice

FIREWALL = "/networking/firewalls/{firewall:int}"


def rules_view(firewall: Firewall) -> Json:
    return {
        "inbound": list(firewall.inbound),
        "inbound_policy": firewall.inbound_policy,
        "outbound": list(firewall.outbound),
        "outbound_policy": firewall.outbound_policy,
        "version": firewall.version,
        "fingerprint": firewalls.fingerprint(firewall),
    }


def firewall_view(firewall: Firewall) -> Json:
    names = ("id", "label", "created", "updated", "status", "tags")
    view = {name: value for name, value in shown(firewall).items() if name in names}
    return {**view, "rules": rules_view(firewall)}


def with_entities(state: State, firewall: Firewall) -> Json:
    devices = firewalls.devices_of(state, firewall.id)
    entities = [firewalls.about_entity(state, device) for device in devices]
    return {**firewall_view(firewall), "entities": entities}


def device_view(state: State, device: FirewallDevice) -> Json:
    return {
        "id": device.id,
        "created": device.created,
        "updated": device.updated,
        "entity": firewalls.about_entity(state, device),
    }


def list_firewalls(call: Call) -> list[Json]:
    return [with_entities(call.state, firewall) for firewall in call.state.all(Firewall)]


def create(call: Call) -> Json:
    firewall = firewalls.create(call.account, call.body)
    return with_entities(call.account.state, firewall)


def view(call: Call) -> Json:
    return with_entities(call.state, call.find(Firewall, "firewall"))


def update(call: Call) -> Json:
    firewall = firewalls.update(call.account, call.id("firewall"), call.body)
    return with_entities(call.account.state, firewall)


def delete(call: Call) -> Json:
    firewalls.delete(call.account, call.id("firewall"))
    return {}


def view_rules(call: Call) -> Json:
    return rules_view(call.find(Firewall, "firewall"))


def set_rules(call: Call) -> Json:
    return rules_view(firewalls.set_rules(call.account, call.id("firewall"), call.body))


def list_devices(call: Call) -> list[Json]:
    firewall = call.find(Firewall, "firewall")
    return [device_view(call.state, device) for device in firewalls.devices_of(call.state, firewall.id)]


def create_device(call: Call) -> Json:
    device = firewalls.attach(call.account, call.id("firewall"), call.body["id"], call.body["type"])
    return device_view(call.account.state, device)


def view_device(call: Call) -> Json:
    device = firewalls.device_of(call.state, call.id("firewall"), call.id("device"))
    return device_view(call.state, device)


def delete_device(call: Call) -> Json:
    firewalls.detach(call.account, call.id("firewall"), call.id("device"))
    return {}


ENDPOINTS = (
    Endpoint("GET", "/networking/firewalls", "firewall", list_firewalls, "list"),
    Endpoint("POST", "/networking/firewalls", "firewall", create),
    Endpoint("GET", FIREWALL, "firewall", view),
    Endpoint("PUT", FIREWALL, "firewall", update),
    Endpoint("DELETE", FIREWALL, "firewall", delete),
    Endpoint("GET", f"{FIREWALL}/rules", "firewall", view_rules),
    Endpoint("PUT", f"{FIREWALL}/rules", "firewall", set_rules),
    Endpoint("GET", f"{FIREWALL}/devices", "firewall", list_devices, "list"),
    Endpoint("POST", f"{FIREWALL}/devices", "firewall", create_device),
    Endpoint("GET", f"{FIREWALL}/devices/{{device:int}}", "firewall", view_device),
    Endpoint("DELETE", f"{FIREWALL}/devices/{{device:int}}", "firewall", delete_device),
)
