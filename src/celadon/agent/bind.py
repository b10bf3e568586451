"""Where a private address lives on this host: on an interface, or where the host's own file says.

Behind NAT, and in the lab, no interface has the address that the balancer knows. Then `/etc/celadon/bind` or
`~/.config/celadon/bind` says where to bind: lines of `private-address bind-address`. There is no fallback to all
interfaces: a replica that binds there is open to the world.
"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

SYSTEM_FILE = Path("/etc/celadon/bind")


def resolve(address: str) -> str:
    """The address that a replica of this slot binds, and that probes and counts use."""
    if _on_an_interface(_parsed(address, "the slot")):
        return address
    for file in (SYSTEM_FILE, paths.config_dir() / "bind"):
        found = _in_file(file, address)
        if found is not None:
            return found
    message = f"{address} is not an address of this host"
    raise AgentError(REFUSED, message, f"fix the host's private address, or map it in {SYSTEM_FILE}")


def _in_file(file: Path, address: str) -> str | None:
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) == 2 and words[0] == address:
            return str(_parsed(words[1], str(file)))
    return None


def _parsed(text: str, where: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise AgentError(REFUSED, f"{where}: {text!r:.60} is not an IP address") from None
    if address.is_unspecified or address.is_multicast:
        raise AgentError(REFUSED, f"{where}: {text} means every interface; Celadon never binds that")
    return address


def _on_an_interface(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # The kernel is the only one who knows without root and without parsing tools' output: it lets us bind, or not.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
