"""What a command leaves in the temporary folder: nothing, also when it was killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celadon.adapters.scratch import PREFIX, scratch
from celadon.agent.held import LOCK

MAKER = """\
import sys, time
from celadon.adapters.scratch import scratch
with scratch() as folder:
    (folder / "plan").write_text("secret")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def maker(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    del temporary
    with subprocess.Popen([sys.executable, "-c", MAKER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def made_by(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_it_is_private_and_goes_with_its_block(temporary: Path) -> None:
    with scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "plan").write_text("secret")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_command_left_the_next_one_removes(temporary: Path, maker: subprocess.Popen[str]) -> None:
    left = made_by(maker)
    maker.send_signal(signal.SIGKILL)
    maker.wait(30)
    assert (left / "plan").exists()
    with scratch():
        assert not left.exists()
    assert list(temporary.iterdir()) == []


def test_a_living_command_keeps_its_own(maker: subprocess.Popen[str]) -> None:
    living = made_by(maker)
    with scratch():
        pass
    assert (living / "plan").read_text() == "secret"


def test_what_nobody_locked_and_what_a_link_names_is_left_alone(temporary: Path) -> None:
    fresh, elsewhere = temporary / f"{PREFIX}fresh", temporary / "elsewhere"
    fresh.mkdir()  # of a command that has not come to its lock yet
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    with scratch():
        pass
    assert fresh.is_dir()
    assert (elsewhere / LOCK).exists()
