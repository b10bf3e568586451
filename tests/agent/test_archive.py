"""Source archives may say anything; only files and links inside their own folder are made."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from celadon.agent import archive
from celadon.agent.errors import AgentError


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", text: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(text)
    return info, text


def packed(folder: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    path = folder / "archive.tar"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, text in members:
            tar.addfile(info, io.BytesIO(text))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_files_folders_modes_and_inner_links_are_unpacked(tmp_path: Path, mode: str) -> None:
    program = member("bin/run", text=b"#!/bin/sh\n")
    program[0].mode = 0o6755
    path = packed(
        tmp_path,
        member("a/b/file.py", text=b"x = 1\n"),
        program,
        member("empty", tarfile.DIRTYPE),
        member("a/link.py", tarfile.SYMTYPE, "../bin/run"),
        mode=mode,
    )
    archive.unpack(path, tmp_path / "app")
    assert (tmp_path / "app/a/b/file.py").read_bytes() == b"x = 1\n"
    assert (tmp_path / "app/bin/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "app/empty").is_dir()
    assert (tmp_path / "app/a/link.py").resolve() == (tmp_path / "app/bin/run").resolve()
    archive.unpack(path, tmp_path / "app")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["app", "archive.tar"]


HOSTILE = {
    "absolute": [member("/etc/celadon-test", text=b"x")],
    "parent": [member("../outside", text=b"x")],
    "parent inside": [member("a/../../outside", text=b"x")],
    "link out": [member("link", tarfile.SYMTYPE, "../outside")],
    "absolute link": [member("link", tarfile.SYMTYPE, "/etc")],
    "links that add up": [member("here", tarfile.SYMTYPE, "."), member("out", tarfile.SYMTYPE, "here/../outside")],
    "hard link": [member("file", text=b"x"), member("hard", tarfile.LNKTYPE, "/etc/passwd")],
    "device": [member("null", tarfile.CHRTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "in", member("good.py", text=b"x"), *HOSTILE[name])
    with pytest.raises(AgentError) as caught:
        archive.unpack(path, tmp_path / "in/app")
    assert caught.value.kind == "refused"
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["archive.tar", "in"]


def test_a_file_through_a_link_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    path = packed(tmp_path, member("d", tarfile.SYMTYPE, "../outside"), member("d/file", text=b"x"))
    with pytest.raises((AgentError, FileExistsError)):
        archive.unpack(path, tmp_path / "app")
    assert not list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "app").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(AgentError, match="cannot be read"):
        archive.unpack(tmp_path / "archive.tar", tmp_path / "app")


def test_an_archive_is_kept_only_under_its_own_hash(state: Path) -> None:
    data = b"anything"
    pieces = [data, b""]
    right = "sha256:" + hashlib.sha256(data).hexdigest()
    with pytest.raises(AgentError, match="arrived as"):
        archive.receive("shop", "sha256:" + "1" * 64, iter([data, b""]).__next__)
    assert archive.receive("shop", right, iter(pieces).__next__) == len(data)
    assert archive.receive("shop", right, iter(()).__next__) == 0
    assert [entry.name for entry in (state / "shop/archives").iterdir()] == [right.removeprefix("sha256:") + ".tar"]


@pytest.mark.parametrize("artifact", ["sha256:xyz", "ghcr.io/acme/hello@sha256:" + "0" * 64, "../" * 20])
def test_only_a_hash_names_an_archive(state: Path, artifact: str) -> None:
    with pytest.raises(AgentError, match="not the hash"):
        archive.file_of("shop", artifact)
