"""The log as pages of the documentation: what was played, on which machine, and what came of it."""

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from tests.torture import table
from tests.torture.case import Outcome
from tests.torture.servers import CELLS, SERVERS

DOCS = Path(__file__).parents[2] / "docs"
GROUPS = {
    "deploy": "a deploy is killed before, in or after its n-th effect; then the same command from another folder",
    "rollback-in-bake": "the same with a rollback in the bake",
    "rollback-later": "the same with a rollback after stable was retired",
    "abort": "a deployer is dead after a step; the abort is killed at its n-th effect; then the abort again",
    "signal": "SIGTERM or SIGINT in each step; then the same command",
    "frozen": "SIGSTOP in each step, another deployer finishes, SIGCONT",
    "race": "two deployers begin at once",
    "ssh-cut": "every SSH connection to every host is reset again and again for 5 s, which is 30 s at the lab's pace",
    "ssh-cut-30s": "the same for 30 s",
    "reboot-candidate": "a host of the candidate is switched off and boots again",
    "reboot-stable": "the same with a host of stable, once stable gets no traffic",
    "host-replaced": "the idle host is deleted with its nodes, and an empty one has its name",
    "api": "the API answers 429, 500, 503, nothing, 30 s late, or what was true before",
    "token-revoked": "the API token is revoked; then a new one, and the same command",
    "disk-full": "the disk of a candidate host runs full",
    "clock": "a host's clock is an hour off, and the deployer is killed",
    "home-lost": "the home host is gone for good; then `celadon store adopt`, as the message says",
    "dockerd": "the Docker Engine of a host, which has both colours, is restarted",
    "release": "a bad release of each kind",
    "server": "each server is deployed over itself",
}


def group(case: str) -> str:
    """A name's first words that are in the list above."""
    name = case.partition("/")[0]
    return name if name in GROUPS else name.partition("-")[0]


def write(outcomes: list[Outcome]) -> None:
    played = [each for each in outcomes if not each.skipped]
    (DOCS / "torture.md").write_text(_page("torture.md", "".join(_sums(played))))
    releases = [each for each in played if each.case.startswith("release/")]
    (DOCS / "bad-releases.md").write_text(_page("bad-releases.md", "".join(_releases(releases))))
    servers = {each.case.partition("/")[2]: each for each in played if each.case.startswith("server/")}
    (DOCS / "servers.md").write_text(_page("servers.md", "".join(_servers(servers))))


def _page(name: str, tables: str) -> str:
    """What people wrote stays; the tables stand between two marks."""
    path = DOCS / name
    before, _, rest = path.read_text().partition("<!-- measured -->\n")
    after = rest.partition("<!-- end -->")[2]
    return f"{before}<!-- measured -->\n{tables}<!-- end -->{after}"


def _when(outcomes: list[Outcome]) -> str:
    days = sorted({each.began[:10] for each in outcomes})
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpu = model[1] if model else platform.machine()
    return (
        f"{days[0] if days else 'never'}{f' to {days[-1]}' if len(days) > 1 else ''}; {os.cpu_count()} cores ({cpu}), "
        f"Linux {platform.release()}, Python {platform.python_version()}, shared with other work."
    )


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |\n"


def _sums(outcomes: list[Outcome]) -> Iterator[str]:
    yield f"{_when(outcomes)}\n\n"
    yield _row("what happens", "cases", "as it must be", "requests", "failed or cut", "again", "longest", "left behind")
    yield _row("---", *["---:"] * 7)
    for name, sentence in GROUPS.items():
        its = [each for each in outcomes if group(each.case) == name]
        if its:
            failed = sum(each.failed + each.cut for each in its)
            yield _row(
                f"`{name}`: {sentence}",
                len(its),
                sum(each.ok for each in its),
                f"{sum(each.sent for each in its):,}",
                f"{failed:,}{' (see below)' if failed and any(each.allowed for each in its) else ''}",
                max(each.again for each in its),
                f"{max(each.seconds for each in its):.0f} s",
                sum(len(each.leftovers) for each in its),
            )
    bad = [each for each in outcomes if not each.ok]
    yield "".join(f"\n- `{each.case}`: {table.why(each)}" for each in bad) + ("\n" if bad else "")


def _releases(outcomes: list[Outcome]) -> Iterator[str]:
    yield f"{_when(outcomes)}\n\n"
    yield _row("release", "noticed", "after its first start", "back, after that", "requests harmed", "what it said")
    yield _row("---", "---", "---:", "---:", "---:", "---")
    for each in outcomes:
        facts = each.facts
        noticed = facts.get("detected", False)
        yield _row(
            each.case.partition("/")[2],
            "yes" if noticed else "no",
            f"{facts['detected_after_s']:.1f} s" if noticed else "",
            f"{facts['back_after_s']:.1f} s" if noticed else "",
            f"{each.failed + each.cut} of {each.sent:,}",
            each.note.replace("|", "/"),
        )


def _servers(outcomes: dict[str, Outcome]) -> Iterator[str]:
    yield f"{_when(list(outcomes.values()))}\n\n"
    yield _row("server", *CELLS, "the deploy took", "`check` warns")
    yield _row("---", *["---:"] * len(CELLS), "---:", "---")
    for server in SERVERS:
        each = outcomes.get(server.name)
        if each is None or "cells" not in each.facts:
            continue
        fast = [each.sent, each.failed, each.cut]
        cells = {"fast": fast, **each.facts["cells"]}
        warned = [text for text in each.facts["check"] if "open requests are lost" in text]
        yield _row(
            f"{server.name.replace('-', ' ')} {each.facts['version']}",
            *(_cell(cells[name]) for name in CELLS),
            f"{each.seconds:.0f} s",
            "yes" if warned else "",
        )
    yield "\nStarted as:\n\n"
    for server in SERVERS:
        yield f"- {server.name.replace('-', ' ')}: `{' '.join(server.command)}`\n"


def _cell(counts: list[int] | None) -> str:
    if counts is None:
        return "none"
    sent, failed, cut = counts
    return f"{failed + cut} of {sent:,}"
