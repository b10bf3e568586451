"""Signatures as ssh-keygen makes and judges them: both ways, with key files and with an agent."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rig.require import require_programs

from celadon.adapters.signature import NAMESPACE, judge, signers
from celadon.core.errors import Refused

DATA = b"<!doctype html>\nall went well\n"


@pytest.fixture(autouse=True)
def ssh_tools() -> None:
    require_programs("ssh-keygen", "ssh-agent", "ssh-add", package="openssh-client")


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = ["-b", "2048"] if kind == "rsa" else []
    keygen("-q", "-t", kind, *size, "-N", passphrase, "-C", "", "-f", str(path))
    return path


def keygen(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *words], input=stdin, capture_output=True, timeout=30, check=False)


def allow(known: Path, key: Path, name: str = "ada@example.com", options: str = "") -> Path:
    line = f"{name} {options}{key.with_suffix('.pub').read_text()}"
    known.write_text((known.read_text() if known.exists() else "# who may sign\n\n") + line)
    return known


async def sign(home: Path, known: Path, *, agent: str = "", named: tuple[Path, ...] = ()) -> bytes | None:
    environ = {"HOME": str(home)} | ({"SSH_AUTH_SOCK": agent} if agent else {})
    async with signers(environ, known, named) as keys:
        return await keys[0].sign(DATA) if keys else None


def openssh_says(data: bytes, signature: bytes, known: Path, folder: Path, *, namespace: str = NAMESPACE) -> bool:
    (folder / "signature").write_bytes(signature)
    words = ("-Y", "verify", "-f", str(known), "-I", "ada@example.com", "-n", namespace)
    return keygen(*words, "-s", str(folder / "signature"), stdin=data).returncode == 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_what_is_signed_here_is_genuine_to_openssh(kind: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / ".ssh" / f"id_{kind}", kind=kind)
    known = allow(tmp_path / "known", key)
    signature = await sign(tmp_path, known)
    assert signature is not None
    assert openssh_says(DATA, signature, known, tmp_path)
    assert not openssh_says(DATA + b" ", signature, known, tmp_path)
    assert not openssh_says(DATA, signature, known, tmp_path, namespace="git")
    found = judge(DATA, signature, known)
    assert (found.judgement, found.signer) == ("genuine", "ada@example.com")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_openssh_signed_is_genuine_here(kind: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", kind=kind)
    signature = by_openssh(key, tmp_path)
    known = allow(tmp_path / "known", key)
    assert judge(DATA, signature, known).judgement == "genuine"
    assert judge(DATA + b"!", signature, known).judgement == "changed"


def by_openssh(key: Path, folder: Path, namespace: str = NAMESPACE) -> bytes:
    (folder / "data").write_bytes(DATA)
    made = keygen("-Y", "sign", "-f", str(key), "-n", namespace, str(folder / "data"))
    assert made.returncode == 0, made.stderr
    return (folder / "data.sig").read_bytes()


def test_an_unknown_signer_is_told_from_a_changed_text(tmp_path: Path) -> None:
    key, other = make_key(tmp_path / "key"), make_key(tmp_path / "other")
    signature = by_openssh(key, tmp_path)
    found = judge(DATA, signature, allow(tmp_path / "known", other))
    assert found.judgement == "unknown signer"
    assert found.line == " ".join((tmp_path / "key.pub").read_text().split()[:2])
    assert found.fingerprint in keygen("-l", "-f", str(key)).stdout.decode()
    assert judge(DATA, signature, tmp_path / "none").judgement == "unknown signer"


def test_a_signature_of_another_namespace_is_none(tmp_path: Path) -> None:
    """One of a commit must not pass as one of a certificate."""
    key = make_key(tmp_path / "key")
    signature = by_openssh(key, tmp_path, namespace="git")
    assert judge(DATA, signature, allow(tmp_path / "known", key)).judgement == "changed"


@pytest.mark.parametrize("options", ['namespaces="git" ', 'valid-before="20200101" '])
def test_what_the_file_of_signers_restricts_is_restricted(options: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    signature = by_openssh(key, tmp_path)
    known = allow(tmp_path / "known", key, options=options)
    assert judge(DATA, signature, known).judgement == "unknown signer"
    assert not openssh_says(DATA, signature, known, tmp_path)


def test_a_file_of_signers_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    signature = by_openssh(make_key(tmp_path / "key"), tmp_path)
    (tmp_path / "known").write_text("ada@example.com\n")
    with pytest.raises(Refused, match=r"known:1: not a signer"):
        judge(DATA, signature, tmp_path / "known")
    (tmp_path / "known").write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match="cannot be read"):
        judge(DATA, signature, tmp_path / "known")


@pytest.mark.parametrize(
    "cut",
    [
        lambda signature: b"",
        lambda signature: signature[: len(signature) // 2],
        lambda signature: signature.replace(b"U1NIU0lH", b"U1NIU0lX"),
        lambda signature: signature.replace(b"\n", b"\n!"),
        lambda signature: b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
    ],
)
def test_what_is_no_signature_is_told_and_never_a_crash(cut: object, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    signature = by_openssh(key, tmp_path)
    assert callable(cut)
    assert judge(DATA, cut(signature), allow(tmp_path / "known", key)).judgement == "changed"


def test_every_bit_of_a_signature_counts(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    known = allow(tmp_path / "known", key)
    signature = by_openssh(key, tmp_path)
    start = signature.index(b"\n") + 1
    for place in range(start, len(signature) - 30, 7):
        if signature[place : place + 1] in (b"\n", b"="):
            continue
        other = b"A" if signature[place : place + 1] != b"A" else b"B"
        wrong = signature[:place] + other + signature[place + 1 :]
        assert judge(DATA, wrong, known).judgement != "genuine", place


# -- keys ----------------------------------------------------------------------------------------------


@pytest.fixture
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("a")
    said = subprocess.run(
        ["ssh-agent", "-s", "-a", str(folder / "s")], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    pid = int(said.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    yield str(folder / "s")
    os.kill(pid, signal.SIGTERM)


def add(agent: str, key: Path, *, passphrase: str = "", folder: Path) -> None:
    asked = folder / "askpass"
    asked.write_text(f"#!/bin/sh\necho {passphrase}\n")
    asked.chmod(0o700)
    environ = {**os.environ, "SSH_AUTH_SOCK": agent, "SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", str(key)], env=environ, timeout=30, check=True)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_an_agent_signs_with_a_key_whose_passphrase_only_it_knows(kind: str, agent: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / ".ssh" / f"id_{kind}", kind=kind, passphrase="long enough")
    known = allow(tmp_path / "known", key)
    assert await sign(tmp_path, known) is None  # and nobody was asked
    add(agent, key, passphrase="long enough", folder=tmp_path)
    signature = await sign(tmp_path, known, agent=agent)
    assert signature is not None
    assert openssh_says(DATA, signature, known, tmp_path)


async def test_of_several_keys_the_one_that_others_know_signs(agent: str, tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        add(agent, make_key(tmp_path / name), folder=tmp_path)
    known = allow(tmp_path / "known", tmp_path / "second")
    signature = await sign(tmp_path, known, agent=agent)
    assert signature is not None
    assert judge(DATA, signature, known).judgement == "genuine"


async def test_the_key_that_a_config_names_comes_before_the_usual_ones(tmp_path: Path) -> None:
    make_key(tmp_path / ".ssh" / "id_ed25519")
    named = make_key(tmp_path / "deploy")
    signature = await sign(tmp_path, tmp_path / "none", named=(named,))
    assert signature is not None
    assert judge(DATA, signature, allow(tmp_path / "known", named)).judgement == "genuine"


async def test_without_a_key_or_with_a_dead_agent_nothing_is_signed(tmp_path: Path) -> None:
    assert await sign(tmp_path, tmp_path / "none") is None
    assert await sign(tmp_path, tmp_path / "none", agent=str(tmp_path / "gone")) is None
