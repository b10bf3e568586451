"""The runtime on real hosts: an Engine with packet filter rules, an address on an interface, SSH as the way in."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.agent.docker.remote import PROGRAM, Remote
from tests.agent.slots import until
from tests.rig.app_images import AppImages
from tests.rig.netns_hosts import DockerHost, Lab

import celadon

pytestmark = pytest.mark.slow  # a real Docker Engine and hosts of its own


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def over_ssh(lab: Lab, host: DockerHost, *words: str) -> list[str]:
    return [*lab.enter, "ssh", "-F", str(lab.ssh_config), host.name, "--", *words]


@pytest.fixture
def lab(docker_hosts: Callable[[int], Lab]) -> Lab:
    return docker_hosts(2)


def test_hosts_are_machines_of_their_own(lab: Lab) -> None:
    names = [run(*over_ssh(lab, host, "hostname")).strip() for host in lab.hosts]
    assert names == ["web-1", "web-2"]
    for host in lab.hosts:
        assert run(*over_ssh(lab, host, "docker", "ps", "-q")) == ""
        assert run(*over_ssh(lab, host, "ls", "/var/lib/celadon", "2>/dev/null", "||", "true")) == ""


def test_the_lab_has_no_way_out(lab: Lab) -> None:
    routes = run(*lab.enter, "ip", "route")
    assert [line.split()[0] for line in routes.splitlines()] == ["192.168.128.0/17"]


def test_a_replica_is_reached_at_its_private_address_only_and_counted(lab: Lab, app_images: AppImages) -> None:
    digest = app_images.publish("hosts/app")
    first, second = lab.hosts
    release = {
        "id": "0123456789",
        "version": "v1",
        "artifact": f"{lab.registry_address}/hosts/app@{digest}",
        "command": [],
        "container_port": 8000,
        "stop_timeout": 5,
    }
    slot = {"host": first.name, "address": first.address, "port": 5000}
    source = Path(celadon.__file__).parent.parent
    words = ("env", f"PYTHONPATH={source}", "/usr/bin/python3", "-c", f"'{PROGRAM}'")
    agent = Remote(over_ssh(lab, first, *words))
    try:
        assert agent.ask("put_artifact", "app", release) > 0
        agent.ask("start", "app", {"release": release, "slot": slot, "colour": "blue", "rollout": 1})
        until(lambda: agent.ask("facts", "app", {"slot": slot})["listening"], bool, "the replica listens")
        assert agent.ask("count", "app", slot) == [0, 0]
        for viewer in (list(lab.enter), list(second.inside)):
            assert '"version": ""' in run(*viewer, "/usr/bin/python3", "-c", _get(f"http://{first.address}:5000/"))
        until(lambda: agent.ask("count", "app", slot), lambda count: count == [0, 2], "both requests were counted")
        with pytest.raises(AssertionError, match="refused"):
            run(*first.inside, "/usr/bin/python3", "-c", _get("http://127.0.0.1:5000/"))
        slow = subprocess.Popen(
            [*lab.enter, "/usr/bin/python3", "-c", _get(f"http://{first.address}:5000/slow?seconds=2")],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: agent.ask("count", "app", slot), lambda count: count == [1, 3], "one open request")
        assert agent.ask("stop", "app", release["id"], slot, 20) == 1
        assert slow.wait(20) == 0
        assert agent.ask("count", "app", slot) == [0, 0]
    finally:
        agent.close()


def _get(url: str) -> str:
    return f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=30).read().decode())"


def test_a_host_that_loses_power_takes_only_itself(docker_hosts: Callable[[int], Lab]) -> None:
    lab = docker_hosts(1)  # a lab of its own: nobody else wants a dead host
    host = lab.hosts[0]
    assert not _gone(host.inside)
    host.kill()
    until(lambda: _gone(host.inside), bool, "its processes are gone")


def _gone(inside: Sequence[str]) -> bool:
    return not Path(f"/proc/{inside[2]}/exe").exists()
