"""How long `celadon demo` takes, and how many of its requests failed.

python -m benchmarks.demo
"""

import json
import subprocess
import sys
import time

from benchmarks.figures import Figure, show

from celadon.core.errors import Unavailable

LONGEST = 600.0


def figures() -> list[Figure]:
    command = [sys.executable, "-m", "celadon", "demo", "--json"]
    began = time.perf_counter()
    ran = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=LONGEST)
    took = time.perf_counter() - began
    if ran.returncode:
        raise Unavailable(f"celadon demo ended with {ran.returncode}", details=ran.stderr.decode().splitlines()[-20:])
    score = json.loads(ran.stdout)
    return [
        Figure("`celadon demo`, from start to end", took, 75, "s", f"{score['requests']:,} requests"),
        Figure("`celadon demo`: requests failed", score["failed"], 0),
    ]


if __name__ == "__main__":
    show("the demo", figures())
