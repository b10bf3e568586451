"""Where the agent keeps things on a host, which names may become file names, and how files are replaced."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED

_APP = re.compile(r"[a-z][a-z0-9-]{0,30}")
_RELEASE = re.compile(r"[a-z0-9]{4,64}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _matching(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise AgentError(REFUSED, f"{what} {value!r:.60} is not a name that Celadon makes")


def app_name(value: Any) -> str:
    return _matching(_APP, value, "app")


def release_id(value: Any) -> str:
    return _matching(_RELEASE, value, "release")


def host_name(value: Any) -> str:
    return _matching(_HOST, value, "host")


def port_number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    raise AgentError(REFUSED, f"port {value!r:.60} is not a number from 1 to 65535")


def rules_machine() -> bool:
    """Whether we are root, and at home: an instance of a lab is root's too, and has a home of its own."""
    return os.geteuid() == 0 and str(Path.home()) == pwd.getpwuid(0).pw_dir


def state_root() -> Path:
    return Path("/var/lib/celadon") if rules_machine() else Path.home() / ".local/share/celadon"


def config_dir() -> Path:
    return Path.home() / ".config/celadon"


def app_dir(app: str) -> Path:
    """Not made by asking for it: a look leaves no trace."""
    return state_root() / app_name(app)


def release_dir(app: str, release: str) -> Path:
    return app_dir(app) / "releases" / release_id(release)


def make_dir(path: Path) -> Path:
    """Ours alone, and every folder above that is missing, too: whoever could open a lock could hold it for ever."""
    missing = []
    folder = path
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    root = state_root()
    if root in path.parents and root.stat().st_mode & 0o077:
        root.chmod(0o700)  # made by an earlier version, or by hand
    return path


def private(path: str, flags: int) -> int:
    """An opener for `open`: a file that it makes is ours alone."""
    return os.open(path, flags, 0o600)


def replica_name(app: str, release: str, host: str, port: int) -> str:
    """The same name as `core.release.replica_name`; a test compares them."""
    return f"celadon-{app_name(app)}-{release_id(release)}-{host_name(host)}-{port_number(port)}"


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Durable when it returns; a reader sees the old content or the new, and never another mode."""
    make_dir(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=str(path.parent))
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """A rename or a new file is durable only when its directory is."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """The file's value; None where there is no file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    write_atomically(path, json.dumps(value, sort_keys=True).encode(), mode)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file. It is never removed: a removed one would be two."""
    make_dir(path.parent)
    with open(str(path), "ab", opener=private) as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
