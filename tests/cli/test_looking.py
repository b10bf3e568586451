"""Verbs that only look: status, history, logs, exec, hosts, check."""

import asyncio
from pathlib import Path

import pytest

from celadon.core.observed import Mode
from tests.cli.worlds import SLOTS, MemoryWorld

pytestmark = pytest.mark.slow  # whole rollouts through the command line


def test_status_of_nothing(world: MemoryWorld) -> None:
    ran = world.run("status")
    assert ran.exit == 0
    assert ran.out.startswith("shop: nothing serves\n")
    assert "nothing was deployed by Celadon yet" in ran.out


def test_status_names_colours_slots_and_releases(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("status")
    assert ran.out.startswith("shop: blue is live (v1)\n")
    assert "blue    blue-1:5000   v1       ok" in ran.out
    end = world.run("status", "--json").end
    assert {"live_colour", "stable", "candidate", "slots", "balancer", "rollout", "lease", "as_of"} <= end.keys()
    assert (end["live_colour"], end["stable"]["version"], end["candidate"]) == ("blue", "v1", None)


def test_status_goes_on_when_a_host_is_out_of_order(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.hosts.machines["green-1"].reachable = False
    ran = world.run("status")
    assert ran.exit == 0
    assert "green-1: ssh timed out" in ran.out
    assert "blue is live" in ran.out


def test_status_wait_exits_as_the_deploy_did(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    assert world.run("status", "--wait", "5s").exit == 0
    world.make_sick("v2")
    world.run("deploy", "v2", "--yes")
    ran = world.run("status", "--wait", "5s", "--json")
    assert (ran.exit, ran.end["result"]) == (3, "rolled_back")


def test_history_lists_rollouts_and_tells_one(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    assert [each["to"] for each in world.run("history", "--json").end["rollouts"]] == ["v2", "v1"]
    one = world.run("history", "2")
    assert one.out.startswith("rollout 2: v2 is live on green (done, no request failed)\n")
    assert "because: stable is out of the balancer and quiet" in one.out
    assert "what this does not prove" in one.out
    assert "committed: all traffic is confirmed on the candidate" in one.out
    events = world.run("history", "2", "--json").end["events"]
    assert events[0]["event"] == "opened"
    assert {"because", "text", "data"} <= events[0].keys()


def test_history_writes_evidence_that_needs_nothing_else(world: MemoryWorld) -> None:
    world.run("deploy", "<b>v1</b>", "--yes")
    ran = world.run("history", "1", "--html", "evidence.html")
    text = Path(world.root / "evidence.html").read_text()
    assert ran.exit == 0
    assert "&lt;b&gt;v1" in text
    assert "<b>" not in text
    assert 'http-equiv="refresh' not in text
    assert "<script" not in text
    assert "default-src 'none'" in text


def test_history_refuses_what_is_not_a_rollout(world: MemoryWorld) -> None:
    assert world.run("history", "../../etc").exit == 2
    assert world.run("history", "7").exit == 2


def test_logs_are_data_and_cannot_move_the_cursor(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("logs")
    assert ran.exit == 0, ran.err
    assert "1970-01-01T00:00:01.000+00:00  one" in ran.out
    assert "two \\x1b[31mred" in ran.out
    assert "\x1b" not in ran.out
    first = world.run("logs", "--json", "-n", "1").objects[0]
    assert (first["time"], first["host"], first["line"]) == (
        "1970-01-01T00:00:02.000+00:00", "blue-1", "two \x1b[31mred",
    )  # fmt: skip


def test_logs_of_an_empty_colour_are_refused_with_a_way_on(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("logs", "--colour", "green")
    assert ran.exit == 2
    assert "no replica is in green's slots" in ran.err
    assert world.run("logs", "--colour", "red").exit == 2


def test_exec_exits_as_the_command_and_its_words_stay_words(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.reach.exit = 7
    ran = world.run("exec", "--json", "--", "sh", "-c", "exit 7; $(x)", "--json")
    assert ran.exit == 7
    assert world.reach.commands[0].argv == ("sh", "-c", "exit 7; $(x)", "--json")
    assert ran.end["runs"] == [{"host": "blue-1", "exit": 7, "stdout": "hello\n", "stderr": ""}]


def test_exec_refuses_a_terminal_that_is_not_there(world: MemoryWorld) -> None:
    assert world.run("exec", "-t", "--", "sh").exit == 2
    assert world.run("exec", "--all", "--host", "blue-1", "--", "sh").exit == 2


def test_hosts_says_which_key_is_missing(world: MemoryWorld) -> None:
    ran = world.run("hosts")
    assert "blue-1 (home)" in ran.out
    assert "SHA256:known" in ran.out
    assert "not in .celadon/known_hosts" in ran.out


def test_trust_takes_only_the_fingerprint_that_was_expected(world: MemoryWorld) -> None:
    file = world.root / ".celadon" / "known_hosts"
    wrong = world.run("hosts", "trust", "green-1", "--fingerprint", "SHA256:other")
    assert wrong.exit == 2
    assert "nothing was written" in wrong.err
    assert not file.exists()
    right = world.run("hosts", "trust", "green-1", "--fingerprint", "SHA256:abc")
    assert right.exit == 0, right.err
    assert file.read_text() == "192.0.2.11 ssh-ed25519 AAAAgreen-1\n"


def test_yes_is_no_answer_to_a_host_key(world: MemoryWorld) -> None:
    ran = world.run("hosts", "trust", "green-1", "--yes")
    assert ran.exit == 2
    assert "--fingerprint SHA256:" in ran.err
    assert not (world.root / ".celadon" / "known_hosts").exists()


def test_check_finds_everything_well(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("check", "v2")
    assert ran.exit == 0, ran.out
    assert "✓ home         blue-1 keeps lease, intent and journal" in ran.out
    assert "✓ rollout      could open now" in ran.out


def test_check_tries_the_release_on_a_host_of_the_idle_colour(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("check", "v2", "--slow", "/report")
    ((host, trial),) = world.reach.trials
    assert (host, trial.colour.value, trial.release.version, trial.slow) == ("green-1", "green", "v2", "/report")
    assert "✓ trial        v2 was started on green-1, looked at and removed" in ran.out
    assert "✓ stop         ended 0.3 s after SIGTERM (killed after 40 s)" in ran.out
    assert "! start" not in ran.out  # what the command was not known to do, the trial has shown
    assert world.run("check", "v2", "--slow", "report").exit == 2


def test_check_starts_nothing_where_it_could_be_in_the_way(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    assert "not started (--no-start)" in world.run("check", "v2", "--no-start").out
    assert world.run("check").exit == 0
    world.run("deploy", "v2", "--yes", "--until", "commit")
    assert "not started: rollout 2 is open" in world.run("check", "v3").out
    world.run("abort")
    world.hosts.machines["green-1"].disk_free = 1000
    assert "not started: no host of green is fit for it" in world.run("check", "v3").out
    assert world.reach.trials == []


def test_a_first_deploy_is_no_warning(world: MemoryWorld) -> None:
    ran = world.run("check", "v1")
    assert ran.exit == 0
    assert "✓ live         nothing serves yet" in ran.out
    assert "all is well" in ran.err
    assert [host for host, _ in world.reach.trials] == ["blue-1"]


def test_check_says_how_a_machine_was_made(world: MemoryWorld) -> None:
    world.hosts.machines["green-1"].first_boot = "cloud-init is still at work"
    ran = world.run("check", "--json")
    (found,) = [check for check in ran.end["checks"] if check["name"] == "green-1"]
    assert (found["grade"], found["text"]) == ("warning", "cloud-init is still at work")


def test_check_tells_every_problem_at_once(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.hosts.machines["green-1"].reachable = False
    world.hosts.machines["blue-1"].disk_free = 1000
    ran = world.run("check", "--json")
    assert (ran.exit, ran.end["result"]) == (2, "refused")
    bad = {check["name"] for check in ran.end["checks"] if check["grade"] == "failed"}
    assert {"blue-1", "green-1"} <= bad


def test_check_says_when_another_colour_is_in_the_way(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    green = SLOTS[next(colour for colour in SLOTS if colour.value == "green")][0]

    async def accept() -> None:
        facts = await world.balancer.read()
        node = next(node for node in facts.configs[0].nodes if node.address == green.node_address)
        await world.balancer.set_node(node, Mode.ACCEPT, 100, 1.0)

    asyncio.run(accept())
    assert world.run("check").exit == 2


def test_check_offline_contacts_nothing(world: MemoryWorld) -> None:
    ran = world.run("check", "--offline")
    assert ran.exit == 0
    assert world.needs == []
