"""A private folder for as long as one command runs. What a killed command could not remove, the next one does."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celadon.agent import held

PREFIX = "celadon-scratch-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Nobody else can read it, and it goes with the block: archives, and Terraform's plans, which hold secrets."""
    for left in held.left_in(Path(tempfile.gettempdir()), f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name, held.held(Path(name)):
        yield Path(name)
