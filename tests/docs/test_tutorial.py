"""The tutorial, typed: its `sh` blocks run in order in one shell, on a lab of their own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, ROOT, blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITHIN = 800.0  # seconds; a quiet machine needs a tenth
MARK = "-- block"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell as a newcomer has it, with nothing of this machine's in reach; its lab ends with it."""
    values = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "CELADON_LAB_DIR": str(tmp_path / "lab"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    for name in ("LINODE_URL", "LINODE_TOKEN", "CELADON_SSH_CONFIG", "CELADON_PACE"):
        values.pop(name, None)
    for role in ("AUTHOR", "COMMITTER"):
        values |= {f"GIT_{role}_NAME": "newcomer", f"GIT_{role}_EMAIL": "newcomer@example.com"}
    yield values
    subprocess.run([sys.executable, "-m", "celadon", "lab", "down"], env=values, check=True, timeout=60)


def test_every_command_of_the_tutorial_works(environ: dict[str, str], tmp_path: Path) -> None:
    scripts = [block.text for block in blocks(DOCS / "tutorial.md", "sh")]
    assert len(scripts) > 10
    lines = ["set -euo pipefail"]
    for number, text in enumerate(scripts, 1):
        lines += [f"echo '{MARK} {number}'", text]
    said = run("\n".join(lines), environ, tmp_path / "said")
    assert said[0] == 0, said[1][-6000:]
    told = said[1]
    doors = re.findall(r"^(?:Hello from|Good day from) App Version: (\S+)!$", told, re.MULTILINE)
    # first, second, still the second after the bad one, third after resume, back to the second
    assert doors == ["v1.0.0", "v1.1.0", "v1.1.0", "v1.2.0", "v1.1.0"]
    assert re.findall(r"^exit code (\d)$", told, re.MULTILINE) == ["3", "4"]
    assert re.findall(r"^\d+ .* (done|rolled back) +[\d,]+ +(\d+) ", told, re.MULTILINE) == [
        ("done", "0"),
        ("done", "0"),
        ("rolled back", "0"),
        ("done", "0"),
        ("done", "0"),
    ]
    assert "v1.2.0 is live on" in told  # by `resume`
    assert "unproven 0" in told
    assert (next(tmp_path.glob("*/hello/hello-2.html"))).stat().st_size > 500
    assert not (tmp_path / "lab").exists()


def run(script: str, environ: dict[str, str], log: Path) -> tuple[int, str]:
    """One shell from start to end. What it started ends with it, whatever happens."""
    with log.open("wb") as file:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = shell.wait(WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            code = shell.wait()
    return code, log.read_text("utf-8", errors="replace")
