"""How `ssh`, Celadon and people reach a lab's instances: an SSH config with their ports, and the keys to expect.

A host key that came with an instance's user data is not listed: whoever sent it knows it, and must have it trusted by
other means, as with a real instance.
"""

from collections.abc import Iterable
from pathlib import Path

from celadon.lab.machines.home import key_of
from celadon.lab.machines.machine import LoopbackMachine


def write(root: Path, machines: Iterable[LoopbackMachine]) -> None:
    """`ssh_config` and `known_hosts` in the lab's folder, each replaced whole."""
    present = list(machines)
    known = root / "known_hosts"
    _replace(known, "".join(_known(machine) for machine in present if key_of(machine.described.user_data) is None))
    _replace(root / "ssh_config", "\n".join(_block(machine, root, known) for machine in present))


def _known(machine: LoopbackMachine) -> str:
    address, port = machine.described.address, machine.ssh_port
    return f"{f'[{address}]:{port}' if port != 22 else address} {machine.host_key}\n"


def _block(machine: LoopbackMachine, root: Path, known: Path) -> str:
    described = machine.described
    lines = [
        f"Host {described.label} {described.address}",
        f"  HostName {described.address}",
        f"  Port {machine.ssh_port}",
        "  User root",
        f"  IdentityFile {root / 'id_ed25519'}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {known}",
    ]
    return "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
