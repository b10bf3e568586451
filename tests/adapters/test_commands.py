"""The operator's own commands: what they are given, what is kept, and that they end."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from celadon.adapters.commands import LocalCommands
from celadon.core.intent import Health, Hook, Rollout, Timing, Verify
from celadon.core.observed import Probe
from celadon.core.release import Colour, Release, Slot
from celadon.ports import CommandResult

NEW = Release(app="shop", version="v2", artifact="a", runtime="docker", secrets=(("DATABASE_URL", "f"),))
SLOTS = (Slot("green-1", "192.168.130.21", 5000), Slot("green-2", "192.168.130.22", 5000))
ROLLOUT = Rollout(
    number=3, app="shop", kind="deploy", candidate=NEW, candidate_colour=Colour.GREEN, stable=None, stable_colour=None,
    slots={Colour.BLUE: (), Colour.GREEN: SLOTS}, ports=(80,), balancer="b", steps=(), timing=Timing(),
    health=Health(probe=Probe("/", "h")), verify=Verify(url="http://h/"),
)  # fmt: skip


class Tunnels:
    def __init__(self) -> None:
        self.open: list[tuple[str, str, int]] = []
        self.closed = 0

    @asynccontextmanager
    async def forward(self, host: str, address: str, port: int) -> AsyncIterator[int]:
        self.open.append((host, address, port))
        try:
            yield 40_000 + len(self.open)
        finally:
            self.closed += 1


async def run(
    program: str,
    tunnels: Tunnels,
    *,
    cwd: Path,
    test: bool,
    within: float = 30.0,
    **environ: str,
) -> CommandResult:
    hook = Hook(name="smoke", command=(sys.executable, "-c", program), timeout=within)
    given = {"PATH": os.environ["PATH"], **environ}
    commands = LocalCommands(
        tunnels,
        own=(hook,),
        hidden=("REGISTRY_TOKEN",),
        cwd=cwd,
        environ=given,
        mask=lambda text: text.replace("sentinel", "***"),
    )
    return await commands.run(hook, ROLLOUT, test=test)


async def test_a_test_runs_once_a_slot_with_the_way_to_it(tmp_path: Path) -> None:
    tunnels = Tunnels()
    program = (
        "import os; open('seen', 'a').write(os.environ['CANDIDATE_URL'] + ' ' + os.environ['CANDIDATE_HOST'] + '\\n')"
    )
    assert (await run(program, tunnels, cwd=tmp_path, test=True)).ok
    assert (tmp_path / "seen").read_text() == "http://127.0.0.1:40001 green-1\nhttp://127.0.0.1:40002 green-2\n"
    assert tunnels.open == [(slot.host, slot.address, slot.port) for slot in SLOTS]
    assert tunnels.closed == 2


@pytest.mark.parametrize(("url", "seen"), [("http://192.0.2.1:8081", "http://192.0.2.1:8081"), ("", "none")])
async def test_a_test_is_told_where_the_test_port_is(tmp_path: Path, url: str, seen: str) -> None:
    hook = Hook(name="smoke", command=(sys.executable, "-c", "import os; print(os.environ.get('TEST_URL', 'none'))"))
    commands = LocalCommands(Tunnels(), own=(hook,), hidden=(), cwd=tmp_path, environ={"PATH": os.environ["PATH"]})
    result = await commands.run(hook, msgspec.structs.replace(ROLLOUT, test_url=url), test=True)
    assert result.lines == (seen,)


async def test_the_first_failure_ends_it_and_says_where(tmp_path: Path) -> None:
    tunnels = Tunnels()
    result = await run("print('E assert'); raise SystemExit(3)", tunnels, cwd=tmp_path, test=True)
    assert result == CommandResult(ok=False, lines=("on green-1:", "E assert", "exit code 3"))
    assert (len(tunnels.open), tunnels.closed) == (1, 1)


async def test_a_hook_knows_its_rollout_and_no_secret(tmp_path: Path) -> None:
    program = (
        "import os; e = os.environ; print(e['CELADON_VERSION'], e['CELADON_ROLLOUT'], e['CELADON_COLOUR'], e['MINE']);"
        "print(sorted(n for n in e if n in ('LINODE_TOKEN', 'DATABASE_URL', 'REGISTRY_TOKEN', 'CANDIDATE_URL')))"
    )
    result = await run(
        program,
        Tunnels(),
        cwd=tmp_path,
        test=False,
        MINE="kept",
        LINODE_TOKEN="sentinel",
        DATABASE_URL="sentinel",
        REGISTRY_TOKEN="sentinel",
    )
    assert result.lines == ("v2 3 green kept", "[]")


async def test_only_the_last_lines_are_kept_and_secrets_in_them_are_masked(tmp_path: Path) -> None:
    program = "for n in range(100_000): print(n)\nprint('x' * 100_000)\nprint('the sentinel')"
    result = await run(program, Tunnels(), cwd=tmp_path, test=False)
    assert result.ok
    assert result.lines[-1] == "the ***"
    assert "99999" in result.lines
    assert len(result.lines) <= 60
    assert max(len(line) for line in result.lines) <= 500


async def test_a_command_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "print('waiting', flush=True)\n"
        "time.sleep(600)\n"
    )
    result = await run(program, Tunnels(), cwd=tmp_path, test=False, within=3.0)
    assert not result.ok
    assert result.lines == ("waiting", "not done within 3 s: ended")
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(20):
        while not has_ended(child):  # noqa: ASYNC110 - init reaps it when it likes, and tells nobody
            await asyncio.sleep(0.02)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_program_that_is_not_there_is_a_failure_with_its_name(tmp_path: Path) -> None:
    hook = Hook(name="h", command=("no-such-program",))
    commands = LocalCommands(Tunnels(), own=(hook,), cwd=tmp_path, environ={"PATH": "/nowhere"})
    result = await commands.run(hook, ROLLOUT, test=False)
    assert result == CommandResult(ok=False, lines=("no-such-program: No such file or directory",))


@pytest.mark.parametrize("text", ["$(touch made)", "; touch made", "`touch made`"])
async def test_words_are_words(tmp_path: Path, text: str) -> None:
    hook = Hook(name="h", command=(sys.executable, "-c", "import sys; print(sys.argv[1])", text))
    commands = LocalCommands(Tunnels(), own=(hook,), cwd=tmp_path, environ=dict(os.environ))
    assert (await commands.run(hook, ROLLOUT, test=False)).lines == (text,)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("test", [True, False])
async def test_a_command_that_only_the_home_names_is_not_run(tmp_path: Path, *, test: bool) -> None:
    """The rollout, and with it its hooks, is read from a host: that must be no way to run code here."""
    own = Hook(name="smoke", command=(sys.executable, "-c", "open('own', 'w')"))
    commands = LocalCommands(Tunnels(), own=(own,), cwd=tmp_path, environ=dict(os.environ))
    for theirs in (
        Hook(name="smoke", command=(sys.executable, "-c", "open('theirs', 'w')")),
        Hook(name="after_finish", command=own.command),
    ):
        result = await commands.run(theirs, ROLLOUT, test=test)
        assert not result.ok
        assert "not run: celadon.toml here does not have it" in result.lines[0]
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - one look, in an async test
