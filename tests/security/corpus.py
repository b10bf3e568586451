"""Values that hurt where something takes them for code, a path, an option, a line or a terminal's command."""

import re
from pathlib import Path

ESCAPES = "\x1b[2J\x1b[1;1H\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b31m\x08\x08\r"


def hostile(canary: Path) -> dict[str, str]:
    """By what they try. Whoever runs, opens or writes what one of them names leaves a trace at `canary`."""
    return {
        "substitution": f"$(touch {canary})",
        "backticks": f"`touch {canary}`",
        "quotes": f"'; touch {canary}; \"; touch {canary}; '",
        "pipe": f"x | touch {canary} && touch {canary} || touch {canary} &",
        "newline": f"one\ntouch {canary}\r\nthree",
        "nul": f"a\0touch {canary}",
        "terminal": f"red{ESCAPES}",
        "path": f"../../../../../../../..{canary}",
        "absolute": f"{canary}",
        "option": f"-oProxyCommand=touch {canary}",
        "long option": f"--output={canary}",
        "right to left": "a\u202egpj.exe\u200f\u2066b\u2028c\u0085d",
        "format": "{0.__class__.__mro__} %s%n ${IFS} {{7*7}} [bold]x[/bold] <script>x</script>",
        "large": "A" * (1 << 20),
    }


_OURS = re.compile(r"\x1b\[(\d{1,2}(;\d{1,2})*)?m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r")
"""Colours, and what the live view moves the cursor with: the only sequences that Celadon itself sends."""


def unsafe(text: str, *, terminal: bool = False) -> str:
    """The characters in what was printed that a terminal would obey, or that would turn text around."""
    shown = _OURS.sub("", text) if terminal else text
    return "".join(sorted({letter for letter in shown if letter != "\n" and not letter.isprintable()}))
