"""Secrets of a command: one key an app, no value anywhere, and another value is noticed."""

from pathlib import Path

import pytest

from celadon.adapters.memory import MemoryStore
from celadon.cli.vault import Vault, open_vault
from celadon.config.load import parse
from celadon.core.errors import Refused
from celadon.core.release import Release
from celadon.core.secret import Secret
from tests.cli.worlds import CONFIG

NAMES = ("DATABASE_URL", "SECRET_KEY")
VALUES = {"DATABASE_URL": Secret("postgres://sentinel-value"), "SECRET_KEY": Secret("other-value")}


def release(secrets: tuple[tuple[str, str], ...]) -> Release:
    return Release(app="shop", version="v1", artifact="a", runtime="docker", secrets=secrets)


async def fingerprints(store: MemoryStore, values: dict[str, Secret] = VALUES) -> tuple[tuple[str, str], ...]:
    vault = Vault(values)
    vault.bind(store)
    return await vault.fingerprints(NAMES)


async def test_two_machines_give_a_release_the_same_id() -> None:
    store = MemoryStore()
    assert release(await fingerprints(store)).id == release(await fingerprints(store)).id


async def test_another_app_has_another_key() -> None:
    assert await fingerprints(MemoryStore()) != await fingerprints(MemoryStore())


async def test_a_fingerprint_tells_nothing() -> None:
    assert "sentinel" not in repr(await fingerprints(MemoryStore()))


async def test_a_later_driver_notices_another_value() -> None:
    store = MemoryStore()
    opened = release(await fingerprints(store))
    same, other = Vault(VALUES), Vault(VALUES | {"SECRET_KEY": Secret("changed")})
    for vault in (same, other):
        vault.bind(store)
        await vault.unlock()
    assert same.values(opened) == VALUES
    with pytest.raises(Refused, match="SECRET_KEY has another value"):
        other.values(opened)


async def test_what_is_missing_is_refused_only_when_it_is_needed(tmp_path: Path) -> None:
    config = parse(CONFIG + '[env]\nsecret = ["DATABASE_URL"]\n', file="celadon.toml", root=tmp_path)
    with pytest.raises(Refused, match="DATABASE_URL"):
        await open_vault(config, root=tmp_path, environ={}, must=True)
    vault = await open_vault(config, root=tmp_path, environ={}, must=False)
    assert vault.values(release(())) == {}
    with pytest.raises(Refused, match="DATABASE_URL"):
        vault.values(release((("DATABASE_URL", "x"),)))


def test_output_that_is_kept_has_no_values() -> None:
    assert Vault(VALUES).mask("url=postgres://sentinel-value ok") == "url=*** ok"


@pytest.mark.parametrize("key", [b"not hexadecimal", b"\xff", b"abc"])
async def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    store = MemoryStore()
    await store.swap_key(None, key)
    with pytest.raises(Refused, match="key of the secrets' fingerprints that the home keeps makes no sense"):
        await Vault(VALUES, store=store).unlock()
