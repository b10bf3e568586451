"""A machine's disk as its image has it, Debian with the real cloud-init, and programs run in it as at a first boot.

    python cloud_root.py BASE COMMANDS.json

is what runs inside new namespaces (`CloudRoot.boot`): it lays a throw-away layer over BASE, enters it, runs the
commands and prints what each said. It needs root, and no network: the packages that the user data asks for are in BASE
already, so that apt has nothing to fetch.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TRIXIE, BOOKWORM = "trixie", "bookworm"  # Debian 13 and 12
EDITION = 1  # raise it when what is in the base changes: caches hold the old one
PACKAGES = (
    "cloud-init", "openssh-server", "unattended-upgrades", "iproute2", "python3", "systemd", "systemd-sysv",
    "ca-certificates", "docker.io", "python3-venv", "procps", "iptables",
    "python3-cffi-backend",  # cloud-init needs it under a name that debootstrap cannot follow
)  # fmt: skip
WITHIN = 900  # seconds for the base; a boot has a third of it


class Said:
    """What one command in the machine said."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.exit = int(str(facts["exit"]))
        self.out = str(facts["out"])


def base(suite: str) -> Path:
    """A release of Debian. Made once a machine, by debootstrap, and kept in the cache of the tests."""
    from tests.rig.require import program, require, require_programs, require_root  # noqa: PLC0415 - not needed inside

    require_root("cloud-init is run on a disk of its own")
    require_programs("debootstrap", package="debootstrap")
    require_programs("unshare", package="util-linux")
    folder = Path(os.environ.get("CELADON_TEST_CACHE") or Path.home() / ".cache" / "celadon-tests")
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"cloud-{suite}-{os.uname().machine}-{EDITION}"
    with (folder / "cloud.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            partial = Path(tempfile.mkdtemp(prefix="cloud-", dir=folder))
            command = [program("debootstrap") or "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
            done = subprocess.run(
                [*command, suite, str(partial)], check=False, capture_output=True, text=True, timeout=WITHIN
            )
            if done.returncode:
                shutil.rmtree(partial)
            require(done.returncode == 0, f"a disk with cloud-init: debootstrap said {done.stdout[-500:]}")
            shutil.rmtree(partial / "var" / "cache" / "apt" / "archives")
            partial.rename(root)
    return root


def boot(disk: Path, commands: Mapping[str, Sequence[str]], files: Mapping[str, str]) -> dict[str, Said]:
    """Run the commands one after the other on a fresh copy of the disk with these files."""
    with tempfile.TemporaryDirectory(prefix="celadon-cloud-") as scratch:
        asked = Path(scratch) / "asked.json"
        asked.write_text(json.dumps({"commands": commands, "files": files}))
        namespaces = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--propagation", "private"]
        namespaces += ["--net", "--uts", "--ipc", "--cgroup"]
        done = subprocess.run(
            [*namespaces, sys.executable, str(Path(__file__)), str(disk), str(asked), scratch],
            check=False, capture_output=True, text=True, timeout=WITHIN / 3,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: Said(facts) for name, facts in json.loads(done.stdout).items()}


def _inside(disk: str, asked: str, scratch: str) -> None:
    layer, root = Path(scratch) / "layer", Path(scratch) / "root"
    for folder in (layer, root):
        folder.mkdir()
    _run("mount", "-t", "tmpfs", "tmpfs", str(layer))
    for name in ("upper", "work"):
        (layer / name).mkdir()
    where = f"lowerdir={disk},upperdir={layer}/upper,workdir={layer}/work"
    _run("mount", "-t", "overlay", "overlay", "-o", where, str(root))
    _run("mount", "-t", "proc", "proc", str(root / "proc"))
    _run("mount", "-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    _run("mount", "--rbind", "/dev", str(root / "dev"))
    _run("mount", "-t", "tmpfs", "tmpfs", str(root / "run"))
    _run("ip", "link", "set", "lo", "up")
    wanted = json.loads(Path(asked).read_text())
    for name, text in wanted["files"].items():
        file = root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!/") else 0o644)
    os.chroot(root)
    os.chdir("/")
    environ = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
    }
    said = {}
    for name, command in wanted["commands"].items():
        ran = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environ, timeout=200,
        )  # fmt: skip
        said[name] = {"exit": ran.returncode, "out": ran.stdout.decode("utf-8", "replace")}
    sys.stdout.write(json.dumps(said))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    _inside(*sys.argv[1:])
