"""Replicas as containers, on a real Docker Engine."""

import contextlib
import http.client
import json
import os
import socket
import threading
from typing import Any

import pytest
from tests.agent.slots import own_slot, until
from tests.rig.docker_world import World

from celadon.agent import counting
from celadon.agent.errors import AgentError

pytestmark = pytest.mark.slow  # a real Docker Engine


def get(slot: dict[str, Any], path: str = "/") -> dict[str, Any]:
    connection = http.client.HTTPConnection(slot["address"], slot["port"], timeout=30)
    try:
        connection.request("GET", path)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def started(world: World, variant: Any = "good", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    release, slot = world.release(variant, **more), own_slot()
    world.docker.start(world.app, world.place(release, slot))
    return release, slot


def listening(world: World, slot: dict[str, Any]) -> None:
    until(lambda: world.facts(slot), lambda facts: bool(facts["listening"]), "the replica listens")


def test_a_replica_is_what_its_placement_says(world: World) -> None:
    words = ["python3", "-u", "/app/app.py", "{host}:{port}", "{version}", "{other}", "$(id) 'quoted'"]
    release, slot = started(world, command=words)
    listening(world, slot)
    seen = get(slot)
    assert seen["version"] == release["version"]
    assert seen["argv"] == ["0.0.0.0:8000", release["version"], "{other}", "$(id) 'quoted'"]
    found = world.container(release, slot)
    assert found["Config"]["Labels"] == {
        "celadon.app": world.app,
        "celadon.release": release["id"],
        "celadon.rollout": "3",
        "celadon.colour": "blue",
        "celadon.host": "web-1",
        "celadon.port": str(slot["port"]),
        "celadon.container_port": "8000",
    }
    assert found["Config"]["StopTimeout"] == 8
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert found["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    published = found["NetworkSettings"]["Ports"]
    assert published == {"8000/tcp": [{"HostIp": slot["address"], "HostPort": str(slot["port"])}]}


def test_settings_reach_the_application_and_no_command_line(world: World) -> None:
    world.env["HOSTILE"] = "line one\nline two $(id) `id` '\" \\"
    release, slot = started(world)
    listening(world, slot)
    env = get(slot, "/env")["env"]
    assert env["HOSTILE"] == world.env["HOSTILE"]
    assert env["SECRET_KEY"] == "sentinel-of-this-test"
    config = world.container(release, slot)
    assert "sentinel" not in json.dumps([config["Path"], config["Args"], config["Config"]["Labels"], config["Name"]])


def test_starting_twice_is_starting_once(world: World) -> None:
    release, slot = started(world)
    first = world.container(release, slot)
    world.docker.start(world.app, world.place(release, slot))
    again = world.container(release, slot)
    assert (again["Id"], again["State"]["StartedAt"]) == (first["Id"], first["State"]["StartedAt"])


def test_a_container_that_was_made_and_never_started_is_finished(world: World) -> None:
    release, slot = world.release(), own_slot()
    name = f"celadon-{world.app}-{release['id']}-{slot['host']}-{slot['port']}"
    recipe = world.docker.recipe(world.app, world.place(release, slot), slot["address"])
    world.engine.engine.post("/containers/create", {"name": name}, recipe)
    before = world.facts(slot)["replica"]
    assert (before["running"], before["exit_code"]) == (False, None)
    world.docker.start(world.app, world.place(release, slot))
    listening(world, slot)
    assert len(world.engine.containers()) == 1


def test_a_stopped_replica_is_started_afresh_with_todays_labels_and_settings(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    before = world.container(release, slot)["Id"]
    world.docker.stop(world.app, release["id"], slot, 5)
    world.env["SECRET_KEY"] = "rotated"
    world.docker.start(world.app, world.place(release, slot, colour="green"))
    listening(world, slot)
    assert world.container(release, slot)["Id"] != before
    assert world.facts(slot)["replica"]["colour"] == "green"
    assert get(slot, "/env")["env"]["SECRET_KEY"] == "rotated"


def test_facts_of_a_running_replica(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    facts = world.facts(slot, release["id"])
    assert facts["replica"] | {"id": ""} == {
        "release": release["id"],
        "id": "",
        "running": True,
        "restarts": 0,
        "exit_code": None,
        "colour": "blue",
        "rollout": 3,
    }
    assert facts["pid"] == world.container(release, slot)["State"]["Pid"]
    assert (facts["foreign"], facts["container_port"], facts["note"]) == (None, 8000, "")


def test_an_empty_slot_is_vacant(world: World) -> None:
    facts = world.facts(own_slot())
    assert facts == {
        "replica": None,
        "foreign": None,
        "remedy": "",
        "listening": False,
        "pid": None,
        "container_port": None,
        "note": "",
    }


def test_a_stop_lets_what_has_begun_end_and_counts_it(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    answers: list[dict[str, Any]] = []
    request = threading.Thread(target=lambda: answers.append(get(slot, "/slow?seconds=1")))
    request.start()
    pid = world.facts(slot)["pid"]
    until(lambda: _open(pid), lambda is_open: is_open == 1, "the request is under way")
    assert world.docker.stop(world.app, release["id"], slot, 20) == 1
    request.join()
    assert answers[0]["version"] == release["version"]
    facts = world.facts(slot)
    assert (facts["replica"]["running"], facts["replica"]["exit_code"], facts["pid"]) == (False, 0, None)
    assert world.docker.stop(world.app, release["id"], slot, 20) == 0


def _open(pid: int) -> int | None:
    return counting.open_now(pid, 8000)


def test_who_ignores_sigterm_is_killed_after_the_grace(world: World) -> None:
    release, slot = started(world, "stubborn")
    listening(world, slot)
    world.docker.stop(world.app, release["id"], slot, 1)
    facts = world.facts(slot)
    assert facts["replica"]["exit_code"] == 137
    assert facts["note"].startswith("killed (signal 9)")
    assert "SIGTERM ignored" in world.docker.tail(world.app, release["id"], slot, 20)


def test_stopping_what_was_never_there_is_done(world: World) -> None:
    assert world.docker.stop(world.app, "0123456789", own_slot(), 5) == 0


def test_a_crash_loop_shows_restarts_and_its_last_words(world: World) -> None:
    release, slot = started(world, "crash")
    facts = until(lambda: world.facts(slot), lambda facts: facts["replica"]["restarts"] >= 3, "three restarts")
    assert facts["listening"] is False
    dead = until(lambda: world.facts(slot), lambda facts: not facts["replica"]["running"], "between two runs")
    assert dead["replica"]["exit_code"] == 3
    assert "RuntimeError: no database" in world.docker.tail(world.app, release["id"], slot, 5)
    world.docker.stop(world.app, release["id"], slot, 1)
    assert world.facts(slot)["replica"]["running"] is False


def test_each_start_of_the_process_has_an_id_of_its_own(world: World) -> None:
    _, slot = started(world, "crash_later")
    first = world.facts(slot)["replica"]["id"]
    until(lambda: world.facts(slot)["replica"], lambda replica: replica["id"] != first, "another id after a crash")


@pytest.mark.parametrize("variant", ["wrong_port", "loopback_only"])
def test_a_replica_out_of_reach_runs_and_does_not_listen(world: World, variant: Any) -> None:
    release, slot = started(world, variant)
    until(
        lambda: world.docker.tail(world.app, release["id"], slot, 5),
        lambda lines: any(line.startswith("listening on") for line in lines),
        "the application is up",
    )
    facts = world.facts(slot)
    assert (facts["replica"]["running"], facts["listening"]) == (True, False)


def test_a_program_that_is_not_in_the_image_is_refused_and_leaves_nothing(world: World) -> None:
    with pytest.raises(AgentError, match="does not start") as error:
        started(world, "no_program")
    assert error.value.kind == "refused"
    assert "/no/such/program" in error.value.message
    assert world.engine.containers() == []


def test_a_release_whose_image_is_not_here_is_refused(world: World) -> None:
    release, slot = world.release(), own_slot()
    release["artifact"] = world.artifact("good", "never-pulled", env={"ANOTHER": "image"})
    with pytest.raises(AgentError, match="No such image") as error:
        world.docker.start(world.app, world.place(release, slot))
    assert error.value.kind == "refused"


def test_an_unmanaged_container_is_named_and_never_touched(world: World) -> None:
    slot = own_slot()
    container = world.unmanaged(f"{world.app}-by-hand", slot)
    facts = world.facts(slot)
    assert facts["replica"] is None
    assert facts["foreign"].startswith(f"container {world.app}-by-hand (")
    assert facts["remedy"] == f"docker rm -f {world.app}-by-hand"
    with pytest.raises(AgentError, match=f"held by container {world.app}-by-hand") as error:
        world.docker.start(world.app, world.place(world.release(), slot))
    assert error.value.kind == "refused"
    assert f"docker rm -f {world.app}-by-hand" in str(error.value.hint)
    assert world.engine.containers() == [container]
    assert world.engine.engine.get(f"/containers/{container}/json")["State"]["Running"]


def test_a_container_that_publishes_on_every_address_is_in_the_way_and_one_elsewhere_is_not(world: World) -> None:
    slot = own_slot()
    world.unmanaged(f"{world.app}-elsewhere", {**own_slot(), "port": slot["port"]})
    assert world.facts(slot)["foreign"] is None
    other = own_slot()
    world.unmanaged(f"{world.app}-everywhere", {**other, "address": "0.0.0.0"})
    assert f"{world.app}-everywhere" in world.facts(other)["foreign"]


def test_a_process_that_listens_is_named_and_never_touched(world: World) -> None:
    slot = own_slot()
    with socket.create_server((slot["address"], slot["port"])):
        assert f"(pid {os.getpid()})" in world.facts(slot)["foreign"]
        with pytest.raises(AgentError, match="is held by process") as error:
            world.docker.start(world.app, world.place(world.release(), slot))
    assert error.value.kind == "refused"
    assert world.engine.containers() == []


def test_a_name_that_somebody_else_took_is_refused(world: World) -> None:
    release, slot = world.release(), own_slot()
    name = f"celadon-{world.app}-{release['id']}-{slot['host']}-{slot['port']}"
    container = world.unmanaged(name, own_slot())
    with pytest.raises(AgentError, match="did not make") as error:
        world.docker.start(world.app, world.place(release, slot))
    assert error.value.kind == "refused"
    with pytest.raises(AgentError, match="did not make"):
        world.docker.stop(world.app, release["id"], slot, 1)
    assert world.engine.containers() == [container]


def test_another_release_in_the_slot_is_shown_and_not_replaced(world: World) -> None:
    old, slot = started(world)
    new = world.release()
    assert world.facts(slot, new["id"])["replica"]["release"] == old["id"]
    with pytest.raises(AgentError, match=f"release {old['id']} still runs there"):
        world.docker.start(world.app, world.place(new, slot))
    world.docker.stop(world.app, old["id"], slot, 5)
    world.docker.start(world.app, world.place(new, slot))
    assert world.facts(slot)["replica"]["release"] == new["id"]


def test_after_a_restart_of_the_engine_only_what_was_not_stopped_runs(world: World) -> None:
    stopped, stopped_slot = started(world)
    running, running_slot = started(world)
    world.docker.stop(world.app, stopped["id"], stopped_slot, 5)
    world.engine.restart()
    until(lambda: world.facts(running_slot), lambda facts: bool(facts["listening"]), "the other one is back")
    assert world.facts(running_slot)["replica"]["release"] == running["id"]
    assert world.facts(stopped_slot)["replica"]["running"] is False


def test_what_had_exited_before_it_was_stopped_stays_down_too(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    with contextlib.ExitStack() as taken:
        world.engine.restart(lambda: taken.enter_context(socket.create_server((slot["address"], slot["port"]))))
        assert world.facts(slot)["replica"]["running"] is False
        assert world.docker.stop(world.app, release["id"], slot, 5) == 0
    _, other_slot = started(world)
    world.engine.restart()
    until(lambda: world.facts(other_slot), lambda facts: bool(facts["listening"]), "the Engine is done starting others")
    assert world.facts(slot)["replica"]["running"] is False
    world.docker.start(world.app, world.place(release, slot))
    listening(world, slot)


def test_prune_takes_what_this_app_and_host_left_and_nothing_else(world: World) -> None:
    old, here = started(world)
    kept, kept_slot = started(world)
    busy, busy_slot = started(world)
    elsewhere, elsewhere_slot = world.release(), own_slot("web-2")
    world.docker.start(world.app, world.place(elsewhere, elsewhere_slot))
    for release, slot in ((old, here), (kept, kept_slot), (elsewhere, elsewhere_slot)):
        world.docker.stop(world.app, release["id"], slot, 5)
    never_started = world.release()
    world.docker.prune(world.app, [kept["id"]], "web-1", [never_started["artifact"], busy["artifact"]])
    assert world.facts(here)["replica"] is None
    assert world.facts(kept_slot)["replica"]["release"] == kept["id"]
    assert world.facts(elsewhere_slot)["replica"]["release"] == elsewhere["id"]
    assert world.facts(busy_slot)["replica"]["running"] is True
    present = world.docker.artifacts(world.app)
    assert old["artifact"] not in present
    assert never_started["artifact"] not in present
    assert {kept["artifact"], busy["artifact"], elsewhere["artifact"]} <= set(present)
    world.docker.prune(world.app, [kept["id"]], "web-1", [never_started["artifact"]])


def test_an_image_that_another_container_needs_survives_prune(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    world.docker.stop(world.app, release["id"], slot, 5)
    other = own_slot("web-2")
    world.docker.start(world.app, world.place(release, other))
    world.docker.prune(world.app, [], "web-1")
    assert world.facts(slot)["replica"] is None
    assert release["artifact"] in world.docker.artifacts(world.app)
    assert world.facts(other)["replica"]["running"] is True


def test_the_log_is_readable_after_death_and_bounded_by_lines(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    world.docker.stop(world.app, release["id"], slot, 5)
    tail = world.docker.tail(world.app, release["id"], slot, 20)
    assert sorted(tail) == sorted(["starting good", "a line for stderr", "listening on 8000", "bye"])
    assert world.docker.tail(world.app, release["id"], slot, 1) == ["bye"]
    assert world.docker.tail(world.app, "0123456789", slot, 5) == []


def test_a_kill_by_the_kernel_is_said_also_where_the_engine_missed_why(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    container = world.container(release, slot)["Id"]
    world.engine.engine.post(f"/containers/{container}/stop", {"t": "1"})
    world.engine.engine.delete(f"/containers/{container}")
    labels = {
        "celadon.app": world.app,
        "celadon.release": release["id"],
        "celadon.colour": "blue",
        "celadon.host": slot["host"],
        "celadon.port": str(slot["port"]),
        "celadon.container_port": "8000",
    }
    recipe = {
        "Image": release["artifact"],
        "Labels": labels,
        "Cmd": ["python3", "-c", "x = b'x' * 200_000_000"],
        "HostConfig": {"Memory": 24 << 20, "MemorySwap": 24 << 20},
    }
    name = f"celadon-{world.app}-{release['id']}-{slot['host']}-{slot['port']}"
    made = world.engine.engine.post("/containers/create", {"name": name}, recipe)["Id"]
    world.engine.engine.post(f"/containers/{made}/start")
    facts = until(lambda: world.facts(slot), lambda facts: not facts["replica"]["running"], "it is killed")
    # About one such death in sixty reaches the Engine without the kernel's reason, when the machine is busy.
    assert facts["replica"]["exit_code"] == 137
    assert facts["note"].startswith(("killed by the kernel: out of memory", "killed (signal 9), by the kernel"))
    assert world.docker.tail(world.app, release["id"], slot, 5)[-1].startswith("killed ")


def test_a_log_is_followed_until_nobody_wants_it(world: World) -> None:
    release, slot = started(world, "stubborn")
    listening(world, slot)
    cancelled = threading.Event()
    seen: list[tuple[float | None, str]] = []
    reader = threading.Thread(
        target=lambda: seen.extend(world.docker.log(world.app, release["id"], slot, 100, cancelled))
    )
    reader.start()
    world.engine.engine.post(f"/containers/{world.container(release, slot)['Id']}/kill", {"signal": "TERM"})
    until(
        lambda: world.docker.tail(world.app, release["id"], slot, 100),
        lambda lines: "SIGTERM ignored" in lines,
        "the line is in the log",
    )
    again = list(world.docker.log(world.app, release["id"], slot, 100))
    assert reader.is_alive()
    cancelled.set()
    reader.join(20)
    assert not reader.is_alive()
    assert [line for _, line in again] == world.docker.tail(world.app, release["id"], slot, 100)
    assert [line for _, line in seen][:3] == [line for _, line in again][:3]
    assert all(at is not None and at > 1.7e9 for at, _ in [*seen, *again])


def test_a_followed_log_ends_with_its_replica(world: World) -> None:
    release, slot = started(world)
    listening(world, slot)
    seen: list[str] = []
    follow = world.docker.log(world.app, release["id"], slot, 100, threading.Event())
    reader = threading.Thread(target=lambda: seen.extend(entry.line for entry in follow))
    reader.start()
    until(lambda: list(seen), lambda lines: "listening on 8000" in lines, "what was there already comes at once")
    world.docker.stop(world.app, release["id"], slot, 10)
    reader.join(20)
    assert seen[-1] == "bye"
