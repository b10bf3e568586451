"""Signatures with the deployer's SSH key, in the format of `ssh-keygen -Y sign`, and the file of known signers.

A key is taken from the agent, or from a key file that has no passphrase. Nothing here ever asks for one: this runs at
the end of a deploy, and in CI. The namespace keeps a certificate's signature from passing as one of a commit, and the
other way round.
"""

import asyncio
import base64
import binascii
import hashlib
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncssh
import msgspec

from celadon.adapters.known_hosts import fingerprint_of
from celadon.core.errors import Refused

NAMESPACE = "celadon-certificate"
BEGIN, END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
MAGIC = b"SSHSIG"
KEY_FILES = ("id_ed25519", "id_ecdsa", "id_rsa")  # ssh's own names, strongest first
AGENT_WITHIN = 10.0  # seconds; a key that wants to be touched is not touched in a CI job
LARGEST = 64 * 1024  # bytes of a signature that are read at all

Judgement = Literal["genuine", "changed", "unknown signer", "unsigned"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature shows. `line`: what `allowed_signers` would hold of an unknown signer, without a name."""

    judgement: Judgement
    signer: str = ""  # as allowed_signers names it
    fingerprint: str = ""
    line: str = ""


class Signer(msgspec.Struct, frozen=True):
    """One usable key."""

    pair: asyncssh.SSHKeyPair

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.pair.public_data)

    async def sign(self, data: bytes) -> bytes:
        """The armoured signature. Raises ValueError or TimeoutError where an agent declines."""
        if self.pair.sig_algorithm == b"ssh-rsa":
            self.pair.set_sig_algorithm(b"rsa-sha2-512")
        message = _signed(data)
        if isinstance(self.pair, asyncssh.SSHAgentKeyPair):
            async with asyncio.timeout(AGENT_WITHIN):
                made = await self.pair.sign_async(message)
        else:
            made = self.pair.sign(message)
        parts = (self.pair.public_data, NAMESPACE.encode(), b"", b"sha512", made)
        return _armoured(MAGIC + struct.pack(">I", 1) + b"".join(map(_string, parts)))


@asynccontextmanager
async def signers(
    environ: Mapping[str, str], known: Path, named: Sequence[Path] = ()
) -> AsyncIterator[Sequence[Signer]]:
    """The deployer's usable keys, the one to use first: what `known` lists comes before what it does not.

    `named`: key files that an SSH config names for the app's hosts.
    """
    async with _agent(environ) as held:
        pairs = (*_opened(named), *held, *_opened(_usual(environ)))
        found: dict[bytes, Signer] = {}
        for pair in pairs:
            if not pair.has_cert:
                found.setdefault(pair.public_data, Signer(pair))
        listed = _listed(known)
        yield [*(found[key] for key in found if key in listed), *(found[key] for key in found if key not in listed)]


def judge(data: bytes, signature: bytes, known: Path) -> Verdict:
    """Raises Refused for a file of signers that cannot be read."""
    try:
        blob = _dearmoured(signature)
        fields = _fields(blob)
        line = _public_line(fields[0])
    except (ValueError, struct.error):
        return Verdict(judgement="changed")
    shown = fingerprint_of(fields[0])
    if fields[1] != NAMESPACE.encode() or not _holds(data, signature, "anybody", f"* {line}"):
        return Verdict(judgement="changed", fingerprint=shown)
    for name, allowed in _entries(known):
        if _holds(data, signature, name, allowed):
            return Verdict(judgement="genuine", signer=name, fingerprint=shown)
    return Verdict(judgement="unknown signer", fingerprint=shown, line=line)


# -- keys ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _agent(environ: Mapping[str, str]) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    """What the agent holds; nothing where there is none, or where it does not answer."""
    path = environ.get("SSH_AUTH_SOCK")
    if not path:
        yield ()
        return
    client = asyncssh.SSHAgentClient(path)
    try:
        async with asyncio.timeout(AGENT_WITHIN):
            held = await client.get_keys()
    except (OSError, ValueError, TimeoutError, asyncssh.Error):
        held = ()
    try:
        yield held
    finally:
        client.close()


def _usual(environ: Mapping[str, str]) -> list[Path]:
    folder = Path(environ.get("HOME") or "~").expanduser() / ".ssh"
    return [folder / name for name in KEY_FILES]


def _opened(files: Sequence[Path]) -> list[asyncssh.SSHKeyPair]:
    """Of these key files, those that open without a passphrase."""
    found: list[asyncssh.SSHKeyPair] = []
    for path in files:
        try:
            found += asyncssh.load_keypairs(str(path))
        except (OSError, ValueError):
            continue
    return found


# -- known signers ---------------------------------------------------------------------------------


def _entries(known: Path) -> list[tuple[str, str]]:
    """Each line of the file, with each name that it has for its key. A line that cannot be read is refused."""
    found = []
    for number, line in enumerate(_text(known).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(line.split()) < 3:
            raise Refused(
                f"{known}:{number}: not a signer",
                hint="one a line: NAME KEYTYPE KEY (man ssh-keygen, ALLOWED SIGNERS)",
                where=str(known),
            )
        names = [name for name in line.split(maxsplit=1)[0].strip('"').split(",") if not name.startswith("!")]
        found += [(name, line) for name in names]
    return found


def _listed(known: Path | None) -> frozenset[bytes]:
    """The keys of the file, as their lines spell them."""
    words = _text(known).split() if known is not None else []
    found = set()
    for word in words:
        try:
            found.add(base64.b64decode(word, validate=True))
        except binascii.Error:
            continue
    return frozenset(found)


def _text(known: Path) -> str:
    """Empty where there is no file: then nobody is known."""
    try:
        return known.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{known}: cannot be read", hint="a text file of signers", where=str(known)) from error


# -- the format (PROTOCOL.sshsig of OpenSSH) -------------------------------------------------------


def _signed(data: bytes) -> bytes:
    """What is signed in place of the data."""
    parts = (NAMESPACE.encode(), b"", b"sha512", hashlib.sha512(data).digest())
    return MAGIC + b"".join(map(_string, parts))


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _fields(blob: bytes) -> list[bytes]:
    """Public key, namespace, reserved, hash, signature."""
    if blob[:6] != MAGIC or blob[6:10] != struct.pack(">I", 1):
        raise ValueError("not a signature of OpenSSH's")
    fields, rest = [], blob[10:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        if len(rest) < 4 + length:
            raise ValueError("cut short")
        fields.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    if len(fields) != 5:
        raise ValueError("not five fields")
    return fields


def _public_line(public: bytes) -> str:
    (length,) = struct.unpack(">I", public[:4])
    return f"{public[4 : 4 + length].decode('ascii')} {base64.b64encode(public).decode()}"


def _armoured(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]  # as wide as ssh-keygen's
    return b"\n".join([BEGIN, *lines, END, b""])


def _dearmoured(signature: bytes) -> bytes:
    inner = signature.strip().removeprefix(BEGIN).removesuffix(END)
    return base64.b64decode(b"".join(inner.split()), validate=True)


def _holds(data: bytes, signature: bytes, name: str, allowed: str) -> bool:
    try:
        return asyncssh.validate_sshsig(data, signature.strip() + b"\n", name, allowed.encode())
    except ValueError:
        return False
