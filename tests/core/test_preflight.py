"""May a rollout open? Each refusal with its hint, each warning, and what the rollout then says."""

from typing import Any

import msgspec
import pytest
from tests.core.builders import ACCEPT, BACKUP, BLUE, GREEN, NEW, OLD, REJECT, slot

from celadon.core.errors import Refused
from celadon.core.intent import Health, Intent, Timing, Verify
from celadon.core.observed import BalancerFacts, ConfigFacts, HostFacts, Mode, NodeFacts, Probe, ReplicaFacts, SlotFacts
from celadon.core.preflight import Opening, Scout, open_rollout, plan_id
from celadon.core.release import Release
from celadon.core.strategy import Approve
from celadon.core.wanted import Options, Wanted

UTC = 1.7e9


def wanted(**changes: Any) -> Wanted:
    values: dict[str, Any] = {
        "app": "shop",
        "slots": {colour: (slot(colour, 0), slot(colour, 1)) for colour in (BLUE, GREEN)},
        "ports": (),
        "balancer": "web",
        "timing": Timing(),
        "health": Health(probe=Probe("/up", "shop.example")),
        "verify": Verify(url="http://shop.example"),
    }
    return Wanted(**(values | changes))


def config(port: int = 80, *, blue: Mode = ACCEPT, green: Mode = REJECT, **changes: Any) -> ConfigFacts:
    nodes = tuple(
        NodeFacts(port, port * 10, port * 100 + n, s.host, s.node_address, mode, 100, up=mode is not REJECT)
        for n, (s, mode) in enumerate(
            [*((slot(BLUE, n), blue) for n in range(2)), *((slot(GREEN, n), green) for n in range(2))]
        )
    )
    values: dict[str, Any] = {
        "port": port,
        "id": port * 10,
        "protocol": "http",
        "check": "http",
        "check_interval": 5,
        "check_attempts": 2,
        "check_passive": False,
        "stickiness": "none",
        "nodes": nodes,
    }
    return ConfigFacts(**(values | changes))


def balancer(*configs: ConfigFacts, throttle: int = 0) -> BalancerFacts:
    return BalancerFacts(7, "web", "203.0.113.1", throttle, configs or (config(),))


def host(name: str, release: Release | None = None, **changes: Any) -> HostFacts:
    colour, index = name.split("-")
    its = slot(BLUE if colour == "blue" else GREEN, int(index))
    replica = ReplicaFacts(release.id, "1", running=True, restarts=0, exit_code=None) if release is not None else None
    slots = (SlotFacts(its.key, replica, foreign=changes.pop("foreign", None)),)
    values: dict[str, Any] = {"name": name, "boot_id": "1", "utc": UTC, "disk_free": 10**10, "fence": 0, "slots": slots}
    return HostFacts(**(values | changes))


def scout(facts: BalancerFacts | None = None, **hosts: HostFacts | str) -> Scout:
    seen: dict[str, HostFacts | str] = {name: host(name, OLD) for name in ("blue-0", "blue-1")}
    seen |= {name: host(name) for name in ("green-0", "green-1")}
    seen |= {name.replace("_", "-"): facts_ for name, facts_ in hosts.items()}
    return Scout(balancer=facts or balancer(), hosts=seen, utc=UTC, known=(OLD,))


PLAIN = Options()


def opens(
    wants: Wanted | None = None, seen: Scout | None = None, options: Options = PLAIN, release: Release = NEW
) -> Opening:
    return open_rollout(wants or wanted(), release, options, seen or scout())


# -- what a rollout says -------------------------------------------------------------------------------


def test_a_deploy_goes_to_the_idle_colour() -> None:
    opening = opens()
    rollout = opening.rollout
    assert (rollout.candidate, rollout.candidate_colour) == (NEW, GREEN)
    assert (rollout.stable, rollout.stable_colour) == (OLD, BLUE)
    assert rollout.baseline == {8000: 100, 8001: 100}
    assert rollout.floor == {80: 2}
    assert (opening.add, opening.warnings) == ((), ())


def test_and_the_next_one_back_to_the_other() -> None:
    seen = scout(
        balancer(config(blue=REJECT, green=ACCEPT)), green_0=host("green-0", OLD), green_1=host("green-1", OLD)
    )
    assert opens(seen=seen).rollout.candidate_colour is BLUE


def test_a_first_deploy_has_no_stable_and_says_so() -> None:
    opening = opens(seen=scout(balancer(config(blue=REJECT)), blue_0=host("blue-0"), blue_1=host("blue-1")))
    assert (opening.rollout.stable, opening.rollout.stable_colour, opening.rollout.candidate_colour) == (
        None,
        None,
        BLUE,
    )
    assert opening.rollout.floor == {80: 1}
    assert any("first deploy" in warning for warning in opening.warnings)


def test_an_unmanaged_stable_is_a_way_back_that_is_never_stopped() -> None:
    rollout = opens(seen=scout(blue_0=host("blue-0"), blue_1=host("blue-1"))).rollout
    assert rollout.unmanaged
    assert rollout.baseline


@pytest.mark.parametrize(("finished", "stable"), [("rolled_back", OLD), ("done", None), ("", None)])
def test_where_no_host_of_the_live_colour_answers_the_newest_rollout_says_what_it_left_there(
    finished: str, stable: Release | None
) -> None:
    """Before: a host that was silent for a moment made its release unmanaged, and it was never stopped."""
    newest = Intent(rollout=opens().rollout, finished=finished)  # done: it left nothing in the colour that is live
    seen = msgspec.structs.replace(scout(blue_0="ssh timed out", blue_1="ssh timed out"), intent=newest)
    assert opens(seen=seen).rollout.stable == stable


def test_what_a_finished_deploy_left_in_a_colour_that_is_silent_now() -> None:
    newest = Intent(rollout=opens().rollout, finished="done")
    hosts: dict[str, HostFacts | str] = {"green_0": "ssh timed out", "green_1": host("green-1")}
    seen = msgspec.structs.replace(scout(balancer(config(blue=REJECT, green=ACCEPT)), **hosts), intent=newest)
    assert opens(seen=seen).rollout.stable == NEW


def test_all_ports_are_moved_unless_the_config_names_some() -> None:
    both = scout(balancer(config(80), config(443)))
    assert opens(seen=both).rollout.ports == (80, 443)
    assert opens(wanted(ports=(443,)), both).rollout.ports == (443,)


def test_the_floor_is_what_served_and_never_more_than_the_candidate_gives() -> None:
    one_down = config()
    nodes = (msgspec.structs.replace(one_down.nodes[0], up=False), *one_down.nodes[1:])
    assert opens(seen=scout(balancer(msgspec.structs.replace(one_down, nodes=nodes)))).rollout.floor == {80: 1}
    fewer = wanted(slots={BLUE: (slot(BLUE, 0), slot(BLUE, 1)), GREEN: (slot(GREEN, 0),)})
    whole = config()
    seen = scout(balancer(msgspec.structs.replace(whole, nodes=whole.nodes[:3])))
    assert opens(fewer, seen).rollout.floor == {80: 1}


def test_numbers_and_steps_and_times() -> None:
    before = opens().rollout
    seen = msgspec.structs.replace(scout(), intent=Intent(rollout=before, finished="done"))
    rollout = opens(options=Options(hold=True), seen=seen).rollout
    assert rollout.number == before.number + 1
    assert Approve() in rollout.steps
    assert rollout.timing.up_within == 60 + 3 * 5 * 2 + Timing().up_within
    assert rollout.kept_releases == (OLD.id,)


def test_missing_nodes_are_added_in_preflight() -> None:
    whole = config()
    seen = scout(balancer(msgspec.structs.replace(whole, nodes=whole.nodes[:3])))
    (add,) = opens(seen=seen).add
    assert (add.config_id, add.port, add.label, add.address) == (800, 80, "green-1", "192.168.129.11:8000")


# -- a port that was added since somebody serves -------------------------------------------------------


def test_a_new_port_gets_what_the_others_have_and_a_way_back() -> None:
    """Https, added to a NodeBalancer that had http: blue serves on 80, and on 443 all nodes are off."""
    old = config(80)
    weights = (msgspec.structs.replace(old.nodes[0], weight=40), *old.nodes[1:])
    opening = opens(seen=scout(balancer(msgspec.structs.replace(old, nodes=weights), config(443, blue=REJECT))))
    rollout = opening.rollout
    assert (rollout.stable_colour, rollout.candidate_colour) == (BLUE, GREEN)
    assert (rollout.ports, rollout.new_ports) == ((80, 443), (443,))
    assert rollout.baseline == {8000: 40, 8001: 100, 44300: 40, 44301: 100}
    assert rollout.floor == {80: 2, 443: 2}
    assert opening.warnings == ("port 443 sends nobody anywhere yet: this rollout opens it",)


def test_nobody_is_let_in_on_a_new_port_who_is_out_on_the_others() -> None:
    old = config(80)
    nodes = (msgspec.structs.replace(old.nodes[0], mode=REJECT, up=False), *old.nodes[1:])
    seen = scout(balancer(msgspec.structs.replace(old, nodes=nodes), config(443, blue=REJECT)))
    rollout = opens(seen=seen).rollout
    assert rollout.baseline == {8001: 100, 44301: 100}
    assert rollout.floor == {80: 1, 443: 1}


def test_a_new_port_without_nodes_gets_them_and_with_terraform_says_who_makes_them() -> None:
    bare = msgspec.structs.replace(config(443), nodes=())
    opening = opens(seen=scout(balancer(config(80), bare)))
    assert [(add.port, add.label) for add in opening.add] == [
        (443, "blue-0"), (443, "blue-1"), (443, "green-0"), (443, "green-1"),
    ]  # fmt: skip
    assert opening.rollout.new_ports == (443,)
    with pytest.raises(Refused, match="port 443: no node for blue-0"):
        opens(wanted(add_nodes=False), scout(balancer(config(80), bare)))


def test_ports_that_serve_different_colours_are_still_refused() -> None:
    split = scout(balancer(config(80), config(443, blue=REJECT, green=ACCEPT)))
    with pytest.raises(Refused, match="which colour is live cannot be told"):
        opens(seen=split)
    drained = scout(balancer(config(80), config(443, blue=Mode.DRAIN)))
    with pytest.raises(Refused, match="which colour is live cannot be told"):
        opens(seen=drained)


def test_a_first_deploy_has_no_new_ports() -> None:
    seen = scout(
        balancer(config(80, blue=REJECT), config(443, blue=REJECT)), blue_0=host("blue-0"), blue_1=host("blue-1")
    )
    rollout = opens(seen=seen).rollout
    assert (rollout.new_ports, rollout.baseline) == ((), {})


# -- refusals ------------------------------------------------------------------------------------------


def many_of(facts: ConfigFacts, index: int, **changes: Any) -> ConfigFacts:
    node = msgspec.structs.replace(facts.nodes[index], id=999, **changes)
    return msgspec.structs.replace(facts, nodes=(*facts.nodes, node))


@pytest.mark.parametrize(
    ("facts", "says", "hint"),
    [
        (BalancerFacts(7, "web", "", 0, ()), "web has no port configured", "config-create"),
        (balancer(config(protocol="tcp")), "port 80: protocol tcp is not in this version", "http"),
        (balancer(config(stickiness="table")), "stickiness table", "config-update 7 800 --stickiness none"),
        (balancer(config(check="none")), "no health check", "--check http --check_path /"),
        (balancer(config(check_passive=True)), "passive check", "--check_passive false"),
        (balancer(throttle=2), "open 2 connections a second, verify.rate is 5", "--client_conn_throttle 0"),
        (balancer(many_of(config(), 0, address="192.168.1.9:1", label="old")), "also sends traffic to old", "[hosts]"),
        (balancer(many_of(config(), 0)), "port 80 has 2 nodes for 192.168.128.10:8000", "keep one"),
        (balancer(config(green=ACCEPT)), "which colour is live cannot be told", "celadon status"),
        (balancer(config(blue=REJECT, green=BACKUP)), "users are served by the net", "deploy --repair"),
        (balancer(config(green=BACKUP)), "green is not idle: green-0 is backup on port 80", "celadon status"),
        (balancer(config(green=Mode.DRAIN)), "green is not idle: green-0 is drain on port 80", "celadon status"),
    ],
)
def test_a_balancer_that_cannot_be_used(facts: BalancerFacts, says: str, hint: str) -> None:
    with pytest.raises(Refused) as refused:
        opens(seen=scout(facts))
    assert says in str(refused.value)
    assert refused.value.hint is not None
    assert hint in refused.value.hint


def test_nothing_is_opened_while_the_net_serves() -> None:
    with pytest.raises(Refused, match="users are served by the net"):
        opens(seen=scout(balancer(config(blue=REJECT, green=BACKUP))))


def test_a_stranger_that_gets_no_traffic_is_left_alone() -> None:
    assert opens(seen=scout(balancer(many_of(config(), 2, address="192.168.1.9:1"))))


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(Refused, match="web has no config for port 8080"):
        opens(wanted(ports=(8080,)))


def test_a_node_that_terraform_owns_is_not_added() -> None:
    whole = config()
    seen = scout(balancer(msgspec.structs.replace(whole, nodes=whole.nodes[:3])))
    with pytest.raises(Refused, match="no node for green-1") as refused:
        opens(wanted(add_nodes=False), seen)
    assert refused.value.details[0].startswith("found: 192.168.128.10:8000")


def test_a_live_colour_that_is_down_everywhere_and_what_repair_does() -> None:
    dead = config()
    nodes = tuple(msgspec.structs.replace(node, up=False) for node in dead.nodes)
    seen = scout(balancer(msgspec.structs.replace(dead, nodes=nodes)))
    with pytest.raises(Refused, match="none of its nodes is UP"):
        opens(seen=seen)
    assert opens(seen=seen, options=Options(repair=True)).rollout.floor == {80: 1}


def test_repair_keeps_the_net_that_serves() -> None:
    seen = scout(balancer(config(blue=BACKUP)))
    rollout = opens(seen=seen, options=Options(repair=True)).rollout
    assert rollout.stable_colour is BLUE
    assert len(rollout.baseline) == 2


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ({"green_1": "ssh timed out"}, "green-1: ssh timed out"),
        ({"green_1": host("green-1", foreign="nginx (pid 12)")}, "192.168.129.11:8000 is held by nginx"),
        ({"green_1": host("green-1", disk_free=10 * 1024**2)}, "green-1: 10 MiB free"),
        ({"blue_1": host("blue-1", NEW)}, "blue runs several releases"),
    ],
)
def test_hosts_that_cannot_be_used(hosts: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as refused:
        opens(seen=scout(**hosts))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("hosts", "warning"),
    [
        ({"blue_1": "ssh timed out"}, "blue-1: ssh timed out"),
        ({"blue_1": host("blue-1", OLD, utc=UTC + 61)}, "blue-1: its clock is +61 s off"),
        ({"green_1": host("green-1", utc=UTC - 90)}, "green-1: its clock is -90 s off"),
    ],
)
def test_what_is_said_and_does_not_stop_it(hosts: dict[str, Any], warning: str) -> None:
    assert opens(seen=scout(**hosts)).warnings == (warning,)


# -- the plan's id -------------------------------------------------------------------------------------


def test_the_same_world_has_the_same_plan() -> None:
    assert plan_id(opens(), balancer()) == plan_id(opens(), balancer())


@pytest.mark.parametrize(
    "other",
    [
        lambda: plan_id(opens(release=OLD), balancer()),
        lambda: plan_id(opens(wanted(settings_hash="x")), balancer()),
        lambda: plan_id(opens(), balancer(config(green=BACKUP))),
        lambda: plan_id(opens(seen=scout(blue_0=host("blue-0"), blue_1=host("blue-1"))), balancer()),
    ],
)
def test_another_world_has_another(other: Any) -> None:
    assert other() != plan_id(opens(), balancer())
