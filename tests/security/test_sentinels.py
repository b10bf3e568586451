"""F15: one real rollout in a lab whose every secret has a value of its own, and then the search for those values.

They may be in the one place each is meant for, with mode 0600, and nowhere else: in no output, log, journal, plan,
certificate, crash report or file, and on no command line of this machine (which is also the hosts') at any moment.
"""

import asyncio
import json
import os
import secrets
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.end_to_end.acts import done, play

from celadon.cli import failure
from celadon.cli.stage import Ran, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LOOKED = 100  # samples at the least: a rollout lasts some ten seconds, and the machine may be busy
CONFIG = """
[env]
clear = { GREETING = "hello" }
secret = ["SECRET_KEY", "DATABASE_URL", "FROM_VAULT"]

[secrets]
command = ["cat", "../vault"]

[[tests]]
name = "smoke"
command = ["env"]

[hooks]
before_shift = { command = ["env"], safe_to_repeat = true }
after_finish = { command = ["sh", "-c", "env; exit 3"], safe_to_repeat = true }
"""


class SecretStage(Stage):
    """A stage whose operator has secrets: one in the environment, one in the file, one in a vault."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, more_config=CONFIG)
        self.home = folder / "operator"
        self.home.mkdir(parents=True)
        self.values = {name: f"s3ntinel-{name.lower()}-{secrets.token_hex(8)}" for name in NAMES}

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | {"HOME": str(self.home), "SECRET_KEY": self.values["SECRET_KEY"]}

    @property
    def needles(self) -> list[str]:
        return [*self.values.values(), self.lab.token]

    def keep_secrets(self) -> None:
        file = self.project / ".celadon" / "secrets"
        file.write_text(f"DATABASE_URL={self.values['DATABASE_URL']}\n")
        file.chmod(0o600)
        (self.folder / "vault").write_text(f"FROM_VAULT={self.values['FROM_VAULT']}\n")
        (self.folder / "vault").chmod(0o600)


NAMES = ("SECRET_KEY", "DATABASE_URL", "FROM_VAULT")


class Sampled(msgspec.Struct, frozen=True):
    samples: int
    seconds: float
    found: list[str]


@asynccontextmanager
async def sampling(needles: list[str]) -> AsyncIterator[list[Sampled]]:
    """Every command line there is, while the block lasts; what was seen is in the list afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.security.sampler",
        cwd=Path(__file__).parents[2], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    seen: list[Sampled] = []
    try:
        process.stdin.write(json.dumps(needles).encode() + b"\n")
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"sampling\n"
        yield seen
        process.stdin.close()
        seen.append(msgspec.json.decode(await asyncio.wait_for(process.stdout.readline(), 60), type=Sampled))
    finally:
        if process.returncode is None and process.stdin.is_closing() is False:
            process.kill()
        await process.wait()


def holding(folder: Path, needles: list[str]) -> dict[str, str]:
    """The files below that hold one of the values, with their modes."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if any(needle.encode() in content for needle in needles):
            found[str(path.relative_to(folder))] = f"{stat.S_IMODE(path.stat().st_mode):04o}"
    return found


def test_the_sampler_sees_what_is_on_a_command_line() -> None:
    """Else its silence would say nothing. The process lives for a few samples only."""

    async def scene() -> None:
        needle = f"s3ntinel-{secrets.token_hex(8)}"
        async with sampling([needle]) as seen:
            shown = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(0.2)", needle)
            assert await asyncio.wait_for(shown.wait(), 60) == 0
        assert len(seen[0].found) == 1

    play(scene)


def test_sentinel_secrets_are_nowhere(tmp_path: Path) -> None:
    async def scene() -> None:
        async with SecretStage(tmp_path / "stage") as stage:
            stage.keep_secrets()
            said = await _act(stage)
            _search_outputs(stage, said)
            _search_files(stage)
            _search_modes(stage)
            _search_crash_report(stage)
        # The lab has ended, and with it its log.
        assert not [name for name in holding(tmp_path, list(stage.values.values())) if name.endswith(".log")]

    play(scene)


async def _act(stage: SecretStage) -> dict[str, Ran]:
    said: dict[str, Ran] = {}

    async def run(*words: str, exit_code: int = 0) -> None:
        said[" ".join(words)] = done(await stage.celadon(*words), exit_code)

    async with sampling(stage.needles) as seen:
        await stage.release("v1")
        await run("deploy", "v1", "--yes")
        await stage.release("v2")
        await run("plan", "v2", "--json")
        await run("deploy", "v2", "--yes", "--verbose")
        await run("rollback", "--yes", "--json")
        for words in (
            "status --json", "check", "config show", "history --json", "history 1", "history 2 --json",
            "history 2 --html page.html", "logs",
        ):  # fmt: skip
            said[words] = await stage.celadon(*words.split())
        # What goes wrong says most: a secret that is missing, and one that has changed.
        stage.values["SECRET_KEY"] += "-changed"
        said["changed"] = await stage.celadon("deploy", "v2", "--yes")
    sampled = seen[0]
    assert sampled.found == []
    assert sampled.samples > LOOKED, f"looked {sampled.samples} times in {sampled.seconds:.1f} s"
    return said


def _search_outputs(stage: SecretStage, said: dict[str, Ran]) -> None:
    for words, ran in said.items():
        hits = [needle for needle in stage.needles if needle in ran.out + ran.err]
        assert not hits, f"celadon {words} shows {hits}"
    assert "smoke" in said["deploy v2 --yes --verbose"].err, "the test that prints its environment was not run"


def _search_files(stage: SecretStage) -> None:
    """The operator's own files, and each host's settings of each release."""
    values = [*stage.values.values(), stage.values["SECRET_KEY"].removesuffix("-changed")]
    found = holding(stage.folder, values)
    assert set(found.values()) == {"0600"}, found
    own = {name for name in found if not name.startswith("lab/")}
    assert own == {"vault", "hello/.celadon/secrets"}
    hosts = [name for name in found if name.startswith("lab/")]
    assert hosts, "the hosts have the secrets nowhere: this search finds nothing"
    assert all(Path(name).name.startswith("env") or "settings" in name for name in hosts), hosts
    # The token is the lab's: it knows it, and nobody else does.
    assert all(name.startswith("lab/") for name in holding(stage.folder, [stage.lab.token]))
    states = [name for name in holding(stage.folder, [stage.lab.token]) if ".local/share/celadon" in name]
    assert not states


def _search_modes(stage: SecretStage) -> None:
    """Nobody else on a host can so much as list what Celadon keeps there."""
    roots = [path for path in stage.folder.rglob(".local/share/celadon") if path.is_dir()]
    assert len(roots) >= 2, "the hosts keep nothing: this search finds nothing"
    for root in roots:
        loose = {str(path.relative_to(root)): oct(mode) for path, mode in _ours(root) if mode & 0o077}
        assert not loose, f"{root}: {loose}"


def _ours(root: Path) -> list[tuple[Path, int]]:
    """Every folder and file of ours; inside a release's own tree the application's files have its own modes."""
    paths = [root, *(path for path in root.rglob("*") if not path.is_symlink())]
    own = [path for path in paths if not _is_the_applications(path.relative_to(root).parts)]
    return [(path, stat.S_IMODE(path.stat().st_mode)) for path in own]


def _is_the_applications(parts: tuple[str, ...]) -> bool:
    """`APP/environments/KEY…` is made by uv, `APP/releases/ID/app…` holds the archive's files."""
    inside = len(parts) > 3 or not "".join(parts[-1:]).endswith(".lock")
    return (parts[1:2] == ("environments",) and len(parts) > 2 and inside) or parts[3:4] == ("app",)


def _search_crash_report(stage: SecretStage) -> None:
    value = stage.values["DATABASE_URL"]

    def crash(secret: str) -> Any:
        raise KeyError(secret)

    try:
        crash(value)
    except KeyError as error:
        report = failure.write_report(error, ["deploy", value, "--yes"], {"HOME": str(stage.home)})
    assert report is not None
    assert value not in report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert stat.S_IMODE(report.parent.stat().st_mode) == 0o700
    assert os.path.samefile(report.parent.parents[2], stage.home)  # noqa: PTH121 - ~/.local/state/celadon
