"""Verbs that drive, on the real loop in memory: what they print where, and how they exit."""

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from celadon.adapters.memory import MemoryHosts
from celadon.core.errors import Refused
from celadon.core.intent import Hook
from celadon.ports import CommandResult
from tests.cli.worlds import TIMING, MemoryWorld

pytestmark = pytest.mark.slow  # whole rollouts through the command line


def test_a_deploy_prints_its_summary_on_stdout_and_its_talk_on_stderr(world: MemoryWorld) -> None:
    ran = world.run("deploy", "v1", "--yes")
    assert ran.exit == 0, ran.err
    assert ran.out.startswith("shop v1 is live on blue")
    assert "95 % sure: below" in ran.out
    assert "way back    none: this is the first release" in ran.out
    assert "prepare: settings to blue-1" in ran.err
    assert "prepare" not in ran.out


def test_a_second_deploy_moves_to_the_other_colour_and_names_the_way_back(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("deploy", "v2", "--yes")
    assert ran.exit == 0, ran.err
    assert ran.out.startswith("shop v2 is live on green")
    assert "celadon rollback (v1 is kept)" in ran.out
    assert "shop v1 (blue, live) → v2 (green), blue-green, about" in ran.err


def test_deploying_what_is_live_changes_nothing(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    before = list(world.balancer.changes)
    ran = world.run("deploy", "v1", "--yes")
    assert (ran.exit, world.balancer.changes) == (0, before)
    assert "is live already" in ran.out
    again = world.run("deploy", "v1", "--yes", "--json")
    assert (again.end["live_colour"], again.end["rollout"]) == ("blue", 1)


def test_without_yes_and_off_a_terminal_nothing_is_changed(world: MemoryWorld) -> None:
    ran = world.run("deploy", "v1")
    assert ran.exit == 2
    assert ran.out == ""
    assert "hint: add --yes" in ran.err
    assert ran.err.endswith("Nothing was changed.\n")
    assert world.balancer.changes == []


def test_json_streams_events_and_ends_with_one_object(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("deploy", "v2", "--yes", "--json")
    *events, end = ran.objects
    assert {"at", "event", "because"} <= events[0].keys()
    assert {event["event"] for event in events} >= {"put_settings", "start", "set_node", "committed", "stop", "finish"}
    assert list(end)[:6] == ["format", "app", "result", "exit", "error", "next"]
    assert (end["app"], end["result"], end["exit"], end["error"]) == ("shop", "done", 0, None)
    assert (end["from"]["version"], end["to"]["version"], end["live_colour"]) == ("v1", "v2", "green")
    assert {
        "rollout",
        "requests",
        "failed",
        "served_by",
        "connections",
        "switch_lag_s",
        "cut",
        "evidence",
    } <= end.keys()
    assert ran.err == ""


def test_a_sick_candidate_exits_3_and_tells_why(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.make_sick("v2")
    ran = world.run("deploy", "v2", "--yes")
    assert ran.exit == 3
    assert ran.out == ""
    assert "rolled back: v2" in ran.err
    assert "v1 kept all traffic" in ran.err
    assert "celadon logs --colour green" in ran.err
    assert "Nothing was changed." not in ran.err


def test_what_a_host_refuses_is_said_once_with_what_to_do(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise Refused("green-1: v2: the disk of Docker is full", hint="on the host: docker system df")

    world.run("deploy", "v1", "--yes")
    monkeypatch.setattr(MemoryHosts, "put_artifact", full)
    ran = world.run("deploy", "v2", "--yes")
    assert ran.exit == 3
    told = ran.err[ran.err.index("rolled back: ") :].splitlines()
    assert told[0] == "rolled back: green-1: v2: the disk of Docker is full"
    assert [line for line in told[1:] if "disk" in line] == []
    assert told[-1].startswith("hint: on the host: docker system df · more: celadon logs --colour green")


def test_a_failed_test_shows_its_output(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.tests = (Hook(name="smoke", command=("pytest",)),)
    world.commands.result = CommandResult(ok=False, lines=("E  assert 500 == 200", "1 failed"))
    ran = world.run("deploy", "v2", "--yes", "--json")
    assert (ran.exit, ran.end["result"]) == (3, "rolled_back")
    assert "  | E  assert 500 == 200" in ran.end["evidence"]["details"]


def test_a_first_deploy_that_fails_says_that_nothing_serves(world: MemoryWorld) -> None:
    world.make_sick("v1")
    ran = world.run("deploy", "v1", "--yes")
    assert ran.exit == 3
    assert "nothing serves: this was the first release" in ran.err


def test_until_commit_leaves_stable_warm_and_resume_finishes(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    ran = world.run("deploy", "v2", "--yes", "--until", "commit")
    assert ran.exit == 0, ran.err
    assert "is warm: only the balancer changes" in ran.out
    assert world.run("status", "--json").end["rollout"] is not None
    assert world.run("resume").exit == 0
    assert world.run("status", "--json").end["rollout"] is None


def test_rollback_in_the_bake_goes_back_and_exits_0(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes", "--until", "commit")
    ran = world.run("rollback", "--json")
    assert (ran.exit, ran.end["result"], ran.end["live_colour"]) == (0, "rolled_back", "blue")


def test_rollback_after_the_rollout_starts_the_kept_release(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes")
    ran = world.run("rollback")
    assert ran.exit == 0, ran.err
    assert ran.out.startswith("shop v1 is live on blue")


def test_going_back_asks_for_no_secret_and_runs_no_secrets_command(world: MemoryWorld) -> None:
    world.run("rollback")
    world.run("abort")
    rollback, abort = world.needs
    assert not rollback.secrets_command
    assert not rollback.secrets_must
    assert not abort.secrets


@pytest.mark.parametrize("verb", ["resume", "promote", "pause", "abort"])
def test_without_an_open_rollout_these_are_refused(world: MemoryWorld, verb: str) -> None:
    ran = world.run(verb)
    assert ran.exit == 2
    assert ran.err.startswith("error: no rollout is open\n")
    assert ran.out == ""


def test_a_refusal_has_the_shape_of_every_json_answer(world: MemoryWorld) -> None:
    world.refusal = Refused(
        "no", hint="celadon check --host blue-1 · or: celadon status", where="blue-1", details=("d",)
    )
    end = world.run("deploy", "v1", "--json").end
    assert (end["format"], end["app"], end["result"], end["exit"]) == (1, "shop", "refused", 2)
    assert end["error"] == {
        "code": "refused",
        "where": "blue-1",
        "message": "no",
        "details": ["d"],
        "hint": "celadon check --host blue-1 · or: celadon status",
    }
    assert end["next"] == ["celadon check --host blue-1", "celadon status"]


def test_a_plan_changes_nothing_and_its_id_is_taken_by_deploy(world: MemoryWorld) -> None:
    plan = world.run("plan", "v1", "--json").end
    assert {"plan_id", "from", "to", "changes", "steps", "seconds"} <= plan.keys()
    assert world.balancer.changes == []
    assert world.run("deploy", "v1", "--yes", "--plan", plan["plan_id"]).exit == 0
    stale = world.run("deploy", "v2", "--yes", "--plan", plan["plan_id"])
    assert stale.exit == 2
    assert stale.err.endswith("Nothing was changed.\n")


def test_quiet_prints_only_the_result(world: MemoryWorld) -> None:
    ran = world.run("deploy", "v1", "--yes", "-q")
    assert (ran.exit, ran.err) == (0, "")
    assert ran.out.startswith("shop v1 is live on blue")


def test_hold_waits_and_pause_says_where(world: MemoryWorld) -> None:
    world.run("deploy", "v1", "--yes")
    world.run("deploy", "v2", "--yes", "--until", "commit")
    ran = world.run("pause", "--json")
    assert (ran.exit, ran.end["rollout"]) == (0, 2)
    assert world.run("status").out.count("paused") == 1
    assert world.run("resume").exit == 0


@pytest.mark.parametrize("json", [False, True])
def test_who_aborts_sees_what_the_other_driver_does(json: bool, world: MemoryWorld) -> None:  # noqa: FBT001 - a case
    world.run("deploy", "v1", "--yes")
    # Two commands share this process and a busy machine: no time that a slow moment could use up.
    world.timing = msgspec.structs.replace(
        TIMING, bake=600.0, deadline=600.0, start_within=60.0, up_within=60.0, lost=60.0, verify_within=60.0, lease=3.0
    )
    with ThreadPoolExecutor(1) as elsewhere:
        deploying = elsewhere.submit(world.run, "deploy", "v2", "--yes", "--quiet")
        give_up = time.monotonic() + 60.0
        while "committed: all traffic" not in world.run("history", "2").out:
            assert time.monotonic() < give_up, deploying.done()
            time.sleep(0.1)
        ran = world.run("abort", *(["--json"] if json else []))
        assert deploying.result(60.0).exit == 3
    assert ran.exit == 0, ran.err
    if json:
        told = [line["event"] for line in ran.objects[:-1]]
        assert told[0] != "opened"
        assert {"returning", "asked", "stopped", "finished"} <= set(told)
    else:
        assert "going back: asked for by me@here" in ran.err
        assert "finished, rolled_back" in ran.err
        assert "opened: preflight passed" not in ran.err
        assert ran.out.startswith("shop v1 is live on blue")


def test_an_application_that_does_not_say_who_it_is_is_counted(world: MemoryWorld) -> None:
    world.door.silent = True
    first = world.run("deploy", "v1", "--yes")
    assert "unproven: no answer said which release gave it" in first.out
    world.with_visitors()
    world.timing = msgspec.structs.replace(world.timing, bake=0.3, quiet=0.0)
    ran = world.run("deploy", "v2", "--yes", "--until", "commit", "--json")
    assert ran.end["served_by"].keys() == {"unproven"}
    figures = ran.end["connections"][ran.end["to"]["id"]]
    assert figures["counted"] > 3
    told = world.run("history", "2").out
    assert "by connections counted (not by answers)" in told
    assert f"v2 {figures['counted']:,} ± {figures['error']:,}" in told


def test_a_test_port_without_a_config_is_refused_with_the_way_to_make_one(world: MemoryWorld) -> None:
    world.test_port = 8081
    ran = world.run("deploy", "v1", "--yes", "--json")
    assert (ran.exit, ran.end["result"]) == (2, "refused")
    assert ran.end["error"]["message"] == "app-nodebalancer has no config for the test port 8081"
    assert "linode-cli nodebalancers config-create 1 --port 8081" in ran.end["error"]["hint"]
    assert world.balancer.changes == []


def test_going_back_does_not_need_the_test_port(world: MemoryWorld) -> None:
    for version in ("v1", "v2"):
        assert world.run("deploy", version, "--yes").exit == 0
    world.test_port = 8081
    ran = world.run("rollback", "--yes")
    assert ran.exit == 0, ran.err
    assert "v1 is live" in ran.out
