"""What the end-to-end tests share: a stage, a load in its own process, and what must be true at the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from celadon.cli.stage import Ran, Stage
from celadon.lab.load_kinds import Plan
from celadon.lab.load_process import LoadProcess
from celadon.lab.load_report import Report
from tests.end_to_end.commands import Command

LONG = (2.0, 5.0)  # seconds that slow requests take: each retirement and each load's end waits for them


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run one scene on an event loop of its own."""
    asyncio.run(scene())  # type: ignore[arg-type]  # an async function's result is a coroutine


@asynccontextmanager
async def stage_with(folder: Path, *, first: str = "v1", **keywords: Any) -> AsyncIterator[Stage]:
    """A stage on which `first` serves already."""
    async with Stage(folder / "stage", **keywords) as stage:
        await stage.release(first)
        done(await stage.celadon("deploy", first, "--yes"))
        yield stage


@asynccontextmanager
async def load_on(
    stage: Stage, rate: float, seconds: float = 600.0, slow: tuple[float, float] = (0.5, 1.5)
) -> AsyncIterator[LoadProcess]:
    load = await LoadProcess.start(Plan(url=stage.found.url, rate=rate, seconds=seconds, slow=slow))
    try:
        yield load
    finally:
        await load.kill()


async def killed_at(stage: Stage, effect: str, when: str, *words: str, cwd: Path | None = None) -> Ran:
    """A `celadon` command that is killed before or after its n-th effect, or its first of that name."""
    command = await Command.begin(words, cwd=cwd or stage.project, environ=stage.environ, strike=(effect, when))
    return await command.end(180)


def done(ran: Ran, exit_code: int = 0) -> Ran:
    assert ran.exit == exit_code, f"exit {ran.exit}\n{ran.out}\n{ran.err[-4000:]}"
    return ran


def unharmed(report: Report) -> None:
    """Not one request failed, not one stream was cut, and there was a load at all."""
    assert report.total.sent > 50
    assert not report.failures, [
        f"{each.at:.1f} {each.kind} {each.reason} {each.act} {each.who}" for each in report.failures
    ]
    assert report.total.failed == report.total.cut == report.total.waiting == 0


async def switch(stage: Stage, **values: Any) -> None:
    """Turn what the real NodeBalancer leaves open."""
    await lab(stage, "PUT", "/lab/switches", values)


async def lab(stage: Stage, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {stage.lab.token}"}
    async with (
        aiohttp.ClientSession(stage.lab.url, headers=headers, trust_env=False) as api,
        api.request(method, path, json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def nodes(stage: Stage) -> dict[str, list[str]]:
    """Labels of the nodes by mode, all ports together."""
    path = f"/v4/nodebalancers/{stage.found.balancer_id}/configs"
    modes: dict[str, list[str]] = {}
    for config in (await lab(stage, "GET", path))["data"]:
        for node in (await lab(stage, "GET", f"{path}/{config['id']}/nodes"))["data"]:
            modes.setdefault(node["mode"], []).append(node["label"])
    return {mode: sorted(labels) for mode, labels in modes.items()}


async def page(stage: Stage) -> str:
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(stage.found.url) as answer:
        return await answer.text()


async def who_serves(stage: Stage) -> str:
    """The release that answers, by its own word: `who` of a load's failures."""
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(stage.found.url) as answer:
        return answer.headers["X-Release"]
