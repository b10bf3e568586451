"""`git archive` as a release's artifact: the same bytes everywhere, and never something else than what was seen."""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from celadon.adapters.archive import Archive, make_archive
from celadon.core.errors import Refused, Unavailable

ENV = {
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_AUTHOR_DATE": "2025-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_COMMITTER_DATE": "2025-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": "/usr/local/bin:/usr/bin:/bin",
}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def contents(archive: Archive) -> dict[str, str]:
    with tarfile.open(archive.path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: (file or io.BytesIO()).read().decode() for name, file in files.items()}


async def test_a_commit_becomes_a_tar_named_by_its_hash(project: Path, tmp_path: Path) -> None:
    head = commit(project, app_dot_py="print(1)", src__x="deep")
    archive = await make_archive(project, "HEAD", tmp_path / "out")
    content = archive.path.read_bytes()
    assert contents(archive) == {"app.py": "print(1)", "src/x": "deep"}
    assert archive.artifact == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (archive.size, archive.commit, archive.notes) == (len(content), head, ())
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / f"{archive.artifact[7:]}.tar"]


async def test_a_clone_with_other_settings_makes_the_same_bytes(project: Path, tmp_path: Path) -> None:
    commit(project, app_dot_py="print(1)\n", b="2")
    git(tmp_path, "clone", "-q", str(project), "clone")
    git(tmp_path / "clone", "config", "tar.umask", "0077")
    git(tmp_path / "clone", "config", "status.showUntrackedFiles", "no")
    one = await make_archive(project, "HEAD", tmp_path / "one")
    two = await make_archive(tmp_path / "clone", "main", tmp_path / "two")
    assert one.artifact == two.artifact


async def test_made_twice_is_made_once(project: Path, tmp_path: Path) -> None:
    commit(project, app="1")
    first, second = [await make_archive(project, "HEAD", tmp_path / "out") for _ in range(2)]
    assert first == second
    assert len(list((tmp_path / "out").iterdir())) == 1


async def test_only_what_is_below_source_is_in_it(project: Path, tmp_path: Path) -> None:
    commit(project, app__main="1", docs__index="2")
    (project / "docs" / "draft").write_text("not committed, and not below source")
    archive = await make_archive(project / "app", "HEAD", tmp_path)
    assert contents(archive) == {"main": "1"}


@pytest.mark.parametrize("change", ["changed", "untracked", "deleted", "staged"])
async def test_a_tree_that_is_not_the_commit_is_refused(project: Path, tmp_path: Path, change: str) -> None:
    commit(project, app="1", other="2", _dot_gitignore="*.log\n")
    git(project, "config", "status.showUntrackedFiles", "no")
    (project / "noise.log").write_text("ignored")
    await make_archive(project, "HEAD", tmp_path / "out")
    name = "new\x1b[2J file" if change == "untracked" else "app"
    if change == "deleted":
        (project / name).unlink()
    else:
        (project / name).write_text("changed")
    if change == "staged":
        git(project, "add", "-A")
    for revision in ("HEAD", "main"):
        with pytest.raises(Refused, match="leave these changes out") as caught:
            await make_archive(project, revision, tmp_path / "out")
        assert len(caught.value.details) == 1
        assert name.split("\x1b", maxsplit=1)[0] in caught.value.details[0]
        assert caught.value.details[0].isprintable()
        assert "git stash" in (caught.value.hint or "")
    assert len(list((tmp_path / "out").iterdir())) == 1


async def test_many_changes_are_counted(project: Path, tmp_path: Path) -> None:
    commit(project, app="1")
    for number in range(25):
        (project / f"new-{number}").write_text("x")
    with pytest.raises(Refused) as caught:
        await make_archive(project, "HEAD", tmp_path / "out")
    assert (len(caught.value.details), caught.value.details[-1]) == (11, "… and 15 more")


async def test_another_revision_does_not_mind_the_tree(project: Path, tmp_path: Path) -> None:
    first = commit(project, app="1")
    git(project, "tag", "-a", "v1.0.0", "-m", "one")
    commit(project, app="2")
    (project / "app").write_text("3")
    archive = await make_archive(project, "v1.0.0", tmp_path / "out")
    assert (contents(archive), archive.commit) == ({"app": "1"}, first)


@pytest.mark.parametrize("revision", ["", "nothing", "--output=/tmp/x", "-h", "HEAD\n", "HEAD:app", "a b", "$(id)"])
async def test_a_revision_that_is_none_is_refused(project: Path, tmp_path: Path, revision: str) -> None:
    commit(project, app="1")
    with pytest.raises(Refused, match=r"no commit|not a git revision"):
        await make_archive(project, revision, tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_no_repository_and_no_folder_are_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(Refused, match="git rev-parse failed") as caught:
        await make_archive(tmp_path / "plain", "HEAD", tmp_path / "out")
    assert "not a git repository" in caught.value.details[0]
    with pytest.raises(Refused, match="not a folder"):
        await make_archive(tmp_path / "nowhere", "HEAD", tmp_path / "out")
    with pytest.raises(Refused, match="no commit 'HEAD'"):
        await make_archive(project, "HEAD", tmp_path / "out")


async def test_nothing_below_source_is_refused(project: Path, tmp_path: Path) -> None:
    commit(project, app="1", _dot_gitignore="empty\n")
    (project / "empty").mkdir()
    with pytest.raises(Refused, match="no files below source"):
        await make_archive(project / "empty", "HEAD", tmp_path / "out")


async def test_git_is_needed(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="git is not installed"):
        await make_archive(project, "HEAD", tmp_path / "out")


async def test_variables_of_a_git_hook_do_not_lead_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(project, app="1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert contents(await make_archive(project, "HEAD", tmp_path / "out")) == {"app": "1"}


async def test_too_large_is_refused_and_nothing_is_left(project: Path, tmp_path: Path) -> None:
    commit(project, app="x" * 300_000)
    with pytest.raises(Refused, match="larger than 100000 bytes"):
        await make_archive(project, "HEAD", tmp_path / "out", largest=100_000)
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_git_that_hangs_is_ended(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\nexec /bin/sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    with pytest.raises(Unavailable, match="longer than 2 s"):
        await make_archive(project, "HEAD", tmp_path / "out", deadline=2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_submodules_and_lfs_pointers_are_noted(project: Path, tmp_path: Path) -> None:
    head = commit(project, app="1", big="version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    (project / "vendor").mkdir()
    git(project, "commit", "-q", "-m", "with a submodule")
    archive = await make_archive(project, "HEAD", tmp_path / "out")
    assert archive.notes == (
        "submodule vendor is not in the archive: git archive leaves submodules out",
        "big: a Git LFS pointer, not the file; install git-lfs and run git lfs pull",
    )
