"""A trial of a venv release on this machine, by the agent as it is sent: what is measured, and that nothing stays."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.conftest import LocalAgent
from tests.agent.trials import call, processes_in, try_out, venv_release

from celadon.agent import paths, trials
from celadon.core.errors import CeladonError, Refused

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> LocalAgent:
    """The agent under this Python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    (tools / "uv").symlink_to(Path(sys.executable).with_name("uv"))  # a `venv` by the standard library takes 7 s
    return LocalAgent(tmp_path, tools)


def test_a_sweep_leaves_alone_what_was_just_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker has not come to its lock yet. Where it never will, as it was killed, the folder goes a minute later."""
    monkeypatch.setattr(paths, "state_root", lambda: tmp_path)
    fresh, dead = (paths.make_dir(paths.app_dir("shop") / "trials" / name) for name in ("fresh", "dead"))
    os.utime(dead, (0, 0))
    trials.sweep("shop")
    assert (fresh.exists(), dead.exists()) == (True, False)


def left(agent: LocalAgent) -> list[Path]:
    """What is under the agent's state: a host that never had the app has nothing."""
    return sorted(agent.root.glob("home/.local/share/celadon/**/*"))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.05)


async def test_a_good_release_is_measured_and_leaves_nothing(agent: LocalAgent) -> None:
    async with agent.link() as link:
        facts = await try_out(link, venv_release("well"), slow="/slow")
    assert facts.probe is not None
    assert (facts.probe.ok, facts.probe.status, facts.elsewhere, facts.exit_code) == (True, 200, (), 0)
    assert facts.listening is not None
    assert facts.passed is not None
    assert facts.hears is True
    assert facts.stopped is not None
    assert facts.slow is not None
    assert (facts.slow.in_flight, facts.slow.status) == (True, 200)
    assert facts.lines == ("started well",)
    assert facts.moved > 0
    assert left(agent) == []
    assert list(processes_in(agent.root)) == []


async def test_a_redirect_is_told_with_where_it_leads(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("well"), path="/moved")
    assert facts.probe is not None
    assert (facts.probe.status, facts.location, facts.passed) == (302, "/login", None)


async def test_a_path_that_is_not_there(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("well"), path="/missing")
    assert facts.probe is not None
    assert (facts.probe.status, facts.passed) == (404, None)


async def test_a_release_that_ends_by_itself(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("dies"))
    assert (facts.exit_code, facts.patience, facts.listening) == (1, 0, None)
    assert facts.lines == ("started dies", "no database")


@pytest.mark.parametrize(("how", "where"), [("elsewhere", "127.0.0.1:{}"), ("hidden", "127.0.0.9:{}")])
async def test_a_release_that_listens_elsewhere(here: LocalAgent, how: str, where: str) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release(how))
    assert (facts.listening, facts.probe) == (None, None)
    assert facts.elsewhere == (where.format(facts.port + 1 if how == "elsewhere" else facts.port),)
    assert facts.stopped is not None


async def test_sigterm_that_is_ignored_is_seen_without_the_whole_wait(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("deaf", stop_timeout=600.0))
    assert (facts.hears, facts.stopped, facts.exit_code) == (False, None, 137)
    assert list(processes_in(here.root)) == []


async def test_sigterm_that_is_caught_and_not_obeyed(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("stubborn", stop_timeout=1.0))
    assert (facts.hears, facts.stopped, facts.patience, facts.exit_code) == (True, None, 1.0, 137)
    assert facts.lines == ("started stubborn", "no")


async def test_a_request_in_flight_that_is_cut(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("cuts"), slow="/slow")
    assert facts.slow is not None
    assert (facts.slow.in_flight, facts.slow.status) == (True, None)
    assert facts.slow.error


async def test_a_slow_path_that_is_not(here: LocalAgent) -> None:
    async with here.link() as link:
        facts = await try_out(link, venv_release("well"), slow="/")
    assert facts.slow is not None
    assert (facts.slow.in_flight, facts.slow.status) == (False, 200)


async def test_a_program_that_is_not_there_is_refused_and_leaves_nothing(here: LocalAgent) -> None:
    async with here.link() as link:
        with pytest.raises(Refused, match="has no program 'no-such-program'"):
            await try_out(link, venv_release("well", command=["no-such-program"]))
    assert left(here) == []


async def test_a_trial_that_is_cancelled_leaves_nothing(here: LocalAgent) -> None:
    async with here.link() as link:
        asking = asyncio.create_task(link.ask(call(venv_release("hidden"), start_within=600.0)))
        await until(lambda: any(processes_in(here.root)))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    # The agent has ended with its input; it swept before. Who was killed is gone when the kernel is done with it.
    await until(lambda: not any(processes_in(here.root)))
    assert left(here) == []


async def test_what_a_killed_agent_left_is_swept_by_the_next_trial(here: LocalAgent) -> None:
    async with here.link() as link:
        asking = asyncio.create_task(link.ask(call(venv_release("hidden"), start_within=600.0)))
        await until(lambda: list(here.root.glob("home/.local/share/celadon/shop/trials/*/process")))
        (child,) = processes_in(here.root)
        os.kill(parent(child), signal.SIGKILL)
        with pytest.raises(CeladonError):
            await asking
    assert left(here) != []
    async with here.link() as link:
        await try_out(link, venv_release("well"))
    assert list(processes_in(here.root)) == []
    assert not list(here.root.glob("home/.local/share/celadon/shop/trials/*"))


async def test_two_trials_at_once_leave_each_other_alone(here: LocalAgent) -> None:
    async with here.link() as link, here.link() as other:
        one, two = await asyncio.gather(
            try_out(link, venv_release("well"), slow="/slow"), try_out(other, venv_release("well"))
        )
    assert one.slow is not None
    assert (one.slow.status, one.exit_code, two.exit_code) == (200, 0, 0)
    assert left(here) == []
