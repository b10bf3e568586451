"""A `source` release: one commit's files, as `git archive` writes them, named by the hash of what it wrote.

The same commit makes the same bytes on every machine (git takes the times from the commit), so the hash is the
artifact's name. Only git runs here, as an argument list; nothing of the project's own is executed but what the
operator's git configuration asks for (filters, as at every checkout).
"""

import asyncio
import contextlib
import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

import msgspec

from celadon.adapters.http import quoted
from celadon.core.errors import Refused, Unavailable
from celadon.core.release import Seconds

LARGEST = 512 * 1024 * 1024  # bytes; images, not source, are where large things belong
SHOWN = 10  # files named in a refusal
POINTER = b"version https://git-lfs.github.com/spec/v1"
OF_ANOTHER_REPOSITORY: Final = (  # set inside git hooks; they would point git elsewhere than at `source`
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
)  # fmt: skip


class Archive(msgspec.Struct, frozen=True):
    """A tar file, uncompressed. `notes` are what a person should know about it, one sentence each."""

    path: Path
    artifact: str  # `sha256:…` of the file's bytes
    size: int
    commit: str
    notes: tuple[str, ...] = ()


async def make_archive(
    source: Path,
    revision: str,
    into: Path,
    *,
    besides: Path | None = None,
    largest: int = LARGEST,
    deadline: Seconds = 300.0,
) -> Archive:
    """Write `into/<sha256>.tar` from `revision` of the repository around `source`, only what is below `source`.

    Refused: no repository, no such revision, nothing tracked, more than `largest` bytes, or, where the revision is
    the one checked out, a working tree that differs from it: whoever deploys what they see would get something else.
    Another revision was chosen by name, so what lies in the working tree does not matter. `besides`: a folder whose
    changes do not matter either (Terraform's: `infra renew` writes there, and no release is made of it).
    """
    try:
        async with asyncio.timeout(deadline):
            return await _make(source, revision, into, largest, besides)
    except TimeoutError:
        raise Unavailable(f"git took longer than {deadline:g} s", where=str(source)) from None


async def _make(source: Path, revision: str, into: Path, largest: int, besides: Path | None) -> Archive:
    commit = await _commit(source, revision)
    if commit == await _commit(source, "HEAD"):
        await _refuse_dirty(source, commit, besides)
    tree = await _git(source, "ls-tree", "-r", "-z", commit, "--", ".")
    if not tree:
        raise Refused(f"{revision} has no files below source", where=str(source), hint="git add, then git commit")
    notes = [f"submodule {path} is not in the archive: git archive leaves submodules out" for path in _links(tree)]
    with _spool(into) as file:
        digest, size = await _write(source, commit, file, largest)
        path = Path(file.name)
        if pointers := await asyncio.to_thread(_pointers, path):
            files = f"{pointers[0]} and {len(pointers) - 1} more" if len(pointers) > 1 else pointers[0]
            notes.append(f"{files}: a Git LFS pointer, not the file; install git-lfs and run git lfs pull")
        final = path.replace(into / f"{digest}.tar")  # noqa: ASYNC240 - one rename
    return Archive(final, f"sha256:{digest}", size, commit, tuple(notes))


@contextlib.contextmanager
def _spool(into: Path) -> Iterator[IO[bytes]]:
    """A new file in `into`, removed unless it was renamed."""
    into.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=into, prefix=".archive-", delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


async def _commit(source: Path, revision: str) -> str:
    if not revision or revision.startswith("-") or not revision.isprintable():
        raise Refused(f"{quoted(revision)!r} is not a git revision", where=str(source))
    code, found, said = await _output(source, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if code == 0:
        return found.decode().strip()
    if said:  # no repository, or one of another user
        raise _failed(source, "rev-parse", said)
    hint = "git log --oneline; a shallow clone holds only what was fetched"
    raise Refused(f"no commit {revision!r}", where=str(source), hint=hint)


async def _refuse_dirty(source: Path, commit: str, besides: Path | None) -> None:
    but = [] if besides is None or not besides.is_relative_to(source) else [f":(exclude){besides.relative_to(source)}"]
    words = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--", ".", *but)
    entries = (await _git(source, *words)).split(b"\0")
    changed = [quoted(entry.decode("utf-8", "replace")) for entry in entries if entry]
    if changed:
        more = (f"… and {len(changed) - SHOWN} more",) if len(changed) > SHOWN else ()
        raise Refused(
            f"the working tree is not what {commit[:10]} says: a deploy would leave these changes out",
            hint="git commit or git stash them, or add what never belongs in a release to .gitignore",
            where=str(source),
            details=(*changed[:SHOWN], *more),
        )


async def _git(source: Path, *arguments: str) -> bytes:
    """What git says on stdout. Refused, with what it says on stderr, where it fails."""
    code, out, err = await _output(source, *arguments)
    if code != 0:
        raise _failed(source, arguments[0], err)
    return out


async def _output(source: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    process = await _start(source, *arguments)
    try:
        out, err = await process.communicate()
    finally:
        await _end(process)
    return process.returncode or 0, out, err


async def _write(source: Path, commit: str, file: IO[bytes], largest: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    # A configured umask would change the modes in the archive, and so its hash, from machine to machine.
    process = await _start(source, "-c", "tar.umask=0022", "archive", "--format=tar", commit, "--", ".")
    assert process.stdout is not None  # noqa: S101 - started with pipes
    assert process.stderr is not None  # noqa: S101 - started with pipes
    said = asyncio.create_task(process.stderr.read())
    try:
        while chunk := await process.stdout.read(1 << 20):
            size += len(chunk)
            if size > largest:
                hint = "large files belong in the image, in object storage, or in export-ignore of .gitattributes"
                raise Refused(f"the archive is larger than {largest} bytes", where=str(source), hint=hint)
            digest.update(chunk)
            file.write(chunk)
        if await process.wait() != 0:
            raise _failed(source, "archive", await said)
    finally:
        await _end(process)
        await said
    file.flush()
    return digest.hexdigest(), size


async def _start(source: Path, *arguments: str) -> asyncio.subprocess.Process:
    kept = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
    env = kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=source, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except (FileNotFoundError, NotADirectoryError):
        if os.path.isdir(source):  # noqa: PTH112, ASYNC240 - one stat
            hint = "`source` releases are made by git archive"
            raise Refused("git is not installed", where=str(source), hint=hint) from None
        raise Refused("source is not a folder", where=str(source)) from None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _failed(source: Path, what: str, err: bytes) -> Refused:
    lines = tuple(quoted(line) for line in err.decode("utf-8", "replace").splitlines()[:5] if line.strip())
    return Refused(
        f"git {what} failed", where=str(source), details=lines, hint="`source` is a folder in a git repository"
    )


def _links(tree: bytes) -> list[str]:
    """Paths of submodules in the output of `ls-tree -z`."""
    entries = (entry.partition(b"\t") for entry in tree.split(b"\0") if entry.startswith(b"160000 "))
    return [quoted(path.decode("utf-8", "replace")) for _, _, path in entries]


def _pointers(path: Path) -> list[str]:
    """Files in the archive that are Git LFS pointers."""
    found = []
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isfile() and member.size < 1024:  # the specification's bound
                content = tar.extractfile(member)
                if content is not None and content.read(len(POINTER)) == POINTER:
                    found.append(quoted(member.name))
    return found
