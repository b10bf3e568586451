from pathlib import Path

import pytest

from tests.cli.worlds import MemoryWorld


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    return MemoryWorld(tmp_path)
