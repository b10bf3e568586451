"""What the documentation says is so: links lead somewhere, configs load, commands exist, figures are right."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, anchors, blocks, commands, name, prose

from celadon.cli.words import BY_NAME, GLOBAL, GROUPS, Verb
from celadon.config import parse
from celadon.core.bound import upper_bound
from celadon.core.errors import Refused

each = pytest.mark.parametrize("page", PAGES, ids=name)


@each
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert there.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


@each
def test_paths_in_code_exist(page: Path) -> None:
    for path in re.findall(r"`((?:src|tests|examples|scripts)/[\w./-]+)`", prose(page)):
        assert (ROOT / path).exists(), path


def test_no_page_is_an_orphan() -> None:
    """Every page is reached from README.md."""
    seen, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)#\s]+)", prose(page))
        todo += [(page.parent / target).resolve() for target in targets if not re.match(r"https?://", target)]
    assert not [name(page) for page in DOCS.rglob("*.md") if page not in seen]


@each
def test_configs_load(page: Path) -> None:
    """A `toml` block with an `app` is a whole config; any other is a part, and goes into one."""
    for block in blocks(page, "toml"):
        if re.search(r"^app = ", block.text, re.MULTILINE):
            parse(block.text, file=block.page, root=ROOT)
        else:
            parse(filled(block.text), file=block.page, root=ROOT)


WHOLE = {
    "": 'app = "hello"\nport = 5000\n',
    "health": '[health]\npath = "/healthz"\n',
    "hosts": '[hosts]\nblue = ["blue-app-01"]\ngreen = ["green-app-01"]\n',
    "balancer": '[balancer]\nnodebalancer = "app-nodebalancer"\n',
}


def filled(part: str) -> str:
    """The part, and around it what a config needs and the part does not say."""
    said = set(re.findall(r"^\[(\w+)\]", part, re.MULTILINE))
    top, _, tables = part.partition("\n[") if not part.startswith("[") else ("", "", part)
    tables = f"[{tables}" if tables and not tables.startswith("[") else tables
    artifact = "" if re.search(r"^(image|source) = ", top, re.MULTILINE) else 'image = "ghcr.io/acme/hello"\n'
    rest = "".join(text for table, text in WHOLE.items() if table and table not in said)
    return f"{WHOLE['']}{artifact}{top}\n{tables}\n{rest}"


def test_a_part_with_a_wrong_key_would_be_noticed() -> None:
    with pytest.raises(Refused, match="unknown key"):
        parse(filled('[verify]\ncontain = "x"\n'), file="page", root=ROOT)


@each
def test_commands_exist(page: Path) -> None:
    for text in commands(page):
        verb, rest = verb_of(text)
        known = {flag for option in (*GLOBAL, *verb.options) for flag in option.flags} | {"--help"}
        flags = {word for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= known, f"{text}: {sorted(flags - known)}"
        operands = [word for word in rest if word not in flags]
        assert not operands or verb.arguments or verb.options or "VERB" in text, text


def verb_of(text: str) -> tuple[Verb, list[str]]:
    """The verb that a command names, and the words after it, up to a `--`."""
    words = shlex.split(text.replace("…", "X"))[1:]
    if words[:1] in (["VERB"], ["--version"], ["--help"]):
        return Verb("", "", "", options=()), []
    length = 2 if words[0] in GROUPS and " ".join(words[:2]) in BY_NAME else 1
    verb = " ".join(words[:length])
    assert verb in BY_NAME, f"`{text}`: there is no verb {verb}"
    rest = words[length:]
    return BY_NAME[verb], rest[: rest.index("--")] if "--" in rest else rest


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="no verb redeploy"):
        verb_of("celadon redeploy v1")


def test_generated_pages_are_not_stale() -> None:
    """Mend it: python scripts/reference.py."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_readme_begins_with_the_two_commands() -> None:
    """A stranger pastes them, and the gate runs the second."""
    demo, tests = [block.text.strip() for block in blocks(ROOT / "README.md", "sh")][:2]
    setup = "python3 -m venv .venv && .venv/bin/pip install -q"
    assert demo == f"{setup} . && .venv/bin/celadon demo"
    assert tests == f"{setup} -e '.[dev]' && .venv/bin/pytest -n 2"


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "README.md").read_text("utf-8")
    for page in (DOCS / "decisions").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_the_bounds_in_the_table_are_right() -> None:
    text = (DOCS / "explanation" / "who-served.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) % \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for requests, percent in rows:
        digits = len(percent.replace(".", "").lstrip("0"))
        assert float(f"{upper_bound(0, int(requests.replace(',', ''))) * 100:.{digits}g}") == float(percent)


def test_words_that_readers_of_documentation_dislike() -> None:
    for page in PAGES:
        found = re.search(r"\b(simply|obviously|blazing|seamless\w*|effortless\w*)\b", prose(page), re.IGNORECASE)
        assert found is None, f"{name(page)}: {found}"
