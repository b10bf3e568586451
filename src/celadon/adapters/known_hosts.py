"""The files that say which key a host has: the project's `.celadon/known_hosts`, and the user's own."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

import asyncssh

from celadon.adapters import files
from celadon.adapters.http import quoted
from celadon.core.errors import Refused

KEY_WORDS = 3  # name, type, key


class KnownHosts:
    """One file of lines `name type key`, in OpenSSH's format; changed by replacing it whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> str:
        """Empty where there is no file: then no host is known by it."""
        try:
            # Other tools write there too: what is not UTF-8 stays what it is when the file is written again.
            return self.path.read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""

    def trust(self, line: str) -> None:
        """Add the line; any other key of the same name goes. Every other line stays as it is."""
        name = line.split(maxsplit=1)[0]
        kept = [there for there in self.text().splitlines() if there.split()[:1] != [name]]
        self._replace("".join(f"{there}\n" for there in [*kept, line.strip()]))

    def forget(self, name: str) -> None:
        kept = [there for there in self.text().splitlines() if there.split()[:1] != [name]]
        self._replace("".join(f"{there}\n" for there in kept))

    def _replace(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(self.path, text, mode=0o644)


def together(project: Path, known: str) -> str:
    """`known`, and the project's lines about other hosts: an address may have been another machine's before."""
    made = {line.split()[0] for line in known.splitlines() if line.strip()}
    lines = [line for line in KnownHosts(project).text().splitlines() if not _names(line) & made]
    return "".join(f"{line}\n" for line in (*known.splitlines(), *lines))


def read_all(project: Path, users: Iterable[Path], known: str = "") -> asyncssh.SSHKnownHosts:
    """`known`, and all the files' lines about other hosts.

    Raises `Refused` for a line of the project's or of `known` that cannot be read. The user's
    own files may have lines that only OpenSSH understands: those say nothing here.
    """
    text = together(project, known)
    try:
        asyncssh.import_known_hosts(text)
    except ValueError as error:
        message = f"{project}: a line is not in the known_hosts format: {quoted(str(error))}"
        raise Refused(message, where=str(project)) from error
    made = {line.split()[0] for line in known.splitlines() if line.strip()}
    theirs = (line for path in users for line in KnownHosts(path).text().splitlines())
    lines = [line for line in theirs if not _names(line) & made and _is_readable(line)]
    return asyncssh.import_known_hosts("\n".join([text, *lines]) + "\n")


def _names(line: str) -> set[str]:
    """The hosts that a line is about, without their ports. A hashed name is none that can be read."""
    first = line.split(maxsplit=1)[0] if line.strip() else ""
    return {name[1:].rpartition("]:")[0] if name.startswith("[") else name for name in first.split(",")}


def _is_readable(line: str) -> bool:
    try:
        asyncssh.import_known_hosts(line + "\n")
    except ValueError:
        return False
    return True


def pattern(host: str, port: int) -> str:
    """How known_hosts names a host: with its port unless that is 22."""
    return host if port == asyncssh.DEFAULT_PORT else f"[{host}]:{port}"


def key_line(host: str, port: int, key: asyncssh.SSHKey) -> str:
    """One line for known_hosts."""
    return " ".join([pattern(host, port), *key.export_public_key("openssh").decode("ascii").split()[:2]])


def fingerprint(key: asyncssh.SSHKey) -> str:
    """`SHA256:…`, as `ssh-keygen -l` prints it."""
    return key.get_fingerprint()


def fingerprint_of_line(line: str) -> str:
    """The fingerprint of a line's key, for comparing without a connection."""
    words = line.split()
    if len(words) < KEY_WORDS:
        raise Refused("a known_hosts line has a name, a type and a key")
    try:
        key = base64.b64decode(words[2], validate=True)
    except ValueError as error:
        raise Refused("a known_hosts line has a key that is not base64", hint="celadon hosts trust") from error
    return fingerprint_of(key)


def fingerprint_of(public: bytes) -> str:
    """Of a public key as SSH sends it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode("ascii").rstrip("=")
