"""The load as a process: what it says, what it obeys, and that it never outlives its owner."""

import asyncio
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.adapters.servers import serving
from tests.lab.load.app import LoadedApp, seen

from celadon.core.errors import Unavailable
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess, Said

WITHIN = 60.0


@pytest.fixture
def app() -> LoadedApp:
    return LoadedApp()


@pytest.fixture
async def url(app: LoadedApp) -> AsyncIterator[str]:
    async with serving(app.app()) as address:
        yield address


async def test_an_owner_marks_looks_and_stops(app: LoadedApp, url: str) -> None:
    load = await LoadProcess.start(Plan(url=url, rate=100.0, mix={"new": 2, "keep": 1}, paths={"keep": "/?a=b,c"}))
    try:
        await seen(load.snapshot, lambda report: report.total.ok >= 10)
        await load.mark("act two = more")
        await seen(load.snapshot, lambda report: report.total.ok >= 30)
        report = await load.stop()
    finally:
        await load.kill()
    assert [act.name for act in report.acts] == ["", "act two = more"]
    assert report.total.ok == report.total.sent == app.requests >= 30
    assert report.failures == ()
    with pytest.raises(Unavailable):
        await load.snapshot()


async def spawn(*arguments: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "celadon.lab.load", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=pipe, stderr=pipe)


async def test_by_hand_it_ends_by_itself_and_its_exit_code_tells(app: LoadedApp, url: str) -> None:
    app.fail_every = 10
    process = await spawn(f"--url={url}", "--count=20", "--rate=200", "--mix=new=1", "--every=0.05")
    async with asyncio.timeout(WITHIN):
        out, err = await process.communicate()
    said = [msgspec.json.decode(line, type=Said) for line in out.splitlines()]
    assert (process.returncode, err) == (3, b"")
    assert [said[0].event, said[-1].event] == ["started", "report"]
    assert {each.event for each in said[1:-1]} == {"snapshot"}
    assert said[-1].total is not None
    assert (said[-1].total.sent, said[-1].total.failed) == (20, 2)


async def test_an_owned_load_ends_with_its_owner(url: str) -> None:
    process = await spawn(f"--url={url}", "--mix=new=1", "--owned", stdin=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    async with asyncio.timeout(WITHIN):
        await process.stdout.readline()
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0


async def test_sigterm_ends_it_with_a_report(url: str) -> None:
    process = await spawn(f"--url={url}", "--mix=new=1")
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN):
        await process.stdout.readline()
        process.terminate()
        out, _ = await process.communicate()
    assert msgspec.json.decode(out.splitlines()[-1], type=Said).event == "report"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--url=ftp://x",), b"error: 'ftp://x' is not"),
        (("--url=http://127.0.0.1:1", "--mix=x=1"), b"error: a load"),
        (("--url=http://127.0.0.1:1", "--mix=new"), b"error: --mix"),
    ],
)
async def test_nonsense_is_refused(arguments: tuple[str, ...], text: bytes) -> None:
    process = await spawn(*arguments)
    async with asyncio.timeout(WITHIN):
        out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(text)


async def test_one_that_cannot_start_says_so() -> None:
    with pytest.raises(Unavailable, match="ended before"):
        await LoadProcess.start(Plan(url="ftp://x"))
