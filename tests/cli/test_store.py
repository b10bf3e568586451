"""`store move`, `store adopt` and `abort --keep-colour` as people type them, and what a deploy finds afterwards."""

import asyncio

import pytest

from celadon.core.observed import Mode
from celadon.core.release import Colour
from tests.cli.worlds import SLOTS, MemoryWorld

pytestmark = pytest.mark.slow  # whole rollouts through the command line


def accepting(world: MemoryWorld) -> set[str]:
    nodes = world.balancer.applied().configs[0].nodes
    return {node.address for node in nodes if node.mode is Mode.ACCEPT}


def set_mode(world: MemoryWorld, colour: Colour, mode: Mode) -> None:
    """Somebody, or a driver that died, left the balancer so."""
    addresses = {slot.node_address for slot in SLOTS[colour]}
    for node in world.balancer.applied().configs[0].nodes:
        if node.address in addresses:
            asyncio.run(world.balancer.set_node(node, mode, 100, 1.0))


def lose_the_home(world: MemoryWorld) -> None:
    """The instance was replaced by an empty one; what runs on it besides came back with it."""
    world.homes.wipe("blue-1")
    world.hosts.machines["blue-1"].fences.clear()


def in_the_middle(world: MemoryWorld) -> None:
    """v1 serves on blue; v2 was being shifted to on green when driver and home died."""
    assert world.run("deploy", "v1", "--yes").exit == 0
    assert world.run("deploy", "v2", "--yes", "--until", "commit").exit == 0
    set_mode(world, Colour.BLUE, Mode.ACCEPT)
    lose_the_home(world)


def test_moving_says_where_the_home_is_and_moves_no_traffic(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    changes = list(world.balancer.changes)
    ran = world.run("store", "move", "green-1")
    assert (ran.exit, ran.out) == (0, "the home of shop is green-1\n"), ran.err
    assert 'hosts.home = "green-1"' in ran.err
    assert world.balancer.changes == changes
    again = world.run("store", "move", "green-1", "--json")
    assert (again.exit, again.end["home"], again.end["epoch"], again.end["changed"]) == (0, "green-1", 1, False)


def test_after_a_move_old_and_new_configs_drive_the_same_app(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("store", "move", "green-1")
    old = world.run("deploy", "v2", "--yes")
    assert (old.exit, old.out.splitlines()[0][:26]) == (0, "shop v2 is live on green  "), old.err
    assert 'in celadon.toml: hosts.home = "green-1"' in old.err
    world.home = "green-1"
    new = world.run("history", "--json")
    assert [each["rollout"] for each in new.end["rollouts"]] == [2, 1]
    assert "hosts.home" not in new.err


def test_a_move_to_an_unknown_host_is_refused(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("store", "move", "elsewhere")
    assert (ran.exit, "no host is named elsewhere" in ran.err) == (2, True)


def test_without_a_past_there_is_nothing_to_move_or_adopt(world: MemoryWorld) -> None:
    for words in (["store", "move", "green-1"], ["store", "adopt"]):
        ran = world.run(*words)
        assert (ran.exit, "nothing was ever deployed" in ran.err) == (2, True), ran.err


def test_a_deploy_with_a_lost_home_is_refused_and_adopting_lets_it_go_on(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    changes = list(world.balancer.changes)
    lose_the_home(world)
    refused = world.run("deploy", "v3", "--yes")
    assert refused.exit == 2
    assert "the home of shop is lost: blue-1 keeps no store" in refused.err
    assert "celadon store adopt" in refused.err
    adopted = world.run("store", "adopt")
    assert adopted.exit == 0, adopted.err
    assert "epoch 2 begins; no traffic was moved" in adopted.out
    assert "green is live" in adopted.out
    assert world.balancer.changes == changes
    ran = world.run("deploy", "v3", "--yes", "--json")
    assert ran.exit == 0, ran.err
    # Its number, and which release it replaced, come from what the hosts remember.
    assert (ran.end["rollout"], ran.end["from"]["version"], ran.end["live_colour"]) == (3, "v2", "blue")


def test_status_names_releases_after_an_adoption(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    lose_the_home(world)
    assert "the home of shop is lost" in world.run("status").out
    world.run("store", "adopt")
    out = world.run("status").out
    assert "the home was replaced by me@here" in out
    assert "nothing was deployed" not in out
    row = next(line for line in out.splitlines() if "blue-1:5000" in line)
    assert " v1 " in row


def test_a_rollback_works_from_what_hosts_remember(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    lose_the_home(world)
    world.run("store", "adopt")
    ran = world.run("rollback", "--json")
    assert ran.exit == 0, ran.err
    assert (ran.end["from"]["version"], ran.end["to"]["version"], ran.end["live_colour"]) == ("v2", "v1", "blue")


def test_a_silent_home_must_be_named_dead(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    world.hosts.machines["blue-1"].reachable = False
    refused = world.run("store", "adopt", "green-1")
    assert (refused.exit, "celadon store adopt green-1 --dead blue-1" in refused.err) == (2, True)
    ran = world.run("store", "adopt", "green-1", "--dead", "blue-1", "--json")
    assert (ran.exit, ran.end["home"], ran.end["epoch"], ran.end["untold"]) == (0, "green-1", 2, ["blue-1"])


def test_an_old_home_that_comes_back_is_not_believed(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    world.hosts.machines["blue-1"].reachable = False
    assert world.run("store", "adopt", "green-1", "--dead", "blue-1").exit == 0
    world.hosts.machines["blue-1"].reachable = True
    changes = list(world.balancer.changes)
    stale = world.run("deploy", "v3", "--yes")  # its config still says blue-1, and blue-1 says it is the home
    assert stale.exit == 2
    assert "the home of shop was replaced: green-1 knows epoch 2, and this home is of epoch 1" in stale.err
    assert world.balancer.changes == changes
    world.home = "green-1"
    assert world.run("deploy", "v3", "--yes").exit == 0
    world.home = "blue-1"
    told = world.run("deploy", "v4", "--yes")  # by now blue-1 knows, and says so
    assert (told.exit, 'hosts.home = "green-1"' in told.err) == (0, True), told.err


def test_after_a_lost_home_the_labels_say_which_colour_is_stable(world: MemoryWorld) -> None:
    in_the_middle(world)
    assert accepting(world) == {"192.168.130.11:5000", "192.168.130.21:5000"}
    adopted = world.run("store", "adopt", "--json")
    assert adopted.end["next"] == ["celadon abort", "celadon abort --keep-colour COLOUR"]
    refused = world.run("deploy", "v3", "--yes")
    assert (refused.exit, "celadon abort --keep-colour COLOUR" in refused.err) == (2, True), refused.err
    ran = world.run("abort", "--json")
    assert (ran.exit, ran.end["result"], ran.end["live_colour"]) == (0, "rolled_back", "blue"), ran.err
    assert accepting(world) == {"192.168.130.11:5000"}
    green = [one for one in world.hosts.machines["green-1"].replicas.values() if one.running]
    assert green == []
    assert world.run("deploy", "v3", "--yes").exit == 0


def test_where_labels_do_not_tell_a_person_names_the_colour(world: MemoryWorld) -> None:
    in_the_middle(world)
    for machine in world.hosts.machines.values():
        for replica in machine.replicas.values():
            replica.rollout = 7
    world.run("store", "adopt")
    asked = world.run("abort")
    assert asked.exit == 2
    assert "which colour is stable cannot be told" in asked.err
    assert "blue runs rollout 7 · green runs rollout 7" in asked.err
    ran = world.run("abort", "--keep-colour", "green", "--json")
    assert (ran.exit, ran.end["live_colour"]) == (0, "green"), ran.err
    assert accepting(world) == {"192.168.130.21:5000"}


def test_the_kept_colour_is_raised_before_the_other_is_lowered(world: MemoryWorld) -> None:
    in_the_middle(world)
    set_mode(world, Colour.BLUE, Mode.REJECT)
    world.run("store", "adopt")
    before = len(world.balancer.changes)
    ran = world.run("abort", "--keep-colour", "blue")
    assert ran.exit == 0, ran.err
    order = [(address, mode) for address, mode, _ in world.balancer.changes[before:]]
    raised, lowered = ("192.168.130.11:5000", Mode.ACCEPT), ("192.168.130.21:5000", Mode.REJECT)
    assert order.index(raised) < order.index(lowered)


def test_a_colour_in_which_nothing_runs_is_not_kept(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("abort", "--keep-colour", "green")
    assert ran.exit == 2
    assert "nothing runs in green, so it cannot take the traffic" in ran.err
    assert accepting(world) == {"192.168.130.11:5000"}


def test_with_the_home_there_an_open_rollout_knows_its_stable(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes", "--until", "commit")
    wrong = world.run("abort", "--keep-colour", "green")
    assert (wrong.exit, "its stable is blue" in wrong.err) == (2, True), wrong.err
    assert world.run("abort", "--keep-colour", "blue").exit == 0
    assert accepting(world) == {"192.168.130.11:5000"}
    none = world.run("abort", "--keep-colour", "red")
    assert (none.exit, "'red' is not a colour" in none.err) == (2, True)


def test_what_nobody_knows_is_taken_out_and_left_running(world: MemoryWorld) -> None:
    """The other colour runs something that Celadon did not start."""
    world.run("deploy", "v1", "--yes")
    world.hosts.machines["green-1"].foreign[5000] = "process 4711"
    set_mode(world, Colour.GREEN, Mode.ACCEPT)
    ran = world.run("abort", "--keep-colour", "blue")
    assert ran.exit == 0, ran.err
    assert accepting(world) == {"192.168.130.11:5000"}
    assert world.hosts.machines["green-1"].foreign == {5000: "process 4711"}
