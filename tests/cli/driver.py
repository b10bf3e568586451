"""`python -m tests.cli.driver FOLDER WORD…`: celadon in a process of its own, on a world in memory.

`v1` is live before it begins, and the bake is as long as a test may take: whoever starts this ends it.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from celadon.cli.call import answer
from celadon.cli.output import Output
from celadon.drive.lease import decode
from tests.cli.worlds import TIMING, MemoryWorld


def main() -> int:
    root, *words = sys.argv[1:]
    world = MemoryWorld(Path(root))
    first = world.run("deploy", "v1", "--yes")
    assert first.exit == 0, first.err
    world.timing = msgspec.structs.replace(TIMING, bake=600.0)
    output = Output.of_process(os.environ)
    code = answer(words, output, environ=os.environ, cwd=Path(root), stdin=sys.stdin, connect=world.connect)
    # What is left in the world, for the test: it ends with this process.
    lease = decode(asyncio.run(world.store.read_lease()))
    assert lease is not None
    sys.stderr.write(f"lease holder: {lease.holder!r}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
