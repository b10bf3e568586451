"""The source archive of a `venv` release: `git archive` of one commit, named by its hash. Never the working tree."""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from celadon.core.errors import Refused
from celadon.core.release import Release

GIT_WITHIN = 120.0  # seconds; a large repository on a slow disk
SHOWN = 5  # changed files named in an error


class Archive(msgspec.Struct, frozen=True):
    """One commit's files under the source folder."""

    path: Path
    artifact: str  # `sha256:…` of the file
    commit: str


class Source:
    """`folder` is inside a git repository; archives are kept under `cache` for as long as the command lasts."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder = folder
        self._cache = cache

    async def archive(self, revision: str | None) -> tuple[str, Archive]:
        """(what to call the version, its archive). Raises Refused: no repository, no such revision, a dirty tree."""
        if revision is not None and revision.startswith("-"):
            raise Refused(f"{revision!r} is not a git revision", hint="a tag, a branch or a commit")
        commit = (await self._git("rev-parse", "--verify", "--quiet", f"{revision or 'HEAD'}^{{commit}}")).strip()
        if not commit:
            raise Refused(
                f"{revision or 'HEAD'}: not a commit of the repository in {self._folder}", hint="git fetch --tags"
            )
        if commit == (await self._git("rev-parse", "HEAD")).strip():
            await self._refuse_dirty()
        return revision or commit[:10], await self._pack(commit)

    async def file_of(self, release: Release) -> Path:
        """The archive of a release that was opened elsewhere: the same commit gives the same bytes."""
        for path in self._cache.glob("*.tar"):
            if path.stem == release.artifact.partition(":")[2]:
                return path
        commit = (await self._git("rev-parse", "--verify", "--quiet", f"{release.version}^{{commit}}")).strip()
        if commit:
            archive = await self._pack(commit)
            if archive.artifact == release.artifact:
                return archive.path
        raise Refused(
            f"{release.version}: its source is not in this repository as it was when the rollout opened",
            hint="run this where it was opened, or: celadon abort",
        )

    async def _pack(self, commit: str) -> Archive:
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix="packing-", dir=self._cache)
        os.close(descriptor)
        # Run inside the folder: only what is below it, with names relative to it. A commit fixes every byte.
        await self._git("archive", "--format=tar", f"--output={name}", commit)
        digest = await asyncio.to_thread(_sha256, Path(name))
        path = self._cache / f"{digest}.tar"
        await asyncio.to_thread(os.replace, name, path)
        return Archive(path, f"sha256:{digest}", commit)

    async def _refuse_dirty(self) -> None:
        changed = [line[3:] for line in (await self._git("status", "--porcelain", "--", ".")).splitlines()]
        if changed:
            more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            raise Refused(
                f"{self._folder}: what would be deployed is not what is here: {len(changed)} uncommitted changes",
                details=[", ".join(changed[:SHOWN]) + more],
                hint="git commit, or name an older revision",
            )

    async def _git(self, *words: str) -> str:
        """Its output; empty when a quiet question has no answer."""
        environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            process = await asyncio.create_subprocess_exec(
                "git", *words, cwd=self._folder, env=environ, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise Refused(f"git cannot be run: {error.strerror}", hint="`source` needs git on this machine") from None
        try:
            async with asyncio.timeout(GIT_WITHIN):
                out, told = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Refused(f"git {words[0]} did not end within {GIT_WITHIN:g} s") from None
        if process.returncode and "--quiet" not in words:
            reason = told.decode("utf-8", "replace").strip().splitlines()
            raise Refused(
                f"{self._folder}: git {words[0]}: {reason[0] if reason else f'exit code {process.returncode}'}",
                hint="`source` is a folder in a git repository with at least one commit",
            )
        return out.decode("utf-8", "replace")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
