"""A host whose init is systemd: a Debian of its own under `systemd-nspawn`, with an OpenSSH server on loopback.

It shares the machine's network, so that a test dials it as any other host, and has no capability to change it. Its
process 1, mounts, users, journal and control groups are its own. One root is made by debootstrap and kept in the cache;
each host has its changes in a layer above it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import asyncssh
import pytest
from tests.rig.base_image import SUITE, cache
from tests.rig.processes import children, ends_with_us, stop
from tests.rig.require import program, require, require_programs, require_root

from celadon.adapters.known_hosts import key_line
from celadon.adapters.ssh import HostAddress

NAME = "celadon-systemd-"
EDITION = 1  # raise it when what is in the root changes
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,python3-venv,iproute2"
LONGEST_BOOT = 120.0
# What a Debian does unasked (updates, above all) is nothing that a test may wait for.
MASKED = ("timers.target", "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service")


class SystemdHost:
    """`restart` is what a power cut does: everything ends at once, and what is enabled comes back."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir="/tmp"))
        self.root = self.folder / "root"
        self.known_hosts = self.folder / "known_hosts"
        self.ssh_config = self.folder / "ssh_config"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> HostAddress:
        return HostAddress("web-1", "127.0.0.1", "root", self.port)

    def __enter__(self) -> Self:
        try:
            self._furnish()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        command = [
            program("systemd-nspawn") or "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", f"--machine={NAME}{os.getpid()}-{self.port}",
            "--directory", self.root, "--boot",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ends_with_us(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._await()

    def restart(self) -> None:
        self._cut_power()
        self.start()

    def close(self) -> None:
        self._cut_power()
        _remove(self.folder)

    def _cut_power(self) -> None:
        """Its process 1 is nspawn's child: with that one, everything in its namespace ends."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            for child in children(self._process.pid):
                os.kill(child, signal.SIGKILL)
        try:
            self._process.wait(20)  # it tidies up after its child by itself
        except subprocess.TimeoutExpired:
            stop(self._process, signal.SIGTERM, 20.0)
        self._process = None

    def _furnish(self) -> None:
        _lay_over(_root(), self.folder)
        key = asyncssh.generate_private_key("ssh-ed25519")
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.folder / "key")
        (self.folder / "key").chmod(0o600)
        ssh = self.root / "etc" / "ssh"
        host_key.write_private_key(ssh / "ssh_host_ed25519_key")
        (ssh / "ssh_host_ed25519_key").chmod(0o600)
        home = self.root / "root" / ".ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        key.write_public_key(home / "authorized_keys")
        (ssh / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin yes\nKexAlgorithms curve25519-sha256\n"
        )
        for unit in MASKED:
            link = self.root / "etc" / "systemd" / "system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")
        uv = Path(sys.executable).with_name("uv")
        if uv.exists():
            shutil.copy(uv, self.root / "usr" / "local" / "bin" / "uv")
        self.known_hosts.write_text(key_line("127.0.0.1", self.port, host_key.convert_to_public()) + "\n")
        self.ssh_config.write_text(f"Host *\n  IdentityFile {self.folder}/key\n  IdentitiesOnly yes\n")

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + LONGEST_BOOT
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as line:
                if line.recv(4) == b"SSH-":
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "log").read_text(errors="replace")[-3000:]
                require(condition=False, what=f"a machine that boots under systemd-nspawn:\n{log}")
            time.sleep(0.1)


def _root() -> Path:
    folder = cache()
    root = folder / f"systemd-{SUITE}-{os.uname().machine}-{EDITION}"
    with (folder / "systemd.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two workers one makes it, the other finds it
        if not root.exists():
            _make(root)
    return root


def _make(root: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".systemd-", dir=root.parent) as scratch:
        made = Path(scratch) / "root"
        # What it mounts in there (/proc, /sys) ends with it, also when it is killed: a removal must never meet them.
        command = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            program("debootstrap") or "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            SUITE,
            str(made),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
        require(done.returncode == 0, f"a root with systemd: debootstrap said {done.stdout[-500:]}{done.stderr[-500:]}")
        shutil.rmtree(made / "var" / "cache" / "apt")
        made.rename(root)


def _lay_over(base: Path, folder: Path) -> None:
    """The base with this host's changes on top: nothing is copied, where the file system allows it."""
    for name in ("root", "upper", "work"):
        (folder / name).mkdir()
    options = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root")]
    if subprocess.run(mount, check=False, capture_output=True, timeout=60).returncode:
        subprocess.run(["cp", "-a", f"{base}/.", str(folder / "root")], check=True, timeout=300)


def _remove(folder: Path) -> None:
    if (folder / "root").is_mount():
        subprocess.run(["umount", "--lazy", str(folder / "root")], check=True, capture_output=True, timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


def sweep() -> None:
    """What a killed session left: its machine ended with it, its folder did not."""
    for folder in Path("/tmp").glob(f"{NAME}*"):
        if not Path("/proc", folder.name.removeprefix(NAME).split("-")[0]).exists():
            _remove(folder)


@pytest.fixture(scope="session")
def systemd_host() -> Iterator[SystemdHost]:
    require_root("a machine of its own under systemd")
    require_programs("systemd-nspawn", package="systemd-container")
    require_programs("debootstrap", package="debootstrap")
    require_programs("setpriv", package="util-linux")
    sweep()
    with SystemdHost() as host:
        yield host
