"""Reads every process's command line a hundred times a second, for as long as its stdin is open.

`python -m tests.security.sampler`: the first line of stdin is a JSON list of needles, which so are on no command line;
at the end of stdin it prints what it found, and how often it looked. It ends by itself when whoever started it is gone.
"""

import json
import os
import select
import sys
import time

EVERY = 0.01  # seconds


def look(needles: list[bytes], found: set[str]) -> None:
    for name in os.listdir("/proc"):  # noqa: PTH208 - a hundred times a second
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123 - as above
                line = file.read()
        except OSError:
            continue  # it has ended
        if any(needle in line for needle in needles):
            found.add(line.replace(b"\0", b" ").decode(errors="replace")[:300])


def main() -> None:
    needles = [needle.encode() for needle in json.loads(sys.stdin.readline())]
    found: set[str] = set()
    samples, began = 0, time.monotonic()
    sys.stdout.write("sampling\n")
    sys.stdout.flush()
    due = began
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        look(needles, found)
        samples += 1
        due = max(due + EVERY, time.monotonic())
    seconds = time.monotonic() - began
    sys.stdout.write(json.dumps({"samples": samples, "seconds": seconds, "found": sorted(found)}) + "\n")


if __name__ == "__main__":
    main()
