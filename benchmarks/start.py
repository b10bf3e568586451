"""How long `celadon --version` and `celadon --help` take, as multiples of the bare interpreter's start.

python -m benchmarks.start
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure, alternating, show

ROUNDS = 41


def figures() -> list[Figure]:
    command = str(Path(sys.executable).with_name("celadon"))  # what a user types, of this environment
    commands = ([sys.executable, "-c", "pass"], [command, "--version"], [command, "--help"])

    def start(index: int) -> None:
        subprocess.run(commands[index], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    bare, version, help_ = alternating([lambda index=index: start(index) for index in range(3)], ROUNDS)  # type: ignore[misc]
    note = f"median of {ROUNDS} in turns; bare start {bare * 1000:.0f} ms"
    return [
        Figure("`celadon --version`, by the bare interpreter's start", version / bare, 1.5, "x", note),
        Figure("`celadon --help`, by the bare interpreter's start", help_ / bare, 3, "x"),
    ]


if __name__ == "__main__":
    show("start of the command", figures())
