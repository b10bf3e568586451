"""Account, events, profile, SSH keys, tokens, tags and locks over HTTP."""

from celadon.lab.api.balancers import balancer_view
from celadon.lab.api.domains import domain_view
from celadon.lab.api.endpoint import Call, Endpoint, Json, shown
from celadon.lab.api.instances import instance_view
from celadon.lab.world import firewalls, locks, profile, tags
from celadon.lab.world.account import State
from celadon.lab.world.objects import Balancer, Domain, Event, Instance, Lock, SshKey, Token

KEY, TOKEN = "/profile/sshkeys/{key:int}", "/profile/tokens/{token:int}"
LOCK, TAG = "/locks/{lock:int}", "/tags/{label:path}"
COMPANY: Json = {
    "first_name": "",
    "last_name": "",
    "company": "",
    "email": "lab@example.com",
    "address_1": "",
    "address_2": "",
    "city": "",
    "state": "",
    "zip": "",
    "country": "US",
    "phone": "",
    "tax_id": "",
}
CAPABILITIES = ["Linodes", "NodeBalancers", "Cloud Firewall", "VPCs", "Metadata", "Linode Interfaces"]


def event_view(call: Call, event: Event) -> Json:
    return {**shown(event), "username": call.state.username, "rate": None, "time_remaining": None}


def account_view(state: State) -> Json:
    return {
        **COMPANY,
        **state.company,
        "euuid": "C0FFEE00-0000-4000-8000-00000CE1AD00",
        "active_since": "2018-01-01T00:01:01",
        "active_promotions": [],
        "balance": 0,
        "balance_uninvoiced": 0,
        "billing_source": "linode",
        "capabilities": CAPABILITIES,
        "credit_card": {"last_four": None, "expiry": None},
    }


def view_account(call: Call) -> Json:
    return account_view(call.state)


def update_account(call: Call) -> Json:
    changes = {name: value for name, value in call.body.items() if name in COMPANY}
    call.account.describe({**call.account.state.company, **changes})
    return account_view(call.account.state)


def view_settings(_: Call) -> Json:
    return {
        "managed": False,
        "longview_subscription": None,
        "network_helper": True,
        "backups_enabled": False,
        "object_storage": None,
        "interfaces_for_new_linodes": "legacy_config_default_but_linode_allowed",
        "maintenance_policy": "linode/migrate",
    }


def list_events(call: Call) -> list[Json]:
    """Newest first, as the real list comes."""
    return [event_view(call, event) for event in reversed(call.state.all(Event))]


def view_event(call: Call) -> Json:
    return event_view(call, call.find(Event, "event"))


def see_event(call: Call) -> Json:
    """Marks it and every older one as seen."""
    limit = call.account.find(Event, call.id("event")).id
    for event in call.account.all(Event):
        if event.id <= limit and not event.seen:
            call.account.amend(event, {"seen": True})
    return {}


def view_profile(call: Call) -> Json:
    return {
        "uid": 1,
        "username": call.state.username,
        "email": account_view(call.state)["email"],
        "timezone": "GMT",
        "email_notifications": False,
        "ip_whitelist_enabled": False,
        "two_factor_auth": False,
        "restricted": False,
        "lish_auth_method": "keys_only",
        "authorized_keys": [],
        "authentication_type": "password",
        "referrals": {"code": "", "url": "", "total": 0, "completed": 0, "pending": 0, "credit": 0},
        "verified_phone_number": None,
    }


def list_keys(call: Call) -> list[Json]:
    return [shown(key) for key in call.state.all(SshKey)]


def create_key(call: Call) -> Json:
    return shown(profile.add_key(call.account, call.body))


def view_key(call: Call) -> Json:
    return shown(call.find(SshKey, "key"))


def update_key(call: Call) -> Json:
    return shown(profile.update_key(call.account, call.id("key"), call.body))


def delete_key(call: Call) -> Json:
    call.account.drop(call.account.find(SshKey, call.id("key")))
    return {}


def token_view(token: Token, secret: str | None = None) -> Json:
    """The secret in full only in the answer that made it."""
    return {**shown(token, "digest", "shown"), "token": secret or token.shown}


def list_tokens(call: Call) -> list[Json]:
    return [token_view(token) for token in call.state.all(Token)]


def create_token(call: Call) -> Json:
    return token_view(*profile.create_token(call.account, call.body))


def view_token(call: Call) -> Json:
    return token_view(call.find(Token, "token"))


def delete_token(call: Call) -> Json:
    call.account.drop(call.account.find(Token, call.id("token")))
    return {}


def list_tags(call: Call) -> list[Json]:
    return [{"label": label} for label in tags.labels(call.state)]


def create_tag(call: Call) -> Json:
    return {"label": tags.create(call.account, call.body).label}


def tagged(call: Call) -> list[Json]:
    label = call.path["label"].lower()

    def carries(item: Instance | Balancer | Domain) -> bool:
        return label in (tag.lower() for tag in item.tags)

    state = call.state
    return [
        *({"type": "linode", "data": instance_view(state, item)} for item in filter(carries, state.all(Instance))),
        *({"type": "nodebalancer", "data": balancer_view(call, item)} for item in filter(carries, state.all(Balancer))),
        *({"type": "domain", "data": domain_view(item)} for item in filter(carries, state.all(Domain))),
    ]


def delete_tag(call: Call) -> Json:
    tags.delete(call.account, call.path["label"])
    return {}


def lock_view(state: State, lock: Lock) -> Json:
    held = state.find(firewalls.KINDS[lock.entity_type], lock.entity_id)
    path = "linode/instances" if lock.entity_type == "linode" else "nodebalancers"
    about = {"id": held.id, "type": lock.entity_type, "label": held.label, "url": f"/v4/{path}/{held.id}"}
    return {"id": lock.id, "lock_type": lock.lock_type, "entity": about}


def list_locks(call: Call) -> list[Json]:
    return [lock_view(call.state, lock) for lock in call.state.all(Lock)]


def create_lock(call: Call) -> Json:
    lock = locks.create(call.account, call.body)
    return lock_view(call.account.state, lock)


def view_lock(call: Call) -> Json:
    return lock_view(call.state, call.find(Lock, "lock"))


def delete_lock(call: Call) -> Json:
    call.account.drop(call.account.find(Lock, call.id("lock")))
    return {}


ENDPOINTS = (
    Endpoint("GET", "/account", "account", view_account),
    Endpoint("PUT", "/account", "account", update_account),
    Endpoint("GET", "/account/settings", "account", view_settings),
    Endpoint("GET", "/account/events", "events", list_events, "list"),
    Endpoint("GET", "/account/events/{event:int}", "events", view_event),
    Endpoint("POST", "/account/events/{event:int}/seen", "events", see_event),
    Endpoint("GET", "/profile", "account", view_profile),
    Endpoint("GET", "/profile/sshkeys", "account", list_keys, "list"),
    Endpoint("POST", "/profile/sshkeys", "account", create_key),
    Endpoint("GET", KEY, "account", view_key),
    Endpoint("PUT", KEY, "account", update_key),
    Endpoint("DELETE", KEY, "account", delete_key),
    Endpoint("GET", "/profile/tokens", "account", list_tokens, "list"),
    Endpoint("POST", "/profile/tokens", "account", create_token),
    Endpoint("GET", TOKEN, "account", view_token),
    Endpoint("DELETE", TOKEN, "account", delete_token),
    Endpoint("GET", "/tags", "account", list_tags, "list"),
    Endpoint("POST", "/tags", "account", create_tag),
    Endpoint("GET", TAG, "account", tagged, "list"),
    Endpoint("DELETE", TAG, "account", delete_tag),
    Endpoint("GET", "/locks", "account", list_locks, "list"),
    Endpoint("POST", "/locks", "account", create_lock),
    Endpoint("GET", LOCK, "account", view_lock),
    Endpoint("DELETE", LOCK, "account", delete_lock),
)
