"""What a test needs of the machine, said aloud: a skip where it is missing, a failure where everything must run."""

import os
import shutil

import pytest

EVERYTHING = "CELADON_REQUIRE_ALL"


def require(condition: object, what: str) -> None:
    """Skip with the reason, or fail with it where `CELADON_REQUIRE_ALL=1` (as `.ci/run` sets)."""
    if condition:
        return
    if os.environ.get(EVERYTHING) == "1":
        pytest.fail(f"{EVERYTHING}=1 and this machine has not: {what}", pytrace=False)
    pytest.skip(f"this machine has not: {what}")


def require_root(why: str) -> None:
    require(os.geteuid() == 0, f"root ({why})")


def require_programs(*names: str, package: str) -> None:
    """Also looks where Debian keeps what only root runs, which is not always on PATH."""
    for name in names:
        require(program(name), f"{name} (apt-get install {package})")


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
