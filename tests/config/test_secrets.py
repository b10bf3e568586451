"""Secrets are found in three places, in order, and are shown in none."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.config import Config, ConfigError, parse
from celadon.config.dotenv import parse_dotenv
from celadon.config.secrets import fingerprint, needed, read_secrets_file, resolve, run_command
from celadon.core.errors import Refused
from celadon.core.secret import Secret

SENTINEL = "s3ntinel-value"


def config_with(smallest: str, root: Path, *extra: str) -> Config:
    return parse("\n".join(('env.secret = ["TOKEN", "OTHER"]', *extra, smallest)), file="celadon.toml", root=root)


def printing(text: str) -> str:
    return f"secrets.command = {[sys.executable, '-c', f'print({text!r})']}"


def write_secrets(root: Path, text: str, mode: int = 0o600) -> None:
    path = root / ".celadon" / "secrets"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


async def test_the_environment_comes_first_then_the_file_then_the_command(smallest: str, root: Path) -> None:
    command = printing("TOKEN=command\nOTHER=command\nREGISTRY=command")
    registry = "registry = { username = 'acme', password = 'REGISTRY' }"
    config = config_with(smallest, root, command, registry)
    write_secrets(root, "TOKEN=file\nOTHER=file\n")
    found = await resolve(config, root=root, environ={"TOKEN": "environment"})
    assert {name: secret.reveal() for name, secret in found.items()} == {
        "TOKEN": "environment",
        "OTHER": "file",
        "REGISTRY": "command",
    }
    assert SENTINEL not in repr(found)


async def test_the_command_does_not_run_when_nothing_is_missing(smallest: str, root: Path) -> None:
    config = config_with(smallest, root, "secrets.command = ['/there/is/no/such/program']")
    found = await resolve(config, root=root, environ={"TOKEN": "", "OTHER": "b"})
    assert found["TOKEN"].reveal() == ""  # empty is a value: it was set


async def test_a_missing_secret_names_every_place(smallest: str, root: Path) -> None:
    config = config_with(smallest, root, printing(f"UNUSED={SENTINEL}"))
    write_secrets(root, f"OTHER={SENTINEL}\nSLACK_URL={SENTINEL}\n")
    with pytest.raises(Refused) as caught:
        await resolve(config, root=root, environ={})
    error = caught.value
    assert error.message == "secret TOKEN (env.secret) has no value"
    assert error.details == (
        "looked in: environment, .celadon/secrets (holds OTHER, SLACK_URL), secrets.command (holds UNUSED)",
    )
    assert error.hint == "add TOKEN=… to .celadon/secrets, or map it from your CI's secret store"
    assert SENTINEL not in f"{error!r}{error.details}{error.hint}"


async def test_a_later_driver_asks_for_one_secret_only(smallest: str, root: Path) -> None:
    config = config_with(smallest, root)
    found = await resolve(config, root=root, environ={"OTHER": "b"}, only=["OTHER"])
    assert found == {"OTHER": Secret("b")}


def test_the_registry_asks_for_its_secret_by_its_own_key(smallest: str, root: Path) -> None:
    config = config_with(smallest, root, "registry = { username = 'acme', password = 'REGISTRY' }")
    assert needed(config) == {"TOKEN": "env.secret", "OTHER": "env.secret", "REGISTRY": "registry.password"}


async def test_a_secret_that_no_environment_can_hold_is_refused_unseen(smallest: str, root: Path) -> None:
    config = config_with(smallest, root)
    with pytest.raises(Refused, match="fits no environment") as caught:
        await resolve(config, root=root, environ={"TOKEN": SENTINEL * 20_000, "OTHER": ""})
    assert SENTINEL not in f"{caught.value!r}{caught.value.hint}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_secrets_file_that_others_may_read_is_refused(root: Path, mode: int) -> None:
    write_secrets(root, f"TOKEN={SENTINEL}", mode)
    with pytest.raises(ConfigError, match="others may read it") as caught:
        read_secrets_file(root / ".celadon" / "secrets")
    assert caught.value.hint == "chmod 600 .celadon/secrets"


def test_no_secrets_file_is_not_an_empty_one(root: Path) -> None:
    assert read_secrets_file(root / ".celadon" / "secrets") is None
    write_secrets(root, "")
    assert read_secrets_file(root / ".celadon" / "secrets") == {}


def test_dotenv_without_expansion() -> None:
    text = r"""
    # a comment
    PLAIN=a b  c # why
    HASH=a#b
    export EXPORTED = x
    EMPTY=
    SINGLE='$HOME \n "x"'   # why
    DOUBLE="line\nbreak \"q\" \\ $HOME ${A} \d"
    EQUALS=a=b==
    """
    assert parse_dotenv(text, file="f") == {
        "PLAIN": "a b  c",
        "HASH": "a#b",
        "EXPORTED": "x",
        "EMPTY": "",
        "SINGLE": '$HOME \\n "x"',
        "DOUBLE": 'line\nbreak "q" \\ $HOME ${A} \\d',
        "EQUALS": "a=b==",
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (SENTINEL, "is not NAME=value"),
        (f"1A={SENTINEL}", "is not NAME=value"),
        (f'A="{SENTINEL}', "quotes do not match"),
        (f"A='{SENTINEL}' x", "quotes do not match"),
        (f"B={SENTINEL}", "B a second time"),
        (f"A={SENTINEL}\0", "holds a NUL"),
    ],
)
def test_a_wrong_line_is_named_and_never_shown(line: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dotenv(f"B=1\n{line}", file=".celadon/secrets")
    assert caught.value.key == "line 2"
    assert reason in caught.value.reason
    assert SENTINEL not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (f"import sys; print('A={SENTINEL}'); sys.exit(3)", "failed with exit code 3"),
        (f"print('{SENTINEL}')", "is not NAME=value"),
        ("import sys; sys.stdout.buffer.write(b'A=\\xff')", "not UTF-8"),
        ("print('A=' + 'x' * 2_000_000)", "prints more than"),
    ],
)
async def test_a_command_that_fails_says_so_without_its_output(program: str, reason: str, root: Path) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        await run_command((sys.executable, "-c", program), cwd=root, environ={}, deadline=timedelta(seconds=60))
    assert SENTINEL not in f"{caught.value!r}{caught.value.hint}"


async def test_a_command_that_does_not_end_is_refused(root: Path) -> None:
    argv = (sys.executable, "-c", "import time; time.sleep(600)")
    with pytest.raises(Refused, match=r"did not end within 0\.5 s") as caught:
        await run_command(argv, cwd=root, environ={}, deadline=timedelta(seconds=0.5))
    assert caught.value.hint == "run it yourself: does it wait for an answer?"


async def test_a_command_given_up_leaves_no_children(root: Path) -> None:
    program = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("new").write_text(str(child.pid))
pathlib.Path("new").rename("child")
child.wait()
"""
    argv = (sys.executable, "-c", program)
    task = asyncio.create_task(run_command(argv, cwd=root, environ={}, deadline=timedelta(seconds=600)))
    await until((root / "child").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int((root / "child").read_text())
    await until(lambda: not runs(pid))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - another process's deed: there is nothing to be notified by
            await asyncio.sleep(0.02)


def runs(pid: int) -> bool:
    """An orphan may stay a zombie until init collects it; it runs no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_a_command_that_is_not_there(root: Path) -> None:
    with pytest.raises(Refused, match="No such file") as caught:
        await run_command(("no-such-program-here",), cwd=root, environ={}, deadline=timedelta(seconds=2))
    assert caught.value.where == "secrets.command"


def test_fingerprints_are_keyed_and_do_not_show_the_value() -> None:
    one = fingerprint(Secret(SENTINEL), b"key")
    assert one == fingerprint(Secret(SENTINEL), b"key")
    assert one != fingerprint(Secret(SENTINEL), b"another key")
    assert one != fingerprint(Secret(SENTINEL + "x"), b"key")
    assert len(one) == 16
    assert SENTINEL not in one
