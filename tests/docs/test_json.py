"""The JSON reference: what verbs print where nothing need be contacted is what the page says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "reference" / "json.md").read_text("utf-8")
ENVELOPE = ["format", "app", "result", "exit", "error", "next"]


def said(verb: str) -> list[str]:
    """The keys that the page's table has for the verb."""
    (row,) = re.findall(rf"^\| `{verb}` \| (.+) \|$", PAGE, re.MULTILINE)
    return re.findall(r"`(\w+)`", row)


def printed(folder: Path, *words: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "celadon", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert found["exit"] == ran.returncode
    return found


@pytest.fixture
def application(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    shutil.copytree(ROOT / "examples" / "hello-flask", folder)
    return folder


@pytest.mark.parametrize(
    ("verb", "words"),
    [("check", ("check", "--offline")), ("config show", ("config", "show"))],
)
def test_keys_of_a_verb(verb: str, words: tuple[str, ...], application: Path) -> None:
    assert list(printed(application, *words)) == [*ENVELOPE, *said(verb)]


def test_keys_of_init(application: Path) -> None:
    (application / "celadon.toml").unlink()
    assert list(printed(application, "init")) == [*ENVELOPE, *said("init")]


def test_an_error_in_json(application: Path) -> None:
    """A second `init` is refused: nothing is overwritten."""
    error = printed(application, "init")["error"]
    (listed,) = re.findall(r"an object of (.+?)\. `next`", PAGE)
    assert list(error) == re.findall(r"`(\w+)`", listed)
