"""What happens to the deployer itself: signals in each phase, a freeze past the lease, two at once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome
from tests.torture.steps import STEPS

Play = Callable[[Bench, Outcome], Awaitable[None]]
RACES = 100


def cases() -> Iterator[Case]:
    for step in STEPS:
        for name in ("TERM", "INT"):
            yield Case(f"signal/{step}-{name}", _signalled(step, name))
    for step in STEPS:
        yield Case(f"frozen/{step}", _frozen(step))


def races() -> Iterator[Case]:
    for number in range(1, RACES + 1):
        yield Case(f"race/{number:03}", _race)


def _signalled(step: str, name: str) -> Play:
    """It stops driving at once, says what stays and how to go on, and leaves no lease behind."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        stopped = await bench.run("deploy", version, "--yes", strike=(STEPS[step], f"in:{name}"), within=60)
        outcome.exits.append(stopped.exit)
        if stopped.exit == 4:
            lease = (await bench.status())["lease"]
            if lease is not None and lease["holder"]:
                outcome.leftovers.append(f"a lease after {name}: {lease}")
            if "hint:" not in stopped.err:
                outcome.message_true = False
                outcome.problems.append(stopped.err[-500:])
        else:
            assert stopped.exit == 0, f"exit {stopped.exit}: {stopped.err[-3000:]}"
            outcome.note = "it was over before it could stop"
        ran = await bench.again(outcome, "deploy", version, "--yes")
        assert ran.exit == 0, ran.err[-3000:]
        bench.live = version

    return play


def _frozen(step: str) -> Play:
    """SIGSTOP for longer than the lease; another finishes; the sleeper wakes up and does no harm."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        frozen = await bench.begin("deploy", version, "--yes", strike=(STEPS[step], "in:STOP"))
        try:
            assert await frozen.until(rf"^@ {STEPS[step]} "), frozen.said[-2000:]
            ran = await bench.again(outcome, "deploy", version, "--yes")
            assert ran.exit == 0, ran.err[-3000:]
            bench.live = version
        finally:
            frozen.signal(signal.SIGCONT)
        woken = await frozen.end(60)
        outcome.exits.append(woken.exit)
        if woken.exit not in (0, 4):
            outcome.message_true = False
            outcome.problems.append(f"woken, it exits {woken.exit}: {woken.err[-2000:]}")
        if woken.exit == 0 and version not in woken.out:
            outcome.message_true = False

    return play


async def _race(bench: Bench, outcome: Outcome) -> None:
    """Exactly one drives; the other says who does, or finds that all is done."""
    version = await bench.fresh()
    one = await bench.begin("deploy", version, "--yes")
    two = await bench.begin("deploy", version, "--yes", elsewhere=True)
    both = await asyncio.gather(one.end(), two.end())
    outcome.exits = sorted(ran.exit for ran in both)
    assert outcome.exits in ([0, 4], [0, 0]), [ran.err[-1500:] for ran in both]
    bench.live = version
    loser = max(both, key=lambda ran: ran.exit)
    if loser.exit and "driven by" not in loser.err:
        outcome.message_true = False
        outcome.problems.append(loser.err[-500:])
    winners = [ran for ran in both if ran.exit == 0 and f"{version} is live on" in ran.out]
    assert len(winners) == 1, [ran.out for ran in both]
