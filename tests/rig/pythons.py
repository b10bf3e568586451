"""The interpreters that the agent's tests run on: on PATH (and really there: pyenv's stand-ins are not), pyenv's, uv's.

`python -m tests.rig.pythons` prints those that this machine has not, for `.ci/run` to fetch.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.rig.require import require

OLDEST, NEWEST = "3.9", "3.13"  # of hosts


def interpreter(version: str) -> str | None:
    """`current`: the one that runs the tests."""
    if version == "current":
        return sys.executable
    on_path = shutil.which(f"python{version}")
    found = [on_path] if on_path and ".pyenv/shims" not in on_path else []
    found += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    found += map(str, Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"))
    return next((path for path in found if _runs(path)), None)


def required(version: str) -> str:
    path = interpreter(version)
    require(path, f"Python {version} (uv python install {version})")
    return str(path)


def _runs(path: str) -> bool:
    return subprocess.run([path, "-c", "pass"], check=False, capture_output=True, timeout=20).returncode == 0


if __name__ == "__main__":
    sys.stdout.write(" ".join(version for version in (OLDEST, NEWEST) if interpreter(version) is None))
