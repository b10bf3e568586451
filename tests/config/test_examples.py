"""The examples: their configs load, in both runtimes, and `init` has nothing to complain about."""

import re
from pathlib import Path

import pytest

from celadon.config import load, parse
from celadon.config.detect import detect
from celadon.config.dockerfile import parse_dockerfile
from celadon.config.init import listing

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = {"hello-flask": "flask", "fastapi-live": "fastapi", "django-site": "django"}

each = pytest.mark.parametrize("name", EXAMPLES)


def test_no_example_is_forgotten() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/celadon.toml")} == set(EXAMPLES)


@each
def test_its_config_loads_and_agrees_with_its_dockerfile(name: str) -> None:
    config = load(FOLDER / name / "celadon.toml")
    docker = parse_dockerfile((FOLDER / name / "Dockerfile").read_text())
    assert docker.ports == (config.port,)
    assert docker.start is not None
    assert not docker.start.shell_form
    assert config.health.path == "/healthz"
    assert config.verify.contains is not None


@each
def test_the_way_without_docker_in_its_readme_loads(name: str) -> None:
    root = FOLDER / name
    lines = re.search(r"```toml\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert lines is not None
    text = re.sub(r"^image = .*\n", lines[1], (root / "celadon.toml").read_text(), flags=re.MULTILINE)
    config = parse(text, file="celadon.toml", root=root)
    assert (config.runtime, config.source) == ("venv", ".")
    assert any("{port}" in word for word in config.command)
    assert any("{host}" in word for word in config.command)


@each
@pytest.mark.parametrize("with_docker", [True, False])
def test_init_finds_what_the_example_says(name: str, with_docker: bool) -> None:  # noqa: FBT001 - a parameter
    files = listing(FOLDER / name)
    if not with_docker:
        del files["Dockerfile"]
    found = detect(files, folder=name)
    config = load(FOLDER / name / "celadon.toml")
    assert found.warnings == ()
    assert (found.framework, found.health.value) == (EXAMPLES[name], config.health.path)
    assert found.port == config.port
    assert found.target is not None
    assert f"{found.target.module}" in " ".join(found.command)
