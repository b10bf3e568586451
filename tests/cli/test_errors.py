"""How errors are told, and where. The texts are the contract's own."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celadon.cli import failure
from celadon.cli.call import answer
from celadon.cli.output import Output
from celadon.core.errors import NoAnswer, Refused, Unavailable
from tests.cli.worlds import CONFIG, MemoryWorld, Ran


def run(root: Path, *words: str, environ: dict[str, str] | None = None) -> Ran:
    """celadon with its real composition: nothing here may be contacted, so there is nothing to contact."""
    out, err = io.StringIO(), io.StringIO()
    given = {"HOME": str(root), "LINODE_URL": "http://127.0.0.1:9", **(environ or {})}
    with Path(os.devnull).open(encoding="utf-8") as stdin:
        code = answer(list(words), Output(out, err, given), environ=given, cwd=root, stdin=stdin)
    return Ran(code, out.getvalue(), err.getvalue())


def write(root: Path, text: str) -> None:
    (root / "celadon.toml").write_text(text)


def test_an_unknown_key_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    write(tmp_path, CONFIG.replace('health.path = "/"', 'health.path = "/"\nhealth.intervall = "1s"'))
    ran = run(tmp_path, "deploy", "v1")
    assert ran.exit == 2
    assert ran.err.splitlines()[0] == "error: celadon.toml: health.intervall: unknown key"
    assert ran.err.splitlines()[1].startswith("hint: did you mean `interval`?")
    assert ran.err.endswith("Nothing was changed.\n")


def test_a_missing_secret_names_the_places_that_were_looked_at(tmp_path: Path) -> None:
    write(tmp_path, CONFIG + '[env]\nsecret = ["DATABASE_URL"]\n')
    (tmp_path / ".celadon").mkdir()
    (tmp_path / ".celadon" / "secrets").touch(mode=0o600)
    (tmp_path / ".celadon" / "secrets").write_text("SECRET_KEY=sentinel-value\n")
    ran = run(tmp_path, "deploy", "v1", "--yes", environ={"LINODE_TOKEN": "sentinel-token"})
    assert ran.exit == 2
    assert ran.err.startswith(
        "error: secret DATABASE_URL (env.secret) has no value\n"
        "  looked in: environment, .celadon/secrets (holds SECRET_KEY)\n"
        "hint: add DATABASE_URL=… to .celadon/secrets, or map it from your CI's secret store\n"
    )
    assert "sentinel" not in ran.err + ran.out


def test_check_offline_tells_the_same_gap_as_a_finding(tmp_path: Path) -> None:
    write(tmp_path, CONFIG + '[env]\nsecret = ["DATABASE_URL"]\n')
    ran = run(tmp_path, "check", "--offline", "--json")
    assert ran.exit == 2
    bad = [check for check in ran.end["checks"] if check["grade"] == "failed"]
    assert [check["name"] for check in bad] == ["secrets"]


def test_no_config_is_a_refusal_with_the_way_to_one(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    ran = run(tmp_path, "status")
    assert ran.exit == 2
    assert "celadon init writes one" in ran.err


def test_no_token_is_a_refusal_that_names_the_scopes(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    ran = run(tmp_path, "status")
    assert ran.exit == 2
    assert ran.err.startswith("error: LINODE_TOKEN is not set\n")
    assert "nodebalancers:read_write" in ran.err


def test_the_labs_pace_is_refused_for_a_real_account(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    real = {"CELADON_PACE": "lab", "LINODE_URL": "https://api.linode.com", "LINODE_TOKEN": "x"}
    ran = run(tmp_path, "deploy", "v1", "--yes", environ=real)
    assert ran.exit == 2
    assert "CELADON_PACE=lab is for a lab on this machine" in ran.err


def test_an_api_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    ran = run(tmp_path, "status", environ={"LINODE_TOKEN": "sentinel-token"})
    assert ran.exit == 4
    assert "sentinel" not in ran.err


def test_init_writes_once_and_never_again(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("flask\ngunicorn\n")
    (tmp_path / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    first = run(tmp_path, "init", "--json")
    assert (first.exit, first.end["result"]) == (0, "done")
    assert "celadon.toml" in first.end["written"]
    before = (tmp_path / "celadon.toml").read_bytes()
    again = run(tmp_path, "init")
    assert again.exit == 2
    assert "overwrites nothing" in again.err
    assert (tmp_path / "celadon.toml").read_bytes() == before


def test_config_verbs_print_data_only(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    for verb in ("schema", "example", "show"):
        ran = run(tmp_path, "config", verb)
        assert (ran.exit, ran.err) == (0, "")
        assert ran.out
    end = run(tmp_path, "config", "show", "--json").end
    assert end["origins"]["port"] == "celadon.toml"
    assert end["config"]["rollout"]["settle"] == "1m"


def test_an_error_is_told_as_the_contract_prints_it() -> None:
    error = Refused(
        "green-app-02 (203.0.113.22): host key not trusted; nothing was sent",
        details=["offered: ssh-ed25519 SHA256:pQ3"],
        hint="compare it in Lish: ssh-keygen -lf KEY\nthen: celadon hosts trust green-app-02",
    )
    assert failure.lines(error) == [
        "error: green-app-02 (203.0.113.22): host key not trusted; nothing was sent",
        "  offered: ssh-ed25519 SHA256:pQ3",
        "hint: compare it in Lish: ssh-keygen -lf KEY",
        "      then: celadon hosts trust green-app-02",
    ]
    assert failure.commands_in(error.hint or "") == ("celadon hosts trust green-app-02",)


@pytest.mark.parametrize(("error", "code"), [(Unavailable("x"), 4), (NoAnswer("x"), 4), (Refused("x"), 2)])
def test_exit_codes_come_from_the_tree(world: MemoryWorld, error: Unavailable | Refused, code: int) -> None:
    world.refusal = error
    ran = world.run("deploy", "v1", "--json")
    assert (ran.exit, ran.end["exit"], ran.end["error"]["code"]) == (code, code, error.code)


def test_a_hostile_message_cannot_move_the_cursor(world: MemoryWorld) -> None:
    world.refusal = Unavailable("x\x1b[2Jy\u202ez", details=["a\rb"])
    ran = world.run("status")
    assert "\x1b" not in ran.err
    assert "\r" not in ran.err
    assert "\u202e" not in ran.err


def test_a_crash_is_one_line_and_a_report_without_values(world: MemoryWorld) -> None:
    secret = "sentinel-value"

    async def crash(typed: str | None) -> None:
        raise ValueError(secret)

    world.release = crash  # type: ignore[method-assign,assignment]  # a fake's own fault
    state = world.root / "state"
    ran = world.run("deploy", secret, "--json", environ={"XDG_STATE_HOME": str(state)})
    assert (ran.exit, ran.end["result"], ran.end["error"]["code"]) == (1, "failed", "bug")
    assert len(ran.err.splitlines()) == 1
    report = Path(ran.end["error"]["report"])
    text = report.read_text()
    assert report.parent == state / "celadon"
    assert "builtins.ValueError" in text
    assert "in crash" in text
    assert secret not in text + ran.out + ran.err
    assert report.stat().st_mode & 0o077 == 0


def test_a_report_that_cannot_be_written_hides_no_crash(world: MemoryWorld) -> None:
    async def crash(typed: str | None) -> None:
        raise ValueError

    world.release = crash  # type: ignore[method-assign,assignment]  # a fake's own fault
    ran = world.run("deploy", "v1", environ={"XDG_STATE_HOME": "/dev/null"})
    assert ran.exit == 1
    assert "this is a bug in Celadon (ValueError)" in ran.err


def test_a_reader_that_leaves_ends_nothing(tmp_path: Path) -> None:
    """`celadon config example | head -1`: no traceback, and the exit code is the verb's own."""
    program = f"{sys.executable} -m celadon config example"
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(program.split(), stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(writer)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == b""
