"""The source archive of a `venv` release: received once, checked against its hash, unpacked for each release.

The archive decides nothing about where its files go: absolute names, `..`, devices and links that lead out are
refused, and so is what would fill the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from celadon.agent import paths
from celadon.agent.errors import AgentError
from celadon.agent.wire import REFUSED, UNAVAILABLE

MOST_BYTES = 2 << 30  # received
MOST_UNPACKED = 4 << 30
MOST_MEMBERS = 200_000
KEEP_FREE = 64 << 20  # bytes left on the disk
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def digest(artifact: str) -> str:
    match = _DIGEST.fullmatch(artifact)
    if not match:
        raise AgentError(REFUSED, f"{artifact!r:.80} is not the hash of a source archive")
    return match.group(1)


def file_of(app: str, artifact: str) -> Path:
    return paths.app_dir(app) / "archives" / (digest(artifact) + ".tar")


def receive(app: str, artifact: str, read: Callable[[], bytes]) -> int:
    """Bytes taken from `read`: none where the archive is here already."""
    path = file_of(app, artifact)
    return 0 if path.exists() else receive_as(path, artifact, read)


def receive_as(path: Path, artifact: str, read: Callable[[], bytes]) -> int:
    """The same, into a file of the caller's choice."""
    descriptor, name = tempfile.mkstemp(prefix=".incoming.", dir=str(paths.make_dir(path.parent)))
    try:
        with os.fdopen(descriptor, "wb") as file:
            moved = _copy(read, file.write, digest(artifact))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, str(path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return moved


def _copy(read: Callable[[], bytes], write: Callable[[bytes], object], expected: str) -> int:
    hashed = hashlib.sha256()
    moved = 0
    data = read()
    while data:
        moved += len(data)
        if moved > MOST_BYTES:
            raise AgentError(REFUSED, f"the source archive is larger than {MOST_BYTES} bytes")
        hashed.update(data)
        write(data)
        data = read()
    if hashed.hexdigest() != expected:
        message = f"the source archive arrived as sha256:{hashed.hexdigest()}, not sha256:{expected}"
        raise AgentError(UNAVAILABLE, message, "run it again")
    return moved


def unpack(path: Path, target: Path) -> None:
    """`target` is there whole, or not at all."""
    if target.is_dir():
        return
    work = Path(tempfile.mkdtemp(prefix=".unpacking.", dir=str(paths.make_dir(target.parent))))
    try:
        with tarfile.open(str(path), "r:*") as archive:
            _extract(archive, work)
        work.chmod(0o755)
        os.rename(str(work), str(target))
    except tarfile.TarError as problem:
        raise AgentError(REFUSED, f"the source archive cannot be read: {problem}") from None
    finally:
        shutil.rmtree(str(work), ignore_errors=True)


def _extract(archive: tarfile.TarFile, root: Path) -> None:
    free = shutil.disk_usage(str(root)).free - KEEP_FREE
    links: list[tarfile.TarInfo] = []
    size = 0
    for count, member in enumerate(archive):
        size += member.size
        if count >= MOST_MEMBERS or size > MOST_UNPACKED:
            raise AgentError(REFUSED, "the source archive holds more than Celadon unpacks")
        if size > free:
            raise AgentError(REFUSED, "no room on the disk to unpack the source archive", "free some space there")
        _extract_one(archive, member, root, links)
    # Links last, so that no file is written through one; then each must still lead to somewhere inside.
    for link in links:
        os.symlink(link.linkname, str(_inside(root, link.name)))
    for link in links:
        if not _contains(root, os.path.realpath(str(_inside(root, link.name)))):
            raise AgentError(REFUSED, f"the source archive has a link that leads out of it: {link.name!r:.200}")


def _extract_one(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, links: list[tarfile.TarInfo]) -> None:
    target = _inside(root, member.name)
    if member.isdir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif member.issym():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        links.append(member)
    elif member.isreg():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        source = archive.extractfile(member)
        if source is None:
            raise AgentError(REFUSED, f"the source archive has no content for {member.name!r:.200}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(str(target), flags, 0o755 if member.mode & 0o100 else 0o644), "wb") as file:
            shutil.copyfileobj(source, file)
    else:
        raise AgentError(REFUSED, f"the source archive has more than files and links: {member.name!r:.200}")


def _inside(root: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise AgentError(REFUSED, f"the source archive has a name that leads out of it: {name!r:.200}")
    return root / parts


def _contains(root: Path, path: str) -> bool:
    real = os.path.realpath(str(root))
    return path == real or path.startswith(real + os.sep)
