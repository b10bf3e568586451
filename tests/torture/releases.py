"""Bad releases: is it noticed, how soon, whom did it harm, and does stable serve again by itself?"""

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from tests.torture.bench import Bench
from tests.torture.case import Case, Outcome

from celadon.lab.broken import CASES, WELL
from celadon.lab.broken import Case as Bad

SLOW = WELL.replace("def status():\n", "def status():\n    time.sleep(0.01)\n")
LEAK = WELL.replace("def status():\n", "def status():\n    kept.append(bytearray(range(256)) * 120_000)\n")
MORE = (
    # Not noticed: nothing in this version judges latency. The demo's application takes 3 to 5 ms.
    Bad("latency-3x", "answers three times as slowly", f"import time\n\n{SLOW}", serves=True, good=True),
    # 30 MB a request in 1 GB of address space, which is what the kernel's killer makes of a small instance.
    Bad(
        "memory-leak",
        "keeps 30 MB of every request, and has 1 GB",
        f"import resource\n\nresource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nkept = []\n\n{LEAK}",
        serves=True,
    ),
)
KINDS = (
    "crash-at-boot", "never-ready", "dies-after-5s", "errors-10-percent", "latency-3x", "memory-leak",
    "ignores-sigterm", "wrong-port",
)  # fmt: skip
ANY = 10**6


class ReleasesBench(Bench):
    """With the bake that the lab has by default, and a start that is given up after 20 s."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, more_config="", health='start_within = "20s"')


def cases() -> Iterator[Case]:
    found = {each.name: each for each in (*CASES.values(), *MORE)}
    for name in KINDS:
        yield Case(f"release/{name}", _bad(found[name]), kind="releases")


def _bad(bad: Bad) -> Callable[[Bench, Outcome], Awaitable[None]]:
    async def play(bench: Bench, outcome: Outcome) -> None:
        before, version = bench.live, await bench.fresh(bad)
        outcome.allowed = ANY if bad.serves and not bad.good else 0
        began = time.monotonic()
        ran = await bench.run("deploy", version, "--yes")
        outcome.seconds = round(time.monotonic() - began, 1)
        outcome.exits.append(ran.exit)
        outcome.facts |= {"detected": ran.exit == 3, "back_alone": ran.exit == 3}
        assert ran.exit == (0 if bad.good else 3), f"exit {ran.exit}: {ran.err[-3000:]}"
        if ran.exit == 3:
            outcome.facts |= await _when(bench)
            outcome.message_true = f"{before} " in ran.err
            reason = next((line for line in ran.err.splitlines() if line.startswith("rolled back")), "")
            outcome.note = reason.removeprefix("rolled back: ")[:120]
        else:
            bench.live = version
        good = await bench.fresh()
        again = await bench.run("deploy", good, "--yes")
        assert again.exit == 0, again.err[-3000:]
        bench.live = good

    return play


async def _when(bench: Bench) -> dict[str, Any]:
    """Seconds from the first replica's start to the decision to go back, and from there to the end."""
    all_ = msgspec.json.decode((await bench.run("history", "--json")).out)
    number = str(all_["rollouts"][0]["rollout"])
    events = msgspec.json.decode((await bench.run("history", number, "--json")).out)["events"]
    at: dict[str, list[float]] = {}
    for each in events:
        at.setdefault(each["event"], []).append(each["at"])
    return {
        "detected_after_s": round(at["returning"][0] - at["started"][0], 1),
        "back_after_s": round(at["finished"][-1] - at["returning"][0], 1),
    }
