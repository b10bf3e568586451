"""How long the lab takes until its API answers and traffic can flow, and how much memory it has without applications.

python -m benchmarks.lab
"""

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec
from benchmarks.figures import Figure, descendants, memory, show

from celadon.lab.background import MARK, down, up
from celadon.lab.estate import Estate, furnish
from celadon.lab.processes import Process


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="celadon-bench-") as folder:
        root = Path(folder) / "lab"
        began = time.perf_counter()
        facts = up(root)
        ready = time.perf_counter() - began
        try:
            asyncio.run(furnish(facts, Estate()))
            furnished = time.perf_counter() - began
            pid = msgspec.json.decode((root / MARK).read_bytes(), type=Process).pid
            pids = [pid, *descendants(pid)]
            held = sum(memory(each, "Pss") for each in pids)
        finally:
            down(root)
    return [
        Figure("lab: `up` until its API answers", ready, 3, "s"),
        Figure("lab: until 4 instances and a NodeBalancer are furnished as well", furnished, None, "s"),
        Figure(
            "lab: memory with 4 instances and HAProxy, no applications",
            held,
            150,
            "MiB",
            f"{len(pids)} processes, shared pages divided",
        ),
    ]


if __name__ == "__main__":
    show("the lab", figures())
