"""`celadon init`: what is detected in folders as people have them, and what is written."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celadon.config import load, parse
from celadon.config.detect import detect, development_server
from celadon.config.dockerfile import Start, parse_dockerfile
from celadon.config.init import init, listing, render
from celadon.config.source import module_of, read_sources
from celadon.core.errors import Refused

FLASK = """
from flask import Flask
app = Flask(__name__)

@app.route("/healthz")
def healthz(): return "ok"

if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5050)
"""
FASTAPI = """
import fastapi
api: fastapi.FastAPI = fastapi.FastAPI()

@api.get("/health/")
async def health(): return {}
"""
FACTORY = """
from flask import Flask
def create_app():
    app = Flask(__name__)
    return app
"""
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings.production")\n'
URLS = 'from django.urls import path\nurlpatterns = [path("up", lambda request: None)]\n'
TUTORIAL = 'FROM python:3.12-slim\nCOPY . /app\nEXPOSE 5000\nCMD ["python", "app.py"]\n'
GOOD = 'FROM python:3.12-slim\nEXPOSE 8080/tcp\nCMD ["gunicorn", "-b", "0.0.0.0:8080", "app:app"]\n'


def test_the_tutorials_application() -> None:
    found = detect({"app.py": FLASK, "Dockerfile": TUTORIAL, "requirements.txt": "flask\n"}, folder="hello")
    assert (found.app.value, found.framework, found.dockerfile) == ("hello", "flask", True)
    assert (found.port, found.port_because) == (5000, "EXPOSE 5000")
    assert found.health.value == "/healthz"
    (warning,) = found.warnings
    assert "`python app.py` starts a development server, which drops requests on stop" in warning
    assert "Use `gunicorn -b {host}:{port} app:app`" in warning


@pytest.mark.parametrize(
    ("files", "framework", "port", "health", "command"),
    [
        ({"app.py": FLASK}, "flask", 5050, "/healthz", ["gunicorn", "-b", "{host}:{port}", "app:app"]),
        (
            {"src/shop/main.py": FASTAPI, "requirements.txt": "uvicorn[standard]>=0.30"},
            "fastapi",
            8000,
            "/health/",
            ["uvicorn", "--host", "{host}", "--port", "{port}", "--timeout-graceful-shutdown", "30", "shop.main:api"],
        ),
        (
            {"manage.py": MANAGE, "mysite/urls.py": URLS},
            "django",
            8000,
            "/up",
            ["gunicorn", "-b", "{host}:{port}", "mysite.wsgi:application"],
        ),
        ({"shop/__init__.py": FACTORY}, "flask", 5000, "/", ["gunicorn", "-b", "{host}:{port}", "shop:create_app()"]),
        (
            {"app.py": FLASK, "Procfile": "release: x\nweb: exec gunicorn -w 2 -b 0.0.0.0:$PORT app:app\n"},
            "flask",
            5050,
            "/healthz",
            ["gunicorn", "-w", "2", "-b", "{host}:{port}", "app:app"],
        ),
        (
            {"app.py": FLASK, "Procfile": "web: gunicorn -b 0.0.0.0:7000 $EXTRA app:app"},
            "flask",
            7000,
            "/healthz",
            ["gunicorn", "-b", "{host}:{port}", "app:app"],
        ),
        ({"requirements.txt": "Django==5.2\n"}, "django", 8000, "/", []),
        ({"pyproject.toml": '[project]\nname = "x"\ndependencies = ["fastapi>=0.1"]'}, "fastapi", 8000, "/", []),
        ({"app.py": "def broken(:", "b.py": "\0", "pyproject.toml": "[["}, None, 8000, "/", []),
        ({}, None, 8000, "/", []),
    ],
)
def test_what_is_detected(
    files: dict[str, str], framework: str | None, port: int, health: str, command: list[str], root: Path
) -> None:
    found = detect(files, folder="x")
    assert (found.framework, found.port, found.health.value) == (framework, port, health)
    assert list(found.command) == command
    parse(render(found), file="celadon.toml", root=root)
    assert found.said()["artifact"] == "source (no Dockerfile)"


@pytest.mark.parametrize(
    ("dockerfile", "warning"),
    [
        (GOOD, None),
        ("FROM x\nCMD gunicorn -b 0.0.0.0 app:app", "CMD in shell form: sh is PID 1 and passes no SIGTERM on"),
        ('FROM x\nCMD ["sh", "-c", "gunicorn -b 0.0.0.0 app:app"]', "CMD in shell form"),
        ("FROM x\nCMD exec gunicorn -b 0.0.0.0 app:app", None),
        ("FROM x\nENTRYPOINT gunicorn -b 0.0.0.0 app:app", "CMD in shell form"),
        ('FROM x\nCMD ["flask", "--app", "app", "run"]', "development server"),
        ('FROM x\nCMD ["python", "manage.py", "runserver", "0.0.0.0:8000"]', "development server"),
        ('FROM x\nCMD ["uvicorn", "app:app", "--reload"]', "development server"),
        ('FROM x\nCMD ["uvicorn", "app:app"]', "uvicorn listens on 127.0.0.1 unless told otherwise"),
        ('FROM x\nCMD ["gunicorn", "-b", "127.0.0.1:5000", "app:app"]', "gunicorn is told to listen on loopback"),
        ('FROM x\nENTRYPOINT ["gunicorn"]\nCMD ["-b", "0.0.0.0:5000", "app:app"]', None),
        ("FROM x\nEXPOSE 5000", "has no CMD"),
    ],
)
def test_what_would_lose_requests_is_said(dockerfile: str, warning: str | None) -> None:
    warnings = detect({"app.py": FLASK, "Dockerfile": dockerfile}, folder="x").warnings
    assert len(warnings) == (1 if warning else 0)
    assert all(warning in said for said in warnings if warning)


def test_a_script_that_runs_uvicorn_is_a_server() -> None:
    main = FASTAPI + "\nimport uvicorn\nuvicorn.run(api, host='0.0.0.0', port=9000)\n"
    found = detect({"main.py": main, "Dockerfile": 'FROM x\nCMD ["python", "main.py"]'}, folder="x")
    assert (found.warnings, found.port, found.command_needed) == ((), 9000, False)


def test_the_last_stage_is_the_image() -> None:
    text = """
    # syntax=docker/dockerfile:1
    FROM x AS build
    EXPOSE 1
    CMD ["wrong"]
    FROM y
    RUN <<END
    EXPOSE 2
    END
    expose 3 $PORT 4/udp 99999
    CMD ["a", \\
      # why
      "b"]
    """
    found = parse_dockerfile(text)
    assert found.ports == (3,)
    assert found.start == Start(("a", "b"), shell_form=False)


def test_a_package_in_src_is_named_without_src() -> None:
    assert module_of("src/hello/app.py") == "hello.app"
    assert module_of("hello/__init__.py") == "hello"
    assert module_of("app.py") == "app"


@pytest.mark.parametrize(
    "line", ["python -m gunicorn app:app", "python manage.py migrate", "gunicorn app:app", "flask db upgrade"]
)
def test_what_is_no_development_server(line: str) -> None:
    assert development_server(tuple(line.split())) is None


def test_init_writes_a_config_that_loads_and_ignores_secrets(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FLASK)
    (tmp_path / "Dockerfile").write_text(GOOD)
    (tmp_path / ".gitignore").write_text("*.pyc")
    done = init(tmp_path)
    assert done.written == ("celadon.toml", ".gitignore")
    assert done.detected["port"] == "8080 (EXPOSE 8080)"
    config = load(tmp_path / "celadon.toml")
    assert (config.runtime, config.port, config.health.path) == ("docker", 8080, "/healthz")
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n/.celadon/secrets\n"


def test_without_a_dockerfile_it_is_source(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FLASK)
    (tmp_path / "requirements.txt").write_text("flask\n")
    (tmp_path / ".gitignore").write_text(".celadon/secrets\n")
    done = init(tmp_path)
    assert done.written == ("celadon.toml",)
    assert [said.partition(":")[0] for said in done.warnings] == [
        "gunicorn is not among the requirements",
        "source needs a git repository (`git archive` makes the release), and there is none",
    ]
    assert load(tmp_path / "celadon.toml").runtime == "venv"


def test_an_installed_server_takes_the_place_of_a_development_server(tmp_path: Path) -> None:
    files = {"app.py": FLASK, "Dockerfile": TUTORIAL, "requirements.txt": "flask\ngunicorn"}
    active = parse(render(detect(files, folder="x")), file="celadon.toml", root=tmp_path)
    assert active.command == ("gunicorn", "-b", "{host}:{port}", "app:app")
    files["requirements.txt"] = "flask"
    assert parse(render(detect(files, folder="x")), file="celadon.toml", root=tmp_path).command == ()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_init_overwrites_nothing(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "celadon.toml"
    if kind == "file":
        file.write_text("mine")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match=r"celadon\.toml is already here") as caught:
        init(tmp_path)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["celadon.toml"]
    assert kind != "file" or file.read_text() == "mine"


def test_the_listing_follows_no_link_and_reads_only_what_says_something(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("secret = 1")
    root = tmp_path / "project"
    for folder in ("app", ".venv", "node_modules", "tests", "a/b/c/d"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x.py").write_text("")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "up").symlink_to(tmp_path)
    (root / "data.bin").write_bytes(b"\xff")
    (root / "big.py").write_bytes(b"\xff" * 1_000_000)
    found = listing(root)
    assert sorted(found) == ["app/x.py", "big.py"]
    assert len(found["big.py"]) <= 128 * 1024


def test_odd_and_long_names_of_files_are_written_whole(tmp_path: Path) -> None:
    module = 'a"\n\x7f\U0001f600' + "x" * 100
    found = detect({f"{module}.py": FLASK}, folder="x")
    assert parse(render(found), file="celadon.toml", root=tmp_path).command[-1] == f"{module}:app"


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=100), st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_whatever_a_folder_holds_the_config_written_loads(docker: str, code: str, procfile: str, folder: str) -> None:
    files = {"app.py": FLASK + code, "Dockerfile": docker, "Procfile": f"web: {procfile}", "requirements.txt": code}
    for chosen in (files, {name: text for name, text in files.items() if name != "Dockerfile"}):
        parse(render(detect(chosen, folder=folder)), file="celadon.toml", root=Path())
    read_sources({"x.py": code})
