"""The documentation as these tests read it: pages, their fenced blocks, links, and the commands they name."""

import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])


class Block(msgspec.Struct, frozen=True):
    """One fenced block."""

    page: str
    language: str
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """In order; those in a list item lose its indentation."""
    found = []
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        indent, language, text = match.groups()
        if not languages or language in languages:
            plain = "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
            found.append(Block(name(page), language, plain))
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def commands(page: Path) -> list[str]:
    """Every `celadon …` that the page names, in prose or in a block, without comments."""
    code = re.findall(r"`(celadon [^`]+)`", prose(page))
    for block in blocks(page, "sh", "console", "yaml"):
        for line in re.sub(r"(?:^|\s)#.*$", "", block.text, flags=re.MULTILINE).splitlines():
            code += re.findall(r"(?<![\w./-])celadon [^|;&)`]+", line)
    return [text.strip() for text in code]
