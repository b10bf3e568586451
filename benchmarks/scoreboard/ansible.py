"""Ansible from the package index, in a virtual environment of its own, with `serial: 1`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoreboard.contender import PLAIN, Asked, Job
from benchmarks.scoreboard.ground import SETTLE, WITHIN, Ground
from benchmarks.scoreboard.peer import Peer, version_of
from tests.rig.base_image import cache

from celadon.core.errors import Unavailable

PACKAGE = "ansible==12.3.0"  # the newest for Python 3.11, with the community.docker collection inside


class Ansible(Peer):
    name = "ansible"
    title = "Ansible, serial 1"
    method = (
        "`community.docker.docker_container` with `serial: 1`, `wait_for`, a health check and a pause for the "
        "NodeBalancer's. Rollback: the tag before."
    )
    files = ("rolling.yml",)
    playbook = "rolling.yml"

    def versions(self) -> Sequence[str]:
        return (PACKAGE.replace("==", " "), version_of(str(environment() / "ansible-playbook"), "--version"))

    async def prepare(self, ground: Ground) -> None:
        await super().prepare(ground)
        hosts = "\n".join(host.name for host in ground.lab.hosts)
        (ground.project / "hosts.ini").write_text(f"[web]\n{hosts}\n")
        (ground.project / "ansible.cfg").write_text(
            "[defaults]\ninterpreter_python = /usr/bin/python3\n"
            f"[ssh_connection]\nssh_common_args = -F {ground.lab.ssh_config}\n"
            f"control_path_dir = {ground.folder}/cp\n"
        )

    def deploy(self, ground: Ground, version: str, asked: Asked = PLAIN) -> Job:
        told = {
            "tag": version, "image": ground.repository, "health": asked.health, "greeting": asked.greeting,
            "within": WITHIN, "settle": SETTLE, "nodes": ground.api + ground.nodes_path,
        }  # fmt: skip
        program = str(environment() / "ansible-playbook")
        argv = (program, "--inventory", "hosts.ini", self.playbook, "--extra-vars", json.dumps(told))
        return Job(argv, ground.project, {**self.environ(ground, asked), "LC_ALL": "C.UTF-8"})


class AnsibleDrained(Ansible):
    """As its own documentation has rolling updates: out of the balancer, replaced, back in."""

    name = "ansible-drained"
    title = "Ansible, serial 1, nodes taken out"
    method = (
        "The same, and each host is taken out of the NodeBalancer through the API first, and put back when it is "
        "healthy; the next one comes when it is UP. Rollback: the tag before."
    )
    files = ("rolling_drained.yml",)
    playbook = "rolling_drained.yml"

    def without(self, figure: str) -> str | None:
        return None

    def environ(self, ground: Ground, asked: Asked) -> dict[str, str]:
        return {**super().environ(ground, asked), **ground.home}


def environment() -> Path:
    """Its programs; installed once, into the cache that the tests' images are in."""
    folder = cache() / PACKAGE
    if not (folder / "bin" / "ansible-playbook").exists():
        uv = Path(sys.executable).with_name("uv")  # in the environment of whoever works on this project
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        for words in (
            ("venv", "-q", "--python", python, folder),
            ("pip", "install", "-q", "--python", folder, PACKAGE),
        ):
            done = subprocess.run([uv, *words], check=False, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise Unavailable(f"{PACKAGE} cannot be installed", details=tuple(done.stderr.splitlines()[-5:]))
    return folder / "bin"
