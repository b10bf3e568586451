"""Which HAProxy may run."""

import hashlib
from pathlib import Path

import pytest

from celadon.core.errors import Refused
from celadon.lab.plane.binary import KNOWN, bundled_haproxy, find_haproxy, verified


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_the_installed_wheel_is_one_that_we_know() -> None:
    bundled = bundled_haproxy()
    assert bundled is not None
    assert hashlib.sha256(bundled.read_bytes()).hexdigest() in KNOWN
    assert find_haproxy({"PATH": ""}, bundled) == bundled


def test_an_unknown_program_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not know") as refused:
        verified(program(tmp_path / "haproxy"))
    assert "CELADON_HAPROXY=" in str(refused.value.hint)


def test_without_the_wheel_an_installed_one_is_found(tmp_path: Path) -> None:
    installed = program(tmp_path / "haproxy")
    assert find_haproxy({"PATH": str(tmp_path)}, None) == installed
    with pytest.raises(Refused, match="there is none"):
        find_haproxy({"PATH": str(tmp_path / "empty")}, None)


def test_the_operators_own_choice_comes_first(tmp_path: Path) -> None:
    chosen = program(tmp_path / "mine")
    assert find_haproxy({"CELADON_HAPROXY": str(chosen), "PATH": ""}, bundled_haproxy()) == chosen
    with pytest.raises(Refused, match="not a file"):
        find_haproxy({"CELADON_HAPROXY": str(tmp_path / "none")}, bundled_haproxy())
