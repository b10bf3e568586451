"""Which part of 127.0.0.0/8 a lab owns, so that several labs on one machine never meet.

A lab holds a listening socket on its block's guard address. The kernel lets go of it when the lab dies, however it
dies, so a block is never lost.
"""

import errno
import hashlib
import socket
from pathlib import Path

from celadon.core.errors import Refused, Unavailable
from celadon.lab.store import StateFile
from celadon.lab.world.addresses import AddressBlock

GUARD_PORT = 47_017
OCTETS = range(1, 254, 2)  # 127.0 is everybody's, and a block takes two


class BlockClaim:
    """A block held until `close`."""

    def __init__(self, block: AddressBlock, guard: socket.socket) -> None:
        self.block = block
        self._guard = guard

    def close(self) -> None:
        self._guard.close()


def claim_block(root: Path, octet: int | None = None) -> BlockClaim:
    """`octet`: exactly that block, or Refused. Else the first free one after the one that `root` hashes to."""
    if octet is not None:
        if octet not in OCTETS:
            raise Refused(f"{octet} is no address block", hint="an odd number from 1 to 253")
        claim = _try_claim(octet)
        if claim is None:
            raise Refused(f"127.{octet}.0.0/16 belongs to another lab", hint="end that lab, or choose another block")
        return claim
    first = int.from_bytes(hashlib.sha256(str(root.absolute()).encode()).digest()[:4])
    for step in range(len(OCTETS)):
        claim = _try_claim(OCTETS[(first + step) % len(OCTETS)])
        if claim is not None:
            return claim
    raise Unavailable(f"all {len(OCTETS)} address blocks are taken", hint="end some labs")


def claim_for(file: StateFile, root: Path, octet: int | None = None) -> BlockClaim:
    """As `claim_block`, but for the account in `file`, whose objects have addresses of one block already."""
    kept = file.load()
    if kept is None:
        return claim_block(root, octet)
    if octet not in (None, kept.block.octet):
        raise Refused(
            f"the kept account has addresses of 127.{kept.block.octet}.0.0/16",
            hint="remove its file, or leave the block out",
        )
    return claim_block(root, kept.block.octet)


def _try_claim(octet: int) -> BlockClaim | None:
    block = AddressBlock(octet)
    guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        guard.bind((block.guard, GUARD_PORT))
        guard.listen(1)  # a bound socket alone does not keep others from binding with SO_REUSEADDR
    except OSError as error:
        guard.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise Unavailable(f"{block.guard} cannot be used: {error}") from error
    return BlockClaim(block, guard)
