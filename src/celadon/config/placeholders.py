"""The few words in braces that expand in commands and in `verify.contains`. There is no other templating."""

import re
from collections.abc import Mapping, Sequence

from celadon.config.errors import closest, show
from celadon.core.errors import Refused

IN_COMMAND = ("host", "port", "version")
IN_CONTAINS = ("version", "release")
_WORD = re.compile(r"\{([A-Za-z_ ]{1,20})\}")


def refuse_misspelt(text: str, known: Sequence[str]) -> None:
    """Refuses `{prot}`. Words that resemble none of ours stay: gunicorn's log format and JSON have braces too."""
    for found in _WORD.finditer(text):
        word = found[1]
        meant = closest(word.strip(), known)
        if meant and word != meant:
            raise Refused(f"{show(found[0])} does not expand", hint=f"did you mean `{{{meant}}}`?")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces `{name}` for the names in `values`, once: what a value holds is never expanded again."""
    return _WORD.sub(lambda found: values.get(found[1], found[0]), text)
