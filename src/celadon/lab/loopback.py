"""Sockets of the lab. They are bound to 127.0.0.0/8 and nowhere else, and can be made to swallow callers."""

import ipaddress
import socket

import msgspec

from celadon.core.errors import Refused, Unavailable

BACKLOG = 1024


def require_loopback(address: str) -> str:
    """The same address. Raises `Refused` for one that could be reached from, or could reach, another machine."""
    try:
        if ipaddress.IPv4Address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise Refused(f"{address!r} is not a loopback address", hint="the lab works on 127.0.0.0/8 only")


class Link(msgspec.Struct, frozen=True):
    """Where a plane finds the machines that it sends traffic to: loopback, unless tests have a closed network for it.

    `source`: the plane's own address there, which it comes from; None: each balancer comes from its own.
    """

    network: ipaddress.IPv4Network = ipaddress.IPv4Network("127.0.0.0/8")
    source: str | None = None

    def require(self, address: str) -> str:
        """The same address. Raises `Refused` for one outside of the network."""
        try:
            if ipaddress.IPv4Address(address) in self.network:
                return address
        except ValueError:
            pass
        raise Refused(f"{address!r} is not in {self.network}", hint="the lab sends traffic nowhere else")


def bind(address: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet: callers are refused, and nobody else can take the port.

    Raises `OSError` as the kernel does. Port 0 lets the kernel choose.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((require_loopback(address), port))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_or_above(address: str, port: int) -> socket.socket:
    """Bound to the port; a privileged one (below 1024) that cannot be had is taken 8000 higher: 80 is 8080."""
    try:
        return bind(address, port)
    except OSError as error:
        if port >= 1024:
            raise Unavailable(f"{address}:{port} cannot be opened: {error.strerror}") from error
    try:
        return bind(address, port + 8000)
    except OSError as error:
        raise Unavailable(
            f"neither {address}:{port} nor {address}:{port + 8000} can be opened: {error.strerror}"
        ) from error


def silence(listener: socket.socket) -> socket.socket:
    """From now on who connects to `listener` gets no answer at all, as on a network that is gone.

    A listening socket with a full queue makes the kernel drop every SYN; no privilege is needed (a packet filter
    would take CAP_NET_RAW). Nobody may accept meanwhile. Close what is returned, then `listen` again to undo it.
    """
    listener.listen(0)
    filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        filler.settimeout(1)
        filler.connect(listener.getsockname())
    except TimeoutError:
        pass  # somebody else had filled the queue already
    except BaseException:
        filler.close()
        raise
    return filler


class BlackHole:
    """An address on which every connection attempt hangs: stands for machines that are not there."""

    def __init__(self) -> None:
        self._listener = bind("127.0.0.1", 0)
        self._filler = silence(self._listener)
        self.address: tuple[str, int] = self._listener.getsockname()

    def close(self) -> None:
        self._filler.close()
        self._listener.close()
