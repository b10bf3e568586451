"""Every wrong config is refused with one error: file, key, reason and hint. The corpus is wrong.toml."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from celadon.config import ConfigError, load, parse
from celadon.core.errors import Refused

HERE = Path(__file__).parent
SMALLEST = (HERE / "smallest.toml").read_text()
CORPUS: list[dict[str, Any]] = tomllib.loads((HERE / "wrong.toml").read_text())["wrong"]
MEGABYTE = "x" * 1_000_000


def text_of(case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    text: str = SMALLEST
    for line, others in case.get("swap", {}).items():
        assert f"{line}\n" in text, "the smallest file has no such line"
        text = text.replace(f"{line}\n", f"{others}\n")
    return f"{text}{case.get('add', '')}\n"


def assert_readable(error: ConfigError) -> None:
    for said in (error.message, error.hint or ""):
        assert said.isprintable()
        assert len(said) < 500


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) >= 90
    assert len({case["name"] for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CORPUS])
def test_a_wrong_config_is_one_clear_error(case: dict[str, Any], root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text_of(case), file="celadon.toml", root=root)
    error = caught.value
    assert isinstance(error, Refused)
    assert (error.file, error.key) == (case.get("file", "celadon.toml"), case["key"])
    assert case["reason"] in error.reason
    assert error.hint is not None
    assert case["hint"] in error.hint
    assert error.message == f"{error.where}: {error.reason}"
    assert "SENTINEL" not in f"{error}{error.hint}{error.details}"
    assert_readable(error)


LARGE = {
    "app": ('app = "hello"', f'app = "{MEGABYTE}"', "app", "1,000,000 characters"),
    "image": ('image = "ghcr.io/acme/hello"', f'image = "{MEGABYTE}"', "image", "1,000,000 characters"),
    "health path": ('health.path = "/"', f'health.path = "/{MEGABYTE}"', "health.path", "1,000,001 characters"),
    "host": (
        'blue = ["blue-app-01", "blue-app-02"]',
        f'blue = ["{MEGABYTE}"]',
        "hosts.blue[0]",
        "1,000,000 characters",
    ),
    "duration": ("port = 5000", f'port = 5000\nrollout.bake = "{"1" * 999_000}s"', "rollout.bake", "characters long"),
    "env value": ("port = 5000", f'port = 5000\nenv.clear.A = "{MEGABYTE}"', "env.clear.A", "1,000,000 characters"),
    "command": ("port = 5000", f'port = 5000\ncommand = "{MEGABYTE}"', "command", "must be a list"),
    "argument": ("port = 5000", f'port = 5000\ncommand = ["{MEGABYTE}"]', "command[0]", "1,000,000 characters"),
    "url": ("port = 5000", f'port = 5000\nurl = "http://{MEGABYTE}"', "url", "1,000,007 characters"),
    "source": ('image = "ghcr.io/acme/hello"', f'source = "{MEGABYTE}"', "source", "1,000,000 characters"),
    "choice": ("port = 5000", f'port = 5000\nrollout.strategy = "{MEGABYTE}"', "rollout.strategy", "not a choice"),
    "digits": ("port = 5000", f"port = {'9' * 100_000}", "", "is not TOML"),
    "nesting": ("port = 5000", f"port = {'[' * 100_000}", "", "nested too deeply"),
    "many hosts": (
        'blue = ["blue-app-01", "blue-app-02"]',
        f"blue = {[f'blue-{n}' for n in range(1001)]}",
        "hosts.blue",
        "has 1,001 items",
    ),
}


@pytest.mark.parametrize(("line", "other", "key", "reason"), list(LARGE.values()), ids=list(LARGE))
def test_a_huge_value_is_refused_in_one_short_line(line: str, other: str, key: str, reason: str, root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(SMALLEST.replace(line, other), file="celadon.toml", root=root)
    assert caught.value.key == key
    assert reason in caught.value.reason
    assert_readable(caught.value)


def test_a_huge_key_is_shortened(root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{SMALLEST}{MEGABYTE} = 1", file="celadon.toml", root=root)
    assert "unknown key" in caught.value.reason
    assert_readable(caught.value)


def test_a_file_of_more_than_a_mebibyte_is_not_read(root: Path) -> None:
    path = root / "celadon.toml"
    path.write_text(SMALLEST + "# padding\n" * 105_000)
    with pytest.raises(ConfigError, match="larger than"):
        load(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such file"),
        (b"app = 'hello'\nport = \xff", "line 2 is not UTF-8"),
        ("folder", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: bytes | str | None, reason: str, root: Path) -> None:
    path = root / "celadon.toml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.file == "celadon.toml"
    assert reason in caught.value.reason
    assert caught.value.hint


def test_the_hostile_name_of_a_config_file_prints_on_one_line(root: Path) -> None:
    path = root / "cel\n\x1b[31madon.toml"
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert_readable(caught.value)
