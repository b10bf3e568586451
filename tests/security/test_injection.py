"""F16, the operator's side: the corpus in every field of the config, every word of a command line, every host key line.

A value is refused with an error that a terminal can show, or it is taken, and then it is a value and nothing else.
"""

import copy
import io
import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.cli.worlds import CONFIG as WORLD_CONFIG
from tests.cli.worlds import MemoryWorld
from tests.security.corpus import hostile, unsafe
from tests.security.scene import CONFIG, Scene, scene

from celadon.adapters.linode import LinodeApi
from celadon.cli.call import answer
from celadon.cli.output import Output
from celadon.config import ConfigError, parse, rules
from celadon.config.kinds import At
from celadon.config.model import CONFIG as CONFIG_KIND
from celadon.config.model import Config
from celadon.config.show import example
from celadon.core.errors import CeladonError, Refused
from celadon.core.secret import Secret

CORPUS = hostile(Path("/x"))
FREE_TEXT = {
    "command",
    "health.path",  # an absolute path is one
    "registry.username",
    "tests.name",  # words for people, shown with every control character made harmless
    "env.clear.APP_ENV",
    "secrets.command",
    "tests.command",
    "hooks.after_finish.command",
    "verify.contains",
}
REFERENCE = tomllib.loads(example())


def fields(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every text, number and yes or no in the tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from fields(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from fields(value, (*path, index))
    else:
        yield path


def with_value(tree: Any, path: tuple[str | int, ...], value: Any) -> Any:
    changed = copy.deepcopy(tree)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def with_key(tree: Any, path: tuple[str | int, ...], key: str) -> Any:
    """The same, with another name for the last key."""
    changed = copy.deepcopy(tree)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[key] = place.pop(path[-1])
    return changed


def read(tree: Any, root: Path) -> Config:
    at = At("celadon.toml", root, set(), {})
    return rules.complete(CONFIG_KIND.read(tree, at), at)


def readable(error: CeladonError) -> None:
    for text in (error.message, error.hint or "", *error.details):
        assert not unsafe(text)
        assert len(text) < 1000


@pytest.mark.parametrize("name", CORPUS)
def test_every_field_of_the_config_refuses_it_or_takes_it_as_it_is(tmp_path: Path, name: str) -> None:
    taken: set[str] = set()
    for path in fields(REFERENCE):
        try:
            config = read(with_value(REFERENCE, path, CORPUS[name]), tmp_path)
        except ConfigError as error:
            readable(error)
        else:
            taken.add(".".join(str(key) for key in path if isinstance(key, str)))
            assert CORPUS[name] in _texts(msgspec.to_builtins(config)), f"{path} became something else"
    assert taken <= FREE_TEXT


def _texts(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [text for item in tree.items() for part in item for text in _texts(part)]
    if isinstance(tree, list | tuple):
        return [text for part in tree for text in _texts(part)]
    return [tree] if isinstance(tree, str) else []


@pytest.mark.parametrize("name", CORPUS)
def test_every_key_of_the_config_refuses_it(tmp_path: Path, name: str) -> None:
    for path in fields(REFERENCE):
        if isinstance(path[-1], str):
            with pytest.raises(ConfigError) as caught:
                read(with_key(REFERENCE, path, CORPUS[name]), tmp_path)
            readable(caught.value)


@pytest.mark.parametrize("name", [name for name in CORPUS if name != "nul"])  # which no command line can carry
def test_every_word_of_a_command_line(tmp_path: Path, name: str) -> None:
    """On a whole world in memory. What is opened and written is what a verb's FILE names, in the project."""
    world = MemoryWorld(tmp_path)
    canary = tmp_path / "canary"
    text = hostile(canary)[name]
    before = sorted(tmp_path.rglob("*"))
    for words in (
        [text], ["status", text], ["deploy", text, "--yes"], ["plan", text], ["history", text], ["rollback", text],
        ["logs", "--host", text], ["logs", "--release", text], ["logs", "--since", text], ["hosts", "trust", text],
        ["status", "--wait", text], ["check", text], ["exec", "--host", text, "--", text], ["store", text],
        ["completion", text], ["-c", text[:200], "status"], ["status", f"--{text}"],
    ):  # fmt: skip
        ran = world.run(*words)
        assert ran.exit in range(5)
        assert "bug in Celadon (" not in ran.err, (words[0], ran.err[-500:])
        assert not unsafe(ran.out + ran.err)
        assert not canary.exists()
    assert sorted(tmp_path.rglob("*")) == before


class Terminal(io.StringIO):
    """A terminal that cannot be resized."""

    def isatty(self) -> bool:
        return True


@pytest.mark.slow  # each a rollout of a second
@pytest.mark.parametrize("name", CORPUS)
def test_the_live_view_sends_no_sequence_but_its_own(tmp_path: Path, name: str) -> None:
    """Drawn for a real terminal, with the corpus as version, as name of a test and in what hosts and commands say."""
    world = MemoryWorld(tmp_path)
    text = hostile(tmp_path / "canary")[name][:5000]
    world.make_sick(text)
    world.hosts.machines["blue-1"].boot_id = text
    out, err = Terminal(), Terminal()
    environ = {"HOME": str(tmp_path), "TERM": "xterm"}
    output = Output(out, err, environ)
    with Path(os.devnull).open(encoding="utf-8") as stdin:
        words = ["deploy", text, "--yes"] if not text.startswith("-") else ["deploy", "--yes", "--", text]
        answer(words, output, environ=environ, cwd=tmp_path, stdin=stdin, connect=world.connect)
    told = out.getvalue() + err.getvalue()
    assert not unsafe(told, terminal=True)
    assert len(told) < 2_000_000


# -- real commands, where a value was taken --------------------------------------------------------------


FREE = """
command = [{value}, "--bind", {value}]
[env]
clear = {{ GREETING = {value} }}
[[tests]]
name = "smoke"
command = [{value}]
[hooks]
before_prepare = {{ command = [{value}, {value}] }}
[verify]
contains = {value}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("injection")) as found:
        yield found


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", [name for name in CORPUS if name != "nul"])
async def test_values_of_free_text_are_never_run(stage: Scene, name: str) -> None:
    stage.reset()
    value = msgspec.json.encode(hostile(stage.canary)[name][:100_000]).decode().replace("\x7f", "\\u007f")
    free = FREE.format(value=value)
    top, _, rest = free.strip().partition("\n")
    config = stage.deployer.project / "celadon.toml"
    base = CONFIG.format(blue="127.0.0.1", green="127.0.0.2", port=stage.host.port, more="")
    config.write_text(f"{top}\n{base}\n{rest}\n")
    for words in (["config", "show"], ["check"], ["check", "--offline"], ["plan", "v1"], ["status", "--json"]):
        told = await stage.deployer.run(*words)
        stage.unharmed(told, f"{words}: {name}")
        assert not unsafe(told.out + told.err), words


# -- host keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORPUS)
def test_a_file_of_host_keys_with_anything_in_it(tmp_path: Path, name: str) -> None:
    from celadon.adapters import known_hosts  # noqa: PLC0415 - beside its only use

    path = tmp_path / "known_hosts"
    text = CORPUS[name]
    for line in (text, f"host {text}", f"host ssh-ed25519 {text}", f"{text} ssh-ed25519 AAAA"):
        path.write_text(line + "\n", "utf-8")
        try:
            known_hosts.read_all(path, [path])
            known_hosts.fingerprint_of_line(line)
        except Refused as error:
            readable(error)


def test_the_world_config_is_the_one_that_is_attacked(tmp_path: Path) -> None:
    assert parse(WORLD_CONFIG, file="celadon.toml", root=tmp_path).app == "shop"


@pytest.mark.parametrize("name", CORPUS)
def test_a_token_or_url_of_the_corpus_is_refused_and_not_shown(name: str) -> None:
    text = CORPUS[name]
    if any(not letter.isprintable() or letter == " " for letter in text):
        with pytest.raises(Refused) as caught:
            LinodeApi("https://api.linode.com", Secret(text))
        assert text not in str(caught.value)
    with pytest.raises(Refused):
        LinodeApi(f"https://{text}/{text}", Secret("t"))
