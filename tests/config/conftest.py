"""A project folder with what the corpus's cases look for in it."""

from pathlib import Path

import pytest

SMALLEST = Path(__file__).with_name("smallest.toml").read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "infra").mkdir(parents=True)
    (project / "notes.txt").write_text("not JSON")
    (tmp_path / "elsewhere").mkdir()
    (project / "link-out").symlink_to(tmp_path / "elsewhere")
    (project / "loop").symlink_to("loop")
    return project


@pytest.fixture
def smallest() -> str:
    return SMALLEST
