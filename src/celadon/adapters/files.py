"""Files on the deployer's own machine that are replaced whole, or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


def replace(path: Path, text: str, *, mode: int) -> None:
    """Durable when it returns. A secret is never readable by others, not for a moment.

    What was read with `surrogateescape` is written as it was.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
