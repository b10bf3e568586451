"""The layer that test images stand on: Debian with Python, made once by debootstrap and kept in a cache.

No registry of the world is asked. The first run on a machine takes about a minute, the next ones read a file.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.rig.require import program, require, require_programs, require_root

SUITE = "bookworm"
EDITION = 1  # raise it when what is left out changes: caches hold the old one
# Neither Python nor a shell needs these, and every host of a test unpacks what is left.
LEFT_OUT = (
    "boot", "home", "media", "mnt", "opt", "srv", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log",
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/zoneinfo", "usr/share/perl5",
    "usr/share/i18n", "usr/lib/systemd", "usr/lib/apt", "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/aarch64-linux-gnu/gconv", "usr/lib/aarch64-linux-gnu/perl-base",
)  # fmt: skip


class Layer(NamedTuple):
    """One layer of an image. `diff_id` is the digest of the tar, `digest` that of its compressed form."""

    diff_id: str
    digest: str
    path: Path


def base_layer() -> Layer:
    """From the cache (`CELADON_TEST_CACHE`, else in the user's cache folder); made where it is not there."""
    folder = cache()
    facts = folder / f"base-{SUITE}-{os.uname().machine}-{EDITION}.json"
    with (folder / "base.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two workers one makes it, the other finds it
        if not facts.exists():
            _make(facts)
    found = json.loads(facts.read_text())
    return Layer(found["diff_id"], found["digest"], folder / found["file"])


def cache() -> Path:
    """What is kept from one run to the next: made where it is not there."""
    folder = Path(os.environ.get("CELADON_TEST_CACHE") or Path.home() / ".cache" / "celadon-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make(facts: Path) -> None:
    require_root("debootstrap makes the base image")
    require_programs("debootstrap", package="debootstrap")
    with tempfile.TemporaryDirectory(prefix="celadon-base-") as scratch:
        root = Path(scratch) / "root"
        command = [program("debootstrap") or "debootstrap", "--variant=minbase", "--include=python3"]
        command += [SUITE, str(root)]  # from its own default mirror
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        require(done.returncode == 0, f"a base image: debootstrap said {done.stdout[-500:]}{done.stderr[-500:]}")
        for name in LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
        file = facts.with_suffix(".tar.gz")
        diff_id, digest = _pack(root, file)
    partial = facts.with_suffix(".partial")
    partial.write_text(json.dumps({"diff_id": diff_id, "digest": digest, "file": file.name}))
    partial.rename(facts)


def _pack(root: Path, file: Path) -> tuple[str, str]:
    """Both digests of the layer. Compressed as little as gzip can: it is only ever sent over loopback."""
    plain, packed = hashlib.sha256(), hashlib.sha256()
    command = [
        "tar",
        "--numeric-owner",
        "--sort=name",
        "--exclude=./proc/*",
        "--exclude=./sys/*",
        "--exclude=./dev/*",
    ]
    with subprocess.Popen([*command, "-C", root, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        with gzip.GzipFile(file, "wb", compresslevel=1, mtime=0) as out:
            while piece := tar.stdout.read(1 << 20):
                plain.update(piece)
                out.write(piece)
    assert tar.returncode == 0
    with file.open("rb") as content:
        while piece := content.read(1 << 20):
            packed.update(piece)
    return f"sha256:{plain.hexdigest()}", f"sha256:{packed.hexdigest()}"
