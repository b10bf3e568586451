r"""NAME=value lines, as `.celadon/secrets` has them and `secrets.command` prints them. Nothing in them expands.

# a comment            NAME=plain text to the end of the line
NAME='as it is'        NAME="with \n, \t, \\ and \" only"        export NAME=value
"""

import re

from celadon.config.errors import ConfigError
from celadon.config.values import ENV_NAME

_LINE = re.compile(rf"(?:export[ \t]+)?({ENV_NAME})[ \t]*=[ \t]*(.*)", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#.*)?", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "$": "$"}


def parse_dotenv(text: str, *, file: str) -> dict[str, str]:
    """Names to values. Errors name the line and never show it: it may hold a secret."""
    found: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(
                file, f"line {number}", "is not NAME=value", hint="# starts a comment; values fit a line"
            )
        name, value = match[1], _value(match[2], file, number)
        if name in found:
            raise ConfigError(file, f"line {number}", f"{name} a second time", hint="remove one: which one counts?")
        found[name] = value
    return found


def _value(text: str, file: str, number: int) -> str:
    for quote, form in (('"', _DOUBLE), ("'", _SINGLE)):
        if text.startswith(quote):
            match = form.fullmatch(text)
            if match is None:
                hint = "close the quote on the same line; write a line break as \\n in double quotes"
                raise ConfigError(file, f"line {number}", "its quotes do not match", hint=hint)
            return re.sub(r"\\(.)", _unescape, match[1]) if quote == '"' else match[1]
    if "\0" in text:
        raise ConfigError(file, f"line {number}", "holds a NUL", hint="no environment can carry it: encode as base64")
    # ` #` starts a comment, as in every dotenv reader; a # inside a word belongs to the value.
    return re.sub(r"[ \t]+#.*", "", text)


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])
