"""How cloud-init, which made this host what it is, says that it went. A host without it has nothing to say."""

from __future__ import annotations

import json
import os
from pathlib import Path

FOLDER = Path("/run/cloud-init")
LAB = "CELADON_LAB_INSTANCE"
AT_WORK = "cloud-init is still at work"
LONGEST = 300  # characters of its first error


def trouble(folder: Path = FOLDER) -> str:
    """Empty when nothing is wrong, and in a lab, whose instances have not made the machine that they run on."""
    if os.environ.get(LAB) or not folder.is_dir():
        return ""
    try:
        found = json.loads((folder / "result.json").read_text("utf-8"))["v1"].get("errors") or []
    except FileNotFoundError:
        return AT_WORK  # the result is written when its last stage has ended
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "cloud-init's result cannot be read"
    return f"cloud-init ended with errors: {str(found[0])[:LONGEST]}" if found else ""
