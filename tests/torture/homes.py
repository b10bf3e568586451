"""The home host is lost for good, alone or in the middle of a rollout: nobody types what no message named."""

import time
from collections.abc import Awaitable, Callable, Iterator

from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome
from tests.torture.faults import ANY
from tests.torture.steps import STEPS

from celadon.lab.estate import furnish

HOME = "blue-app-01"  # the first blue host, as no case says otherwise
MOST = 6  # commands until it must be well


def cases() -> Iterator[Case]:
    yield Case("home-lost/idle", _lost(None), ci=True)
    for step in ("start", "raise", "stop"):
        yield Case(f"home-lost/{step}", _lost(step))


def _lost(step: str | None) -> Callable[[Bench, Outcome], Awaitable[None]]:
    """Green serves, blue is idle and has the home. The host is deleted, and an empty one has its name."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        if (await bench.status())["live_colour"] == "blue":
            bench.live = await bench.fresh()
            ran = await bench.run("deploy", bench.live, "--yes")
            assert ran.exit == 0, ran.err[-3000:]
        version = await bench.fresh()
        if step is not None:
            killed = await bench.run("deploy", version, "--yes", strike=(STEPS[step], "after"))
            assert killed.exit == -9, killed.err[-3000:]
            outcome.allowed = ANY if STEPS[step] >= STEPS["raise"] else 0  # users were on the host that is deleted
        began = time.monotonic()
        await bench.call("DELETE", f"/v4/linode/instances/{await bench.instance(HOME)}")
        bench.stage.found = await furnish(bench.stage.lab, bench.stage.estate)
        bench.live = await _as_told(bench, outcome, version)
        outcome.seconds = round(time.monotonic() - began, 1)

    return play


async def _as_told(bench: Bench, outcome: Outcome, version: str) -> str:
    """The deploy, and each time it is refused the command that the message names. Returns what serves then."""
    named: list[str] = []
    outcome.facts["named"] = named
    for _ in range(MOST):
        ran = await bench.run("deploy", version, "--yes")
        outcome.exits.append(ran.exit)
        if ran.exit == 0:
            if f"does not run {version}: the next version goes to" in ran.err:
                named.append("the next version")
                version = await bench.fresh()
                continue
            outcome.note = f"as the messages said: {', '.join(named)}"
            return version
        if ran.exit == 4 and "run it again" in ran.err:
            continue
        hint = ran.err[ran.err.rfind("hint:") :]
        if "store adopt" in hint:
            words: tuple[str, ...] = ("store", "adopt")
        elif "celadon abort" in hint:
            words = ("abort",)
        else:
            outcome.message_true = False
            raise AssertionError(f"no way on is named: {ran.err[-1500:]}")
        named.append(" ".join(words))
        ran = await bench.run(*words)
        assert ran.exit == 0, f"{named}: exit {ran.exit}: {ran.err[-2000:]}"
    raise AssertionError(f"not well after {named}")
