"""The agent as it travels: one constant command, and the source that it reads from its input."""

import functools
import zlib
from importlib import resources

from celadon.agent import wire

# One line each, without single quotes and backslashes: the user's login shell, whichever it is, reads it once.
_PYTHONS = "python3 " + " ".join(f"python3.{minor}" for minor in range(14, 8, -1))
_TOO_OLD = 97
# 126 and 127: there is no such program, or a version manager's stand-in for one that is not chosen.
_FIND = (
    f"for p in {_PYTHONS}; do "
    f'"$p" -I -c "$1"; case $? in {_TOO_OLD}|126|127) ;; *) exit ;; esac; '
    "done; "
    f"echo {wire.NO_PYTHON.decode()}; "
    f'for p in {_PYTHONS}; do "$p" -V </dev/null 2>&1; done'
)
_READ = (
    f"import sys, zlib; sys.version_info < (3, 9) and sys.exit({_TOO_OLD}); i = sys.stdin.buffer; "
    'exec(compile(zlib.decompress(i.read(int(i.readline()))), "celadon-agent", "exec"))'
)
COMMAND = f"exec /bin/sh -c '{_FIND}' celadon '{_READ}'"
"""The same for every host, app and operation: there is no value in it, and so nothing to escape."""


@functools.cache
def bundle() -> bytes:
    """What the command reads first: a length in decimal, then the packed source of every agent module."""
    folder = resources.files("celadon.agent")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".py"))
    texts = {name.removesuffix(".py"): (folder / name).read_text("utf-8") for name in names}
    loader = texts.pop("bundle_loader")
    sources = {"celadon": "", "celadon.agent": texts.pop("__init__")}
    sources |= {f"celadon.agent.{name}": text for name, text in texts.items()}
    packed = zlib.compress(f"{loader}\n\nstart({sources!r})\n".encode(), 9)
    return b"%d\n%b" % (len(packed), packed)
