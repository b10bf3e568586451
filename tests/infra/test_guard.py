"""The guard against a corpus of plans: what hurts who serves is refused, what does not passes."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import builders
from tests.infra.plan_builder import (
    AT,
    BALANCER,
    BLUE1,
    BLUE2,
    GREEN1,
    GREEN2,
    KEY,
    NUMBERS,
    PORTS,
    PlanBuilder,
    balancer,
    cf,
    edge,
    firewall,
    instance,
    nb,
    nd,
    node,
    node_id,
    rule,
    vm,
)

from celadon.core.intent import Intent
from celadon.core.live import live
from celadon.core.observed import BalancerFacts, ConfigFacts, Mode, NodeFacts
from celadon.core.release import Colour, Slot
from celadon.infra.facts import Facts, Machine, busy_colours
from celadon.infra.guard import judge
from celadon.infra.plan import BadPlan, read_plan

Build = Callable[[PlanBuilder], object]
BLUE, GREEN = Colour.BLUE, Colour.GREEN
SLOTS = {
    colour: tuple(Slot(name, f"192.168.130.{n}", 5000) for name, n in NUMBERS.items() if name.startswith(colour.value))
    for colour in (BLUE, GREEN)
}


def facts(live_colour: Colour | None = BLUE, *, mode: Mode = Mode.ACCEPT, home: str = BLUE1, **more: Any) -> Facts:
    """Blue serves, green is idle, blue-1 is the home, unless told otherwise."""
    configs = tuple(
        ConfigFacts(port, config_id, "https" if port == 443 else "http", "http", 5.0, 3, False, "none",
            tuple(_node(name, port, mode if live_colour and name.startswith(live_colour.value) else Mode.REJECT)
                  for name in NUMBERS))
        for port, config_id in PORTS.items()
    )  # fmt: skip
    found = BalancerFacts(BALANCER, "shop-nb", "198.51.100.7", 0, configs)
    nodes = {c: [n for config in configs for n in config.nodes if n.label.startswith(c.value)] for c in (BLUE, GREEN)}
    busy = busy_colours(SLOTS, found, live=live(nodes, None, None), intent=None)
    machines = tuple(
        Machine(name, frozenset({f"192.168.130.{n}", f"203.0.113.{n}"}), (Colour(name.split("-")[0]),), n)
        for name, n in NUMBERS.items()
    )
    known: dict[str, Any] = {"app": "shop", "balancer": found, "machines": machines, "home": home, "busy": busy}
    return Facts(**(known | more))


def _node(name: str, port: int, mode: Mode) -> NodeFacts:
    return NodeFacts(port, PORTS[port], node_id(name, port), name, f"192.168.130.{NUMBERS[name]}:5000", mode, 100, True)


def green3() -> dict[str, Any]:
    return instance(GREEN2) | {"label": "green-3", "private_ip_address": None, "ip_address": None, "ipv4": None}


def less_open(what: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    return {"inbound": list(rules), "inbound_policy": what["inbound_policy"]}


DANGEROUS: dict[str, tuple[Build, str, str]] = {
    # name: (how, a word of the message, the attribute or code that is named)
    "image of a live machine": (lambda p: p.replace(vm(BLUE2), image="linode/debian13"), "image: linode/debian12", "image"),
    "keys of a live machine": (lambda p: p.replace(vm(BLUE2), authorized_keys=["ssh-ed25519 B"]), "authorized_keys", "authorized_keys"),
    "user data of a live machine": (lambda p: p.replace(vm(BLUE2), "metadata.0.user_data", metadata=[{"user_data": "x"}]), "metadata.user_data forces it", "metadata.user_data"),
    "firewall of a live machine": (lambda p: p.replace(vm(BLUE2), firewall_id=902), "firewall_id", "firewall_id"),
    "a live machine by two attributes": (lambda p: p.replace(vm(BLUE2), image="x", firewall_id=1), "force it", "firewall_id, image"),
    "type of a live machine": (lambda p: p.update(vm(BLUE2), type="g6-standard-1"), "g6-nanode-1 → g6-standard-1", "type"),
    "region of a live machine": (lambda p: p.update(vm(BLUE2), region="us-sea"), "migrated", "region"),
    "password of a live machine": (lambda p: p.update(vm(BLUE2), root_pass="hunter2 hunter2"), "powered off", "root_pass"),
    "VPC interface of a live machine": (lambda p: p.update(vm(BLUE2), interface=[{"purpose": "vpc"}]), "shut down and booted", "interface"),
    "a live machine is shut down": (lambda p: p.update(vm(BLUE2), booted=False), "shut down", "booted"),
    "a live machine is renamed": (lambda p: p.update(vm(BLUE2), label="blue-9"), "known by this name", "label"),
    "an attribute nobody knows": (lambda p: p.update(vm(BLUE2), quantum_mode=True), "is not known", "quantum_mode"),
    "an attribute known after apply": (lambda p: p.update(vm(BLUE2), "type"), "type", "type"),
    "a live machine is tainted": (lambda p: p.replace(vm(BLUE2), reason="replace_because_tainted"), "tainted", "serves"),
    "a live machine by request": (lambda p: p.replace(vm(BLUE2), reason="replace_by_request"), "-replace", "serves"),
    "a live machine is destroyed": (lambda p: p.delete(vm(BLUE2)), "would be destroyed", "serves"),
    "the live colour is made smaller": (lambda p: p.delete(vm(BLUE2), "delete_because_each_key").delete(nd(BLUE2)).delete(nd(BLUE2, 443)), "for_each", "serves"),
    "the home": (lambda p: p.replace(vm(BLUE1), image="x"), BLUE1, "image"),
    "both colours": (lambda p: [p.replace(vm(name), image="x") for name in NUMBERS], "blue-2", "image"),
    "a disk of a live machine": (lambda p: p.there.update({"linode_instance_disk.d": ("linode_instance_disk", {"id": "1", "linode_id": 12, "size": 1})}) or p.update("linode_instance_disk.d", size=2), "shut down for it", "serves"),
    "an address at once": (lambda p: p.create("linode_instance_ip.i", "linode_instance_ip", {"linode_id": 12, "apply_immediately": True}), "reboot", "apply_immediately"),
    "NodeBalancer in another region": (lambda p: p.replace(nb(), region="us-sea"), "where users knock", "region"),
    "NodeBalancer with another firewall": (lambda p: p.replace(nb(), firewall_id=1), "firewall_id", "firewall_id"),
    "NodeBalancer destroyed": (lambda p: p.delete(nb()), "would be destroyed", "nodebalancer"),
    "port moved": (lambda p: p.update(cf(80), port=8080), "port: 80 → 8080", "port"),
    "protocol changed": (lambda p: p.update(cf(80), protocol="tcp"), "http → tcp", "protocol"),
    "config of another NodeBalancer": (lambda p: p.replace(cf(80), nodebalancer_id=8), "would be replaced", "nodebalancer_id"),
    "config destroyed": (lambda p: p.delete(cf(443)), "port 443 serves users", "config"),
    "certificate without intent": (lambda p: p.update(cf(443), ssl_cert="OTHER", ssl_key="OTHER"), "another certificate", "ssl_cert, ssl_key"),
    "certificate known after apply": (lambda p: p.update(cf(443), "ssl_cert"), "another certificate", "ssl_cert"),
    "no health check": (lambda p: p.update(cf(80), check="none"), "UP", "check"),
    "passive check": (lambda p: p.update(cf(80), check_passive=True), "first 5xx", "check_passive"),
    "sticky": (lambda p: p.update(cf(80), stickiness="table"), "old colour", "stickiness"),
    "node of the live colour recreated": (lambda p: p.replace(nd(BLUE2), "config_id", config_id=1), "it is accept on port 80", "config_id"),
    "node of the live colour destroyed": (lambda p: p.delete(nd(BLUE2, 443)), "it is accept on port 443", "node"),
    "node of the live colour moved": (lambda p: p.update(nd(BLUE2), address="192.168.130.99:5000"), "address", "address"),
    "mode of a live node": (lambda p: p.update(nd(BLUE2), mode="reject"), "a deploy that moves users", "mode"),
    "mode of an idle node": (lambda p: p.update(nd(GREEN1), mode="accept"), "reject → accept", "mode"),
    "weight of a live node": (lambda p: p.update(nd(BLUE2), weight=1), "weight", "weight"),
    "a new node that accepts": (lambda p: p.create(f"{AT}.x", "linode_nodebalancer_node", node(GREEN1, 80) | {"mode": "accept"}), "before a deploy has tested it", "mode"),
    "a new node of the default mode": (lambda p: p.create(f"{AT}.x", "linode_nodebalancer_node", node(GREEN1, 80) | {"mode": None}), "not said", "mode"),
    "an idle node replaced by one that accepts": (lambda p: p.replace(nd(GREEN1), "subnet_id", subnet_id=3, mode="accept"), "mode accept", "mode"),
    "the app's door shut": (lambda p: p.update(f"{AT}.linode_firewall.app", **less_open(firewall(), rule("ssh", "22", "0.0.0.0/0"))), "port 5000", "inbound"),
    "the app's door moved": (lambda p: p.update(f"{AT}.linode_firewall.app", **less_open(firewall(), rule("app", "8000-9000", "192.168.255.0/24"))), "port 5000", "inbound"),
    "the users' door shut": (lambda p: p.update(f"{AT}.linode_firewall.edge", **less_open(edge(), rule("web", "80", "0.0.0.0/0"))), "port 443", "inbound"),
    "a firewall put before live machines": (lambda p: p.create("linode_firewall.n", "linode_firewall", firewall() | {"inbound": []}), "port 5000", "inbound"),
    "destroy all": (lambda p: p.destroy_all(), "would be destroyed", "nodebalancer"),
    "another workspace": (lambda p: p.there.update({nb(): ("linode_nodebalancer", balancer() | {"id": "8"})}), "another NodeBalancer", "another_state"),
    "stale: a node is gone": (lambda p: p.there.update({f"{AT}.old": ("linode_nodebalancer_node", node(BLUE1, 80) | {"id": "1"})}), "is gone", "stale"),
    "stale: a machine was made anew": (lambda p: p.there.update({vm(GREEN1): ("linode_instance", instance(GREEN1) | {"id": "5"})}), "another Linode now", "stale"),
}  # fmt: skip

HARMLESS: dict[str, Build] = {
    "nothing": lambda p: None,
    "image of the idle colour": lambda p: p.replace(vm(GREEN1), image="linode/debian13").replace(vm(GREEN2), image="x"),
    "the idle colour anew": lambda p: p.delete(vm(GREEN1)).delete(nd(GREEN1)).delete(nd(GREEN1, 443)),
    "user data of the idle colour": lambda p: p.replace(vm(GREEN1), "metadata.0.user_data", metadata=[]),
    "type of the idle colour": lambda p: p.update(vm(GREEN1), type="g6-standard-1"),
    "the idle colour shut down": lambda p: p.update(vm(GREEN1), booted=False),
    "the idle colour renamed": lambda p: p.update(vm(GREEN1), label="green-9"),
    "one more idle machine": lambda p: p.create(vm("green-3"), "linode_instance", green3(), "private_ip_address"),
    "one more node, as reject": lambda p: p.create(nd("green-3"), "linode_nodebalancer_node", node(GREEN1, 80)),
    "node of the idle colour recreated": lambda p: p.replace(nd(GREEN1), "config_id", config_id=71),
    "tags of a live machine": lambda p: p.update(vm(BLUE1), tags=["Shop", "new"]),
    "backups and alerts of a live machine": lambda p: p.update(vm(BLUE1), backups_enabled=True, alerts=[{"cpu": 1}]),
    "what the API tells of a live machine": lambda p: p.update(vm(BLUE1), "status", "specs", "host_uuid"),
    "a live machine is booted": lambda p: p.there[vm(BLUE1)][1].update(booted=None) or p.update(vm(BLUE1), booted=True),
    "tags of the NodeBalancer": lambda p: p.update(nb(), "updated", "transfer", tags=["x"]),
    "throttle": lambda p: p.update(nb(), client_conn_throttle=20),
    "health path": lambda p: p.update(cf(80), check_path="/healthz"),
    "label of a live node": lambda p: p.update(nd(BLUE1), label="other"),
    "one more port": lambda p: p.create("x", "linode_nodebalancer_config", {"nodebalancer_id": BALANCER, "port": 8081}),
    "one more rule": lambda p: p.update(f"{AT}.linode_firewall.app", inbound=[*firewall()["inbound"], rule("x", "9", "10.0.0.0/8")]),
    "a wider rule": lambda p: p.update(f"{AT}.linode_firewall.app", inbound=[rule("x", "4000-6000", "192.168.0.0/16")]),
    "all ports open": lambda p: p.update(f"{AT}.linode_firewall.edge", inbound=[], inbound_policy="ACCEPT"),
    "a record": lambda p: p.update(f"{AT}.linode_domain_record.a[0]", ttl_sec=600),
    "a machine that is not ours": lambda p: p.there.update({"linode_instance.db": ("linode_instance", instance(BLUE1) | {"id": "99", "label": "db", "ipv4": ["192.0.2.9"], "private_ip_address": None, "ip_address": None})}) or p.delete("linode_instance.db"),
    "another app's NodeBalancer beside ours": lambda p: p.there.update({"linode_nodebalancer.b": ("linode_nodebalancer", balancer() | {"id": "8", "label": "b"})}) or p.delete("linode_nodebalancer.b"),
    "another provider's things": lambda p: p.create("aws_s3_bucket.b", "aws_s3_bucket", {"bucket": "b"}),
    "a resource let go": lambda p: p.forget(vm(BLUE1)),
}  # fmt: skip


def verdict(build: Build, known: Facts | None = None, *, new_certificate: bool = False) -> Any:
    plan = PlanBuilder()
    build(plan)
    return judge(read_plan(plan.json), known or facts(), new_certificate=new_certificate)


PROMISED = {
    # What the module's promise names (docs/how-to/infra-guard.md) to a plan of the corpus.
    "live colour replaced by image": "image of a live machine",
    "by key": "keys of a live machine",
    "by user data": "user data of a live machine",
    "by type": "type of a live machine",
    "by region": "region of a live machine",
    "by firewall": "firewall of a live machine",
    "NodeBalancer replaced": "NodeBalancer in another region",
    "port moved": "port moved",
    "node recreated": "node of the live colour recreated",
    "destroy all": "destroy all",
    "wrong workspace": "another workspace",
    "stale plan": "stale: a machine was made anew",
}


def test_the_corpus_is_large_enough() -> None:
    assert len(DANGEROUS) >= 30
    assert len(HARMLESS) >= 20
    assert DANGEROUS.keys() >= set(PROMISED.values())


@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_plans_are_refused_with_resource_attribute_and_way_out(name: str) -> None:
    build, word, named = DANGEROUS[name]
    found = verdict(build).refusals
    assert found
    hit = [each for each in found if word in each.message and named in (each.attribute, each.code)]
    assert hit, found
    for each in found:
        assert each.resource
        assert each.way_out
        assert each.resource.removesuffix('"]') in each.message or each.code == "another_state"
        assert KEY not in each.message
        assert "hunter2" not in each.message


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_plans_pass(name: str) -> None:
    assert verdict(HARMLESS[name]).refusals == ()


@pytest.mark.parametrize("mode", [Mode.BACKUP, Mode.DRAIN])
def test_backup_and_drain_are_not_idle(mode: Mode) -> None:
    (found,) = verdict(lambda p: p.replace(vm(BLUE2), image="x"), facts(mode=mode)).refusals
    assert mode.value in found.message


def test_the_home_of_an_idle_colour_stays_and_the_way_out_is_to_move_it() -> None:
    known = facts(GREEN)
    assert verdict(lambda p: p.replace(vm(BLUE2), image="x"), known).refusals == ()
    (found,) = verdict(lambda p: p.update(vm(BLUE1), type="g6-standard-1"), known).refusals
    assert (found.code, "celadon store move" in found.way_out) == ("home", True)


def test_a_live_machine_is_changed_by_way_of_the_idle_colour() -> None:
    (found,) = verdict(lambda p: p.replace(vm(BLUE2), image="x")).refusals
    assert "celadon infra renew green" in found.way_out


def test_before_the_first_deploy_only_balancer_and_home_are_kept() -> None:
    known = facts(None)
    assert (
        verdict(lambda p: p.replace(vm(BLUE2), image="x").update(cf(80), port=81).delete(nd(BLUE2)), known).refusals
        == ()
    )
    assert [each.code for each in verdict(lambda p: p.destroy_all(), known).refusals] == ["home", "nodebalancer"]


def test_a_new_certificate_passes_when_it_is_meant() -> None:
    build = DANGEROUS["certificate without intent"][0]
    assert verdict(build, new_certificate=True).refusals == ()
    assert verdict(DANGEROUS["port moved"][0], new_certificate=True).refusals


def test_an_open_rollout_makes_both_colours_busy() -> None:
    known = facts(None)
    assert known.balancer is not None
    open_intent = Intent(rollout=builders.Facts().rollout)
    told = busy_colours(SLOTS, known.balancer, live=None, intent=open_intent)
    assert told.keys() == {BLUE, GREEN}
    assert "rollout 1 is open" in told[GREEN]
    finished = msgspec.structs.replace(open_intent, finished="done")
    assert busy_colours(SLOTS, known.balancer, live=None, intent=finished) == {}
    assert busy_colours(SLOTS, known.balancer, live=None, intent="home timed out").keys() == {BLUE, GREEN}
    nothing_serves = live({BLUE: [], GREEN: []}, None, None)
    assert busy_colours(SLOTS, known.balancer, live=nothing_serves, intent="home timed out") == {}


def test_what_could_not_be_seen_is_taken_to_serve() -> None:
    blind = Facts(app="shop", unknown="Linode: 503")
    for build in (lambda p: p.replace(vm(GREEN1), image="x"), lambda p: p.delete(nd(GREEN1)), lambda p: p.delete(nb()),
                  lambda p: p.update(cf(80), port=8080)):  # fmt: skip
        found = verdict(build, blind).refusals
        assert found
        assert all("unknown" in each.message or each.code in ("nodebalancer", "config") for each in found)
    assert verdict(HARMLESS["tags of a live machine"], blind).refusals == ()


def test_the_first_plan_of_an_empty_account_passes() -> None:
    plan = PlanBuilder(there=False)
    plan.create(vm(BLUE1), "linode_instance", instance(BLUE1)).create(nb(), "linode_nodebalancer", balancer())
    plan.create(nd(BLUE1), "linode_nodebalancer_node", node(BLUE1, 80) | {"nodebalancer_id": None}, "nodebalancer_id")
    assert judge(read_plan(plan.json), Facts(app="shop")).refusals == ()


def test_an_empty_workspace_would_make_everything_twice() -> None:
    plan = PlanBuilder(there=False)
    plan.create(vm(BLUE1), "linode_instance", instance(BLUE1)).create(nb(), "linode_nodebalancer", balancer())
    taken = frozenset({("linode_nodebalancer", "shop-nb"), ("linode_instance", BLUE1)})
    found = judge(read_plan(plan.json), facts(taken=taken)).refusals
    assert [each.code for each in found] == ["taken", "taken"]
    assert "workspace" in found[0].way_out


def test_a_label_that_the_same_plan_frees_is_not_taken() -> None:
    plan = PlanBuilder().delete(vm(GREEN1)).create("linode_instance.moved", "linode_instance", instance(GREEN1))
    assert judge(read_plan(plan.json), facts(taken=frozenset({("linode_instance", GREEN1)}))).refusals == ()


def test_notes_tell_what_deserves_a_second_look() -> None:
    assert any("/healthz" in note for note in verdict(HARMLESS["health path"]).notes)
    assert any("nobody owns it" in note for note in verdict(HARMLESS["a resource let go"]).notes)
    assert verdict(HARMLESS["tags of a live machine"]).notes == ()


# -- what is no plan -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"PK\x03\x04 zip", "is a plan file, not its JSON"),
        (b"[]", "is not a Terraform plan"),
        (b"{}", "format_version"),
        (b"\xff\xfe{}", "is not"),
        (b"[" * 100_000, "is not"),
        (b'{"format_version": "1.0", "values": {}}', "is a state"),
        (b'{"format_version": "1.0"}', "no planned values"),
        (b'{"format_version": "2.0", "resource_changes": []}', "only format 1"),
    ],
)
def test_what_is_no_plan_is_one_clear_refusal(text: bytes, word: str) -> None:
    with pytest.raises(BadPlan, match=word):
        read_plan(text)


def test_a_plan_that_ended_in_an_error_or_is_not_whole_is_not_judged() -> None:
    for top in ({"errored": True}, {"complete": False}):
        with pytest.raises(BadPlan, match="planning"):
            read_plan(PlanBuilder().with_top(**top).json)


def test_an_unknown_action_is_not_guessed_at() -> None:
    plan = PlanBuilder().delete(vm(BLUE2))
    plan.changes[vm(BLUE2)]["change"]["actions"] = ["recycle"]
    with pytest.raises(BadPlan, match="recycle"):
        read_plan(plan.json)


def test_values_that_are_missing_are_not_taken_for_nothing() -> None:
    plan = PlanBuilder().delete(vm(BLUE2))
    plan.changes[vm(BLUE2)]["change"]["before"] = None
    with pytest.raises(BadPlan, match="values are missing"):
        read_plan(plan.json)


def test_a_plan_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadPlan, match="larger than 64 MiB"):
        read_plan(b" " * (64 * 1024 * 1024 + 1))


# -- properties ------------------------------------------------------------------------------------

SINGLE = sorted(name for name in DANGEROUS if name not in ("destroy all", "both colours", "another workspace"))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(sorted(HARMLESS)), max_size=3), st.sampled_from([None, *SINGLE]), st.randoms())
def test_harmless_changes_hide_no_dangerous_one(harmless: list[str], dangerous: str | None, random: Any) -> None:
    plan = PlanBuilder()
    builds = [HARMLESS[name] for name in harmless]
    random.shuffle(builds)
    for build in builds:
        build(plan)
    if dangerous is not None:
        DANGEROUS[dangerous][0](plan)  # last: a second change of one resource takes the first one's place
    found = judge(read_plan(plan.json), facts()).refusals
    assert bool(found) is (dangerous is not None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_values_of_any_shape_crash_nothing(data: st.DataObject) -> None:
    """Whatever stands where a value stands: judged or refused, never a crash."""
    plan = PlanBuilder()
    address = data.draw(st.sampled_from(sorted(plan.there)))
    names = sorted(plan.there[address][1])
    after = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    plan.there[address] = (
        plan.there[address][0],
        plan.there[address][1] | data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=2)),
    )
    plan.update(address, **after)
    plan.changes[address]["change"]["after_unknown"] = data.draw(JSON)
    judge(read_plan(plan.json), facts())


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.builds(msgspec.json.encode, JSON))
def test_any_bytes_are_a_plan_or_refused(text: bytes) -> None:
    with contextlib.suppress(BadPlan):
        assert read_plan(text).changes == ()
