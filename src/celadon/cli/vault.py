"""The secrets of one command: values in memory, fingerprints under the key that the app's home keeps."""

import secrets as chance
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from celadon.config.model import Config
from celadon.config.secrets import fingerprint, resolve
from celadon.core.errors import CeladonError, Refused
from celadon.core.release import Release
from celadon.core.secret import Secret
from celadon.drive.log import senseless

KEY_BYTES = 32
MASKED = 6  # characters; what is shorter is also a common word


class KeyStore(Protocol):
    """Where the key is: with the app's lease and intent."""

    async def read_key(self) -> bytes | None: ...

    async def swap_key(self, old: bytes | None, new: bytes) -> bool: ...


class Vault:
    """Implements `ports.SecretSource`."""

    def __init__(
        self, found: Mapping[str, Secret], *, problem: CeladonError | None = None, store: KeyStore | None = None
    ) -> None:
        self._found = found
        self._problem = problem
        self._store = store
        self._key: bytes | None = None

    def bind(self, store: KeyStore) -> None:
        """The home is known only after the hosts are, and those may need a secret of the registry's."""
        self._store = store

    def get(self, name: str) -> Secret | None:
        return self._found.get(name)

    async def fingerprints(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """(name, fingerprint), sorted. Makes the app's key where there is none yet."""
        if not names:
            return ()
        if self._problem is not None:
            raise self._problem
        key = await self._the_key()
        return tuple(sorted((name, fingerprint(self._found[name], key)) for name in names))

    async def unlock(self) -> None:
        """Read the key, if there is one: a later driver compares with it."""
        if self._store is not None and self._found:
            self._key = _decoded(await self._store.read_key())

    def values(self, release: Release) -> Mapping[str, Secret]:
        values = {}
        for name, expected in release.secrets:
            value = self._found.get(name)
            if value is None:
                raise self._problem or Refused(f"secret {name} has no value here", hint="celadon check --offline")
            if self._key is not None and fingerprint(value, self._key) != expected:
                raise Refused(
                    f"secret {name} has another value here than {release.version} was opened with",
                    hint="run this where it was opened, or: celadon abort, then deploy again",
                )
            values[name] = value
        return values

    def mask(self, text: str) -> str:
        for value in self._found.values():
            if len(shown := value.reveal()) >= MASKED:
                text = text.replace(shown, "***")
        return text

    async def _the_key(self) -> bytes:
        if self._key is None:
            assert self._store is not None  # noqa: S101 - bound before anything is asked; for the type checker
            new = chance.token_hex(KEY_BYTES).encode()
            raw = await self._store.read_key()
            if raw is None and not await self._store.swap_key(None, new):
                raw = await self._store.read_key()  # another deployer made it a moment ago
            self._key = _decoded(raw if raw is not None else new)
        assert self._key is not None  # noqa: S101 - set above; for the type checker
        return self._key


def _decoded(raw: bytes | None) -> bytes | None:
    """Raises Refused for what is no key: the home is another machine."""
    try:
        return None if raw is None else bytes.fromhex(raw.decode())
    except ValueError as error:
        raise senseless("key of the secrets' fingerprints") from error


async def open_vault(config: Config, *, root: Path, environ: Mapping[str, str], must: bool) -> Vault:
    """`must`: a missing secret is refused now. Else it is remembered, and refused when a host lacks it."""
    try:
        return Vault(await resolve(config, root=root, environ=environ))
    except CeladonError as error:
        if must:
            raise
        return Vault({}, problem=error)
