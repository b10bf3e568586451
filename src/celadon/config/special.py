"""Kinds of values that only one key or two have: commands, environment variables, host entries, the NodeBalancer."""

import shlex
from typing import Annotated

import msgspec

from celadon.config import values
from celadon.config.errors import show, show_list
from celadon.config.kinds import At, Kind, Schema, Text, matching
from celadon.config.placeholders import IN_COMMAND, IN_CONTAINS, refuse_misspelt
from celadon.config.tables import ListOf, Table
from celadon.core.errors import Refused

MOST_ENV = 128 * 1024 - 1  # Linux's bound for one string of an environment or a command line
SET_BY_US = ("APP_VERSION", "PORT", "CELADON_RELEASE", "CELADON_COLOUR")

DOOR = Text(values.url, '"http://myapp.example.com"', most=300)
IMAGE = Text(values.ImageRef.parse, '"ghcr.io/acme/hello"', most=255)


def _argument(text: str) -> str:
    if "\0" in text:
        raise Refused("holds a NUL, which no command line can carry", hint="a command line is text")
    return text


def _our_argument(text: str) -> str:
    refuse_misspelt(text, IN_COMMAND)
    return _argument(text)


class Argv(ListOf[str]):
    """A command as a list. No shell reads it, so nothing in it needs escaping, and nothing in it is a pipe."""

    def read(self, value: object, at: At) -> tuple[str, ...]:
        if isinstance(value, str):
            raise at.expected("a list", value, f"no shell is involved: {self._as_list(value)}")
        argv = super().read(value, at)
        if not argv[0]:
            raise at.item(0).refuse("is empty: it names the program", f"like {self.sample}")
        if len(argv) == 1 and len(argv[0].split()) > 1:
            raise at.refuse("is one word with spaces: no shell takes it apart", f"write {self._as_list(argv[0])}")
        return argv

    def _as_list(self, line: str) -> str:
        # Shown only when it is short and plain: a command may hold a secret that its author put into it.
        try:
            words = shlex.split(line) if len(line) < 60 and line.isprintable() and "=" not in line else []
        except ValueError:  # an open quote
            words = []
        return f"[{', '.join(show(word) for word in words)}]" if words else self.sample


ARGV = Argv(Text(_argument, '"./script", "--option"', most=MOST_ENV))
OUR_ARGV = Argv(Text(_our_argument, '"gunicorn", "-b", "{host}:{port}", "app:app"', most=MOST_ENV))


def _contains(text: str) -> str:
    if not text:
        raise Refused("is empty: every answer contains that", hint='like "{version}"')
    refuse_misspelt(text, IN_CONTAINS)
    return text


CONTAINS = Text(_contains, '"{version}"', most=1000)


def is_ours(name: str) -> bool:
    """Whether Celadon sets this variable itself, or may in a later version."""
    return name in SET_BY_US or name.startswith("CELADON_")


def _env_key(name: str) -> str:
    if is_ours(name):
        raise Refused("is set by Celadon", hint=f"always set: {show_list(SET_BY_US)}; choose another name")
    return matching(values.ENV_NAME, "a variable's name: letters, digits and _", '"APP_ENV"').parse(name)


def _env_value(text: str) -> str:
    if "\0" in text:
        raise Refused("holds a NUL, which no environment can carry", hint="leave it out, or encode it as base64")
    return text


ENV_KEY = Text(_env_key, '"APP_ENV"', pattern=values.ENV_NAME)
ENV_VALUE = Text(_env_value, '"production"', most=MOST_ENV)


class SshHost(msgspec.Struct, frozen=True, kw_only=True):
    ssh: Annotated[
        values.SshAddress, Text(values.SshAddress.parse, '"root@203.0.113.22"', most=300), "where SSH knocks"
    ]
    private: Annotated[
        str, Text(values.private_address, '"192.168.130.22"', most=64), "the address by which the balancer reaches it"
    ]


class HostEntry(Kind[values.Host]):
    """A Linode label, or a table with the addresses of a machine that the API need not know."""

    sample = '"blue-app-01"'
    label = matching(
        values.LINODE_LABEL, "a Linode label", sample, hint='or write { ssh = "root@…", private = "192.168.…" }'
    )
    table = Table(SshHost)

    def read(self, value: object, at: At) -> values.Host:
        if isinstance(value, str):
            label = self.label.read(value, at)
            return values.Host(name=label, label=label)
        if isinstance(value, dict):
            addresses = self.table.read(value, at)
            return values.Host(name=addresses.ssh.name, ssh=addresses.ssh, private=addresses.private)
        raise at.expected("a label or { ssh, private }", value, f"like {self.sample}")

    def schema(self) -> Schema:
        return {"anyOf": [self.label.schema(), self.table.schema()]}


SSH_HOST = HostEntry()


class NodeBalancer(Kind[str | int]):
    sample = '"app-nodebalancer"'
    label = matching(values.NODEBALANCER_LABEL, "a NodeBalancer's label", sample, hint="3 to 32 of a-z A-Z 0-9 - _")

    def read(self, value: object, at: At) -> str | int:
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 < value < 2**53:
                return value
            raise at.refuse("is not an id", f"like 12345, or a label like {self.sample}")
        if not isinstance(value, str):
            raise at.expected("a label or an id", value, f"like {self.sample} or 12345")
        return self.label.read(value, at)

    def schema(self) -> Schema:
        return {"anyOf": [self.label.schema(), {"type": "integer", "minimum": 1}]}


NODEBALANCER = NodeBalancer()
