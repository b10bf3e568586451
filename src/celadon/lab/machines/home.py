"""What an instance has on its disk, and the environment of everything that runs on it."""

import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import asyncssh
import msgspec

from celadon.lab.parts import Machine

MARKER = "CELADON_LAB_INSTANCE"
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # how the operator reaches a package index
PASSED_ON_PREFIXES = ("PIP_", "UV_")
PEM_END = "-----END OPENSSH PRIVATE KEY-----"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Disk(msgspec.Struct, frozen=True):
    """The folder of one instance. It survives shutdown and the lab itself; deleting the instance removes it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def boot_folder(self) -> Path:
        """Every executable file in it is run at boot, as cron runs @reboot lines."""
        return self.home / ".config" / "celadon" / "boot.d"

    @property
    def boot_log(self) -> Path:
        return self.folder / "boot.log"

    @property
    def port_file(self) -> Path:
        return self.folder / "ssh_port"

    @property
    def containers_file(self) -> Path:
        """Containers that a shutdown stopped and the next boot starts."""
        return self.folder / "containers.json"

    @property
    def label(self) -> str:
        return (self.folder / "label").read_text()

    @property
    def marker(self) -> str:
        """`NAME=value` in the environment of every process of this instance, and of no other."""
        return f"{MARKER}={(self.folder / 'uuid').read_text()}"

    def format(self, machine: Machine) -> None:
        """Make what is missing; nothing that is there is overwritten, so a restarted lab finds its instances."""
        for folder in (self.home / ".ssh", self.home / "tmp", self.boot_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_once(self.folder / "uuid", uuid.uuid4().hex)
        _write_once(self.home / ".ssh" / "authorized_keys", "".join(f"{key}\n" for key in machine.authorized_keys))
        if machine.user_data:
            _write_once(self.folder / "user-data", machine.user_data)
        if not (self.folder / "host_key").exists():
            key = key_of(machine.user_data) or asyncssh.generate_private_key("ssh-ed25519")
            _write_once(self.folder / "host_key", key.export_private_key().decode())
        (self.folder / "label").write_text(machine.label)
        if machine.private_address:
            # A replica binds where its host says that the private address lives: here, on loopback.
            bind = self.home / ".config" / "celadon" / "bind"
            bind.write_text(f"{machine.private_address} {machine.address}\n")

    def host_key(self) -> asyncssh.SSHKey:
        return asyncssh.read_private_key(self.folder / "host_key")


def key_of(user_data: str) -> asyncssh.SSHKey | None:
    """The host key that cloud-init would install: all of user data that the lab acts on."""
    lines = [line.strip() for line in user_data.splitlines()]
    try:
        block = lines[lines.index("ed25519_private: |") + 1 :]
        return asyncssh.import_private_key("\n".join(block[: block.index(PEM_END) + 1]) + "\n")
    except (ValueError, asyncssh.KeyImportError):
        return None


def environment(disk: Disk, operator: Mapping[str, str], *, uv_cache: Path, engine: Path | None) -> dict[str, str]:
    """Clean: of the operator's own environment only what package installers need."""
    passed = {
        name: value for name, value in operator.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    name, _, value = disk.marker.partition("=")
    own = {
        "HOME": str(disk.home),
        "PATH": os.pathsep.join((*_tools(), SYSTEM_PATH)),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "USER": "root",
        "LOGNAME": "root",
        "TMPDIR": str(disk.home / "tmp"),
        "UV_CACHE_DIR": str(uv_cache),  # shared by all: an environment then takes 0.4 s
        name: value,
    }
    return passed | own | ({"DOCKER_HOST": f"unix://{engine}"} if engine else {})


def uv_cache(operator: Mapping[str, str], root: Path) -> Path:
    """The operator's cache where there is one, else one of the lab's, which goes with it."""
    if chosen := operator.get("UV_CACHE_DIR"):
        return Path(chosen)
    base = Path(operator.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
    return base if base.is_dir() else root / "uv-cache"


def _tools() -> list[str]:
    """Where celadon's own python and uv are."""
    found = [str(Path(sys.executable).parent)]
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - an instance does without where it is missing

        folder = str(Path(find_uv_bin()).parent)
    except (ImportError, FileNotFoundError):
        return found
    return found if folder in found else [*found, folder]


def _write_once(path: Path, text: str) -> None:
    if path.exists():
        return
    path.touch(mode=0o600)
    path.write_text(text)
