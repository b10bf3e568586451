"""The user data of a machine, run by Debian's real cloud-init on a disk of Debian's: what a machine becomes of it.

Debian 13 always, Debian 12 by night. What this cannot show: a reboot, packages that are fetched (apt finds all of them
there already), and an Ubuntu, whose packages no registry of the tests has: 24.04's cloud-init (24.1, later updates 25)
is between the two that run here, 22.4 and 25.1.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.infra import cloud_root
from tests.infra.accounts import account, host_keys
from tests.infra.cloud_root import Said
from tests.infra.rig import MODULE, Tools
from tests.rig.require import require_root

pytestmark = pytest.mark.slow

SEED = "/var/lib/cloud/seed/nocloud"
WAIT = "/usr/local/lib/celadon/wait-for-private-network"
FILES = {
    f"{SEED}/meta-data": "instance-id: one\n",
    "/etc/cloud/cloud.cfg.d/99-test.cfg": "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n",
    # Nothing to fetch and nowhere to fetch it from: what the user data asks for is installed.
    "/etc/apt/sources.list": "deb [trusted=yes] file:/srv/empty ./\n",
    "/srv/empty/Packages": "",
    "/etc/default/locale": "LANG=C.UTF-8\n",  # as images have it; Debian 12 would look for en_US, which is not there
    # Doubles: swap is the kernel's, and that is the machine's of the test;
    # and no systemd runs: what would be started is noted, all else is systemctl's own work.
    "/usr/local/sbin/systemctl": (
        '#!/bin/sh\necho "$@" >> /run/systemctl\n[ "$2" = --now ] && exec /usr/bin/systemctl "$1" "$3"\n'
        'exec /usr/bin/systemctl "$@"\n'
    ),
    "/usr/local/sbin/swapon": '#!/bin/sh\necho "$@" >> /run/swapon\n',
}
STAGES = {
    "schema": ["cloud-init", "schema", "--config-file", f"{SEED}/user-data"],
    "local": ["cloud-init", "init", "--local"],
    "init": ["cloud-init", "init"],
    "config": ["cloud-init", "modules", "--mode=config"],
    "final": ["cloud-init", "modules", "--mode=final"],
    "result": ["cat", "/run/cloud-init/result.json"],
    "status": ["cat", "/run/cloud-init/status.json"],
    "log": ["sh", "-c", "grep -E 'WARN|ERROR|Traceback' /var/log/cloud-init.log || true"],
}
LOOKS = {
    "host keys": ["sh", "-c", "ls /etc/ssh/ssh_host_*"],
    "sshd": ["sh", "-c", "mkdir -p /run/sshd; sshd -T"],
    "offered": ["sh", "-c", "/usr/sbin/sshd -p 2222 && sleep 1 && ssh-keyscan -p 2222 127.0.0.1"],
    "ways in": ["sh", "-c", "ssh -p 2222 -v -o BatchMode=yes -o StrictHostKeyChecking=no root@127.0.0.1 true"],
    "hostname": ["hostname"],
    "swap": ["sh", "-c", "stat -c %s /swapfile; cat /run/swapon /etc/fstab"],
    "updates": ["apt-config", "dump"],
    "needrestart": ["perl", "-c", "/etc/needrestart/conf.d/celadon.conf"],
    "permissions": ["stat", "-c", "%a %n", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/sshd_config.d/10-celadon.conf"],
}
VALIDATE = "exec dockerd --validate --config-file /etc/docker/daemon.json"
DOCKER = {
    "daemon.json": ["cat", "/etc/docker/daemon.json"],
    # Debian 12's Docker, 20.10, cannot be asked.
    "dockerd": ["sh", "-c", f"dockerd --help | grep -q -e --validate || exit 0; {VALIDATE}"],
    "started": ["cat", "/run/systemctl"],
    "enabled": ["systemctl", "is-enabled", "docker.service"],
    "unit": ["systemd-analyze", "verify", "docker.service"],
    "before": ["sh", "-c", f"sed 's/+ 60/+ 1/' {WAIT} > /tmp/wait; python3 /tmp/wait"],
    "private": ["sh", "-c", f"(sleep 1; ip address add 192.168.130.7/17 dev lo) & python3 {WAIT}"],
}


async def user_data(tools: Tools, folder: Path, keys: dict[str, Any], *, runtime: str) -> str:
    """As the module renders it, from a plan of the real Terraform."""
    async with account(tools, folder) as here:
        here.root(more=f'  runtime = "{runtime}"\n')
        here.values(**keys)
        await here.terraform.good("init", "-no-color")
        await here.terraform.good("plan", "-no-color", "-out", "plan")
        shown = json.loads((await here.terraform.good("show", "-json", "plan")).out)
    (module,) = shown["planned_values"]["root_module"]["child_modules"]
    machine = next(each for each in module["resources"] if each["address"].endswith('.app["blue-g1-1"]'))
    return base64.b64decode(machine["values"]["metadata"][0]["user_data"]).decode()


RELEASES = [cloud_root.TRIXIE, pytest.param(cloud_root.BOOKWORM, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("suite", RELEASES)
async def test_a_machine_for_docker(suite: str, tools: Tools, tmp_path: Path) -> None:
    require_root("cloud-init is run on a disk of its own")
    keys = host_keys("blue-g1-1", "green-g1-1")
    text = await user_data(tools, tmp_path, keys, runtime="docker")
    assert len(text) < 16 * 1024  # Linode's limit
    said = cloud_root.boot(cloud_root.base(suite), STAGES | LOOKS | DOCKER, {f"{SEED}/user-data": text, **FILES})
    well(said)
    reached_by_key_only(said, keys["host_keys"]["blue-g1-1"])

    assert said["hostname"].out.strip() == "shop-blue-g1-1"
    size, *rest = said["swap"].out.splitlines()
    assert int(size) == 1 << 30
    assert any("/swapfile" in line and "swap" in line for line in rest)

    updates = said["updates"].out
    assert 'APT::Periodic::Unattended-Upgrade "1";' in updates
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in updates
    spared = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.*)";', updates, re.MULTILINE)
    for package in ("docker.io", "containerd", "runc"):
        assert any(re.match(pattern, package) for pattern in spared), package
    assert not any(re.match(pattern, package) for pattern in spared for package in ("openssl", "linux-image-amd64"))
    assert said["needrestart"].exit == 0

    assert json.loads(said["daemon.json"].out)["log-opts"] == {"max-size": "10m", "max-file": "5"}
    assert said["dockerd"].exit == 0, said["dockerd"].out
    assert said["started"].out.splitlines() == ["enable --now docker.service"]
    assert said["enabled"].out.strip() == "enabled"
    assert said["unit"].out.strip() == ""
    assert said["before"].exit == 1
    assert "no address of 192.168.128.0/17" in said["before"].out
    assert said["private"].exit == 0, said["private"].out


@pytest.mark.parametrize("suite", RELEASES)
async def test_a_machine_for_virtual_environments(suite: str, tools: Tools, tmp_path: Path) -> None:
    require_root("cloud-init is run on a disk of its own")
    keys = host_keys("blue-g1-1", "green-g1-1")
    text = await user_data(tools, tmp_path, keys, runtime="venv")
    assert "docker" not in re.sub(r"^ *(//|#).*|Package-Blacklist.*|override_rc.*", "", text, flags=re.MULTILINE)
    venv = {"venv": ["sh", "-c", "python3 -m venv /tmp/there && /tmp/there/bin/python -c 'import ssl'"]}
    said = cloud_root.boot(cloud_root.base(suite), STAGES | LOOKS | venv, {f"{SEED}/user-data": text, **FILES})
    well(said)
    reached_by_key_only(said, keys["host_keys"]["blue-g1-1"])
    assert said["venv"].exit == 0, said["venv"].out


def test_the_unit_of_the_module_names_the_script_that_it_writes() -> None:
    text = (MODULE / "cloud-init.yaml.tftpl").read_text()
    assert f"path: {WAIT}\n" in text
    assert f"ExecStartPre=/usr/bin/python3 {WAIT}\n" in text


def well(said: dict[str, Said]) -> None:
    """Valid, and nothing failed in any stage: what `cloud-init status --wait` would answer with 0."""
    assert said["schema"].exit == 0, said["schema"].out
    for stage in ("local", "init", "config", "final"):
        assert said[stage].exit == 0, said[stage].out[-3000:]
    assert json.loads(said["result"].out)["v1"]["errors"] == [], said["log"].out
    stages = json.loads(said["status"].out)["v1"]
    for stage in ("init-local", "init", "modules-config", "modules-final"):
        assert stages[stage]["finished"], stage
        assert stages[stage].get("recoverable_errors", {}) == {}, said["log"].out


def reached_by_key_only(said: dict[str, Said], public: str) -> None:
    assert said["host keys"].out.split() == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"]
    assert said["permissions"].out.split()[0] == "600"
    config = dict(line.split(" ", 1) for line in said["sshd"].out.splitlines() if " " in line)
    assert config["passwordauthentication"] == config["kbdinteractiveauthentication"] == "no"
    assert config["permitrootlogin"] in ("prohibit-password", "without-password")
    offered = [line.split(" ", 1)[1] for line in said["offered"].out.splitlines() if line and not line.startswith("#")]
    assert offered == [public]
    assert "Authentications that can continue: publickey\n" in said["ways in"].out.replace("\r", "")
