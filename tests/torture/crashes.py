"""The crash matrix: SIGKILL before, in and after every effect, and the same command again from elsewhere."""

from collections.abc import Awaitable, Callable, Iterator

from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome

from celadon.cli.stage import Ran

WHEN = ("before", "in", "after")
# How many effects each has, on two hosts a colour. The last case of each row finds that the next one is not there.
DEPLOY = 26
BAKE = 13
AFTER = 22
PHASES = {  # an effect of the deploy, by its number, after which the deployer is dead and somebody aborts
    "settings": 3,
    "release": 5,
    "started": 7,
    "warm": 9,
    "pilot": 10,
    "raised": 11,
    "lowered": 14,
    "bake": 16,
}
ABORT = 9


def cases() -> Iterator[Case]:
    yield from _row("deploy", DEPLOY, _deploy, ci=set())
    yield from _row("rollback-in-bake", BAKE, _rollback_in_bake, ci={(3, "in")})
    yield from _row("rollback-later", AFTER, _rollback_later, ci={(4, "after")})
    for phase, effect in PHASES.items():
        for count in range(1, ABORT + 1):
            when = WHEN[(count + effect) % len(WHEN)]
            ci = (phase, count) in {("raised", 3), ("bake", 2)}
            yield Case(f"abort-{phase}/{count:02}-{when}", _abort(effect, count, when), ci=ci)


Play = Callable[[Bench, Outcome], Awaitable[None]]


def _row(name: str, last: int, make: Callable[[int, str], Play], *, ci: set[tuple[int, str]]) -> Iterator[Case]:
    for count in range(1, last + 1):
        for when in WHEN:
            yield Case(f"{name}/{count:02}-{when}", make(count, when), ci=(count, when) in ci)


def _killed(ran: Ran, outcome: Outcome) -> bool:
    """False: it lived to its end, because there is no such effect."""
    outcome.exits.append(ran.exit)
    if ran.exit == -9:
        lines = [line for line in ran.err.splitlines() if line.startswith("@ ")]
        outcome.note = lines[-1].split()[-1] if lines else "before any effect"
        return True
    assert ran.exit == 0, f"exit {ran.exit}: {ran.err[-2000:]}"
    outcome.note = "no such effect: it ended well"
    return False


def _serves(ran: Ran, outcome: Outcome, version: str) -> None:
    """What the last command said must be what is the case: `check` looks at the page."""
    assert ran.exit == 0, f"exit {ran.exit}: {ran.err[-3000:]}"
    if version not in ran.out:
        outcome.message_true = False
        outcome.problems.append(f"it said: {ran.out[-300:]}")


def _deploy(count: int, when: str) -> Play:
    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        if _killed(await bench.run("deploy", version, "--yes", strike=(count, when)), outcome):
            ran = await bench.again(outcome, "deploy", version, "--yes")
            bench.live = version
            _serves(ran, outcome, version)
        bench.live = version

    return play


def _rollback_in_bake(count: int, when: str) -> Play:
    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        ran = await bench.run("deploy", version, "--yes", "--until", "commit")
        assert ran.exit == 0, ran.err[-3000:]
        if _killed(await bench.run("rollback", bench.live, strike=(count, when)), outcome):
            _serves(await bench.again(outcome, "rollback", bench.live), outcome, bench.live)

    return play


def _rollback_later(count: int, when: str) -> Play:
    async def play(bench: Bench, outcome: Outcome) -> None:
        before = bench.live
        bench.live = version = await bench.fresh()
        ran = await bench.run("deploy", version, "--yes")
        assert ran.exit == 0, ran.err[-3000:]
        struck = await bench.run("rollback", before, "--yes", strike=(count, when))
        bench.live = before
        if _killed(struck, outcome):
            _serves(await bench.again(outcome, "rollback", before, "--yes"), outcome, before)

    return play


def _abort(effect: int, count: int, when: str) -> Play:
    """The deployer dies after `effect`; the abort dies at its own; the next abort ends it."""

    async def play(bench: Bench, outcome: Outcome) -> None:
        version = await bench.fresh()
        dead = await bench.run("deploy", version, "--yes", strike=(effect, "after"))
        assert dead.exit == -9, dead.err[-3000:]
        if not _killed(await bench.run("abort", strike=(count, when)), outcome):
            return
        ran = await bench.run("abort", elsewhere=True)
        outcome.exits.append(ran.exit)
        outcome.again = 1
        if ran.exit == 2 and "no rollout is open" in ran.err:
            # Killed after its last effect: that it is over is the truth, and its lease is whoever's comes next.
            following = await bench.run("deploy", bench.live, "--yes")
            assert following.exit == 0, following.err[-3000:]
            return
        _serves(ran, outcome, bench.live)

    return play
