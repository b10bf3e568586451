"""What a release would lose, from how it is started: a table."""

from pathlib import Path

import pytest

from celadon.cli.losses import predict
from celadon.config.load import parse
from celadon.config.model import Config
from tests.cli.worlds import CONFIG, MemoryWorld

GUNICORN = ("gunicorn", "-b", "{host}:{port}", "app:app")


def config(tmp_path: Path, *, source: bool = True, more: str = "") -> Config:
    text = CONFIG + more
    if source:
        text = text.replace('image = "registry.example/acme/shop"', 'source = "."\ncommand = ["x"]')
    return parse(text, file="celadon.toml", root=tmp_path)


@pytest.mark.parametrize(
    ("command", "source", "wanted"),
    [
        (GUNICORN, True, {"ok"}),
        (("uvicorn", "--host", "{host}", "--port", "{port}", "main:app"), True, {"ok"}),
        (("python", "-m", "uvicorn", "--port", "{port}", "main:app"), True, {"ok"}),
        (("flask", "run", "-p", "{port}"), True, {"warning"}),
        (("python", "app.py", "{port}"), True, {"warning"}),
        (("gunicorn", "--reload", *GUNICORN[1:]), True, {"warning"}),
        (("gunicorn", "app:app"), True, {"warning"}),
        (("gunicorn", "-b", "127.0.0.1:{port}", "app:app"), True, {"failed"}),
        (("gunicorn", "--graceful-timeout", "90", *GUNICORN[1:]), True, {"warning"}),
        (("gunicorn", "--graceful-timeout=10", *GUNICORN[1:]), True, {"ok"}),
        (("sh", "-c", "migrate && gunicorn app:app"), False, {"warning"}),
        (("waitress-serve", "app:app"), False, {"warning"}),
        ((), False, {"warning"}),
    ],
)
def test_the_way_a_release_is_started(
    tmp_path: Path, command: tuple[str, ...], *, source: bool, wanted: set[str]
) -> None:
    found = predict(config(tmp_path, source=source), command, origin="command", shell_form=False)
    assert {finding.grade for finding in found} == wanted


def test_a_longer_stop_timeout_lets_a_slow_server_end(tmp_path: Path) -> None:
    slow = ("gunicorn", "--graceful-timeout", "90", *GUNICORN[1:])
    patient = config(tmp_path, more='[rollout]\nstop_timeout = "100s"\n')
    assert predict(patient, slow, origin="command", shell_form=False)[0].grade == "ok"


def test_check_reads_the_dockerfile(world: MemoryWorld) -> None:
    (world.root / "Dockerfile").write_text("FROM python:3.11\nCMD gunicorn -b 0.0.0.0:5000 app:app\n")
    ran = world.run("check", "--offline")
    assert ran.exit == 0
    assert "! pid 1        a shell is PID 1" in ran.out
    (world.root / "Dockerfile").write_text('FROM python:3.11\nCMD ["gunicorn", "-b", "0.0.0.0:5000", "app:app"]\n')
    assert "✓ start        gunicorn (Dockerfile)" in world.run("check", "--offline").out
