"""The types that a config's texts become, each parsed once: durations, image references, addresses, paths.

A parser takes the text and returns the value, or raises `Refused` with a reason that reads on from "file: key: ",
and a hint. It knows neither file nor key. Nothing here looks at the disk; `paths.py` does.
"""

import ipaddress
import re
from datetime import timedelta
from urllib.parse import urlsplit

import msgspec

from celadon.config.errors import show
from celadon.core.errors import Refused

# --- durations -------------------------------------------------------------------------------------------------

DURATION = r"(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6}(?:\.\d{1,6})?)s)?(?:(\d{1,6})ms)?"
_DURATION = re.compile(DURATION, re.ASCII)


def duration(text: str) -> timedelta:
    """`500ms`, `5s`, `1m30s`, `2h`, `1d`: a number never comes without its unit."""
    found = _DURATION.fullmatch(text)
    if found is None:
        squeezed = re.sub(r"\s", "", text.lower()) if len(text) < SANE else ""
        hint = f"did you mean {show(squeezed)}?" if squeezed != text and _DURATION.fullmatch(squeezed) else None
        raise Refused(
            f"{show(text)} is not a duration", hint=hint or 'write it as "500ms", "5s", "1m30s", "2h" or "1d"'
        )
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)


def say_duration(value: timedelta) -> str:
    """The shortest text that `duration` reads back as `value`: `1m30s`."""
    milliseconds = round(value / timedelta(milliseconds=1))
    said = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        said += f"{count}{unit}" if count else ""
    return said or "0s"


# --- names -----------------------------------------------------------------------------------------------------

SANE = 4096  # longer texts are refused before a pattern looks at them
APP = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"
LINODE_LABEL = r"[a-zA-Z](?:(?!--|__|\.\.)[a-zA-Z0-9_.-]){2,63}"  # Linode's own rule for instances
NODEBALANCER_LABEL = r"[a-zA-Z0-9_-]{3,32}"  # Linode's own rule for NodeBalancers
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
SECRET_NAME = r"[A-Z_][A-Z0-9_]*"  # noqa: S105 - the pattern of a name
SSH_USER = r"[A-Za-z_][A-Za-z0-9._-]{0,31}\$?"
TAG = r"[^\x00-\x1f\x7f,]{3,50}"  # Linode's tags: 3 to 50 characters; linode-cli separates them by commas
HTTP_PATH = r"/[!-\"$-~]*"  # printable ASCII without space; `#` never reaches a server
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?"
HOST_HEADER = rf"{_HOST}(?::\d{{1,5}})?"


def app_name(text: str) -> str:
    """At most 40 characters: with release, host and port it must fit where a container's name or a unit's fits."""
    if re.fullmatch(APP, text) and len(text) <= 40:
        return text
    proposal = re.sub(r"[^a-z0-9]+", "-", text[:40].lower()).strip("-")
    hint = f"did you mean {show(proposal)}?" if re.fullmatch(APP, proposal) else 'like "hello"'
    raise Refused(
        f"{show(text)} cannot name an app: lower-case letters, digits and single hyphens, at most 40", hint=hint
    )


def http_path(text: str) -> str:
    if re.fullmatch(HTTP_PATH, text):
        return text
    if re.match(r"https?://", text):
        raise Refused(f"{show(text)} is a URL, not a path", hint='write only what follows the host, like "/healthz"')
    hint = f"did you mean {show('/' + text)}?" if re.fullmatch(HTTP_PATH, "/" + text) else "percent-encode the rest"
    raise Refused(f'{show(text)} is not a path: it starts with "/" and has printable ASCII without spaces', hint=hint)


def url(text: str) -> str:
    """The users' door: `http(s)://host[:port]`, without a trailing slash. Paths belong to the requests."""
    # A URL with a password in it must not be shown, so no message of this function shows its text.
    form = 'write it as "http://myapp.example.com" or "https://myapp.example.com:8443"'
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Refused("not a URL", hint=form) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("not an http or https URL", hint=form)
    if parts.username is not None or parts.password is not None:
        raise Refused("a user or password does not belong into a URL", hint=form)
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise Refused("has a path, query or fragment", hint="the door is host and port; paths go to verify.path")
    netloc = re.fullmatch(rf"({_HOST}|\[[0-9A-Fa-f:.]+\])(:\d{{1,5}})?", parts.netloc)
    if netloc is None or port == 0 or re.search(r"[^!-~]", text):
        raise Refused("its host is not a name or address in ASCII", hint=form)
    return f"{parts.scheme}://{parts.netloc.lower()}"


# --- image references ------------------------------------------------------------------------------------------

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
REGISTRY = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d{1,5})?"


class ImageRef(msgspec.Struct, frozen=True):
    """Which image, never which version of it: that is what `deploy` is told."""

    registry: str
    repository: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"

    @classmethod
    def parse(cls, text: str) -> "ImageRef":
        bare = re.sub(r"^[a-z]+://", "", text)
        name, at, _ = bare.partition("@")
        first, _, rest = name.partition("/")
        if not rest or not (re.search(r"[.:]", first) or first == "localhost"):
            # Docker's own reading: without a registry it is Docker Hub, and one word is an official image.
            first, rest = "docker.io", name if "/" in name else f"library/{name}"
        repository, colon, _ = rest.partition(":")
        if not re.fullmatch(REPOSITORY, repository) or not re.fullmatch(REGISTRY, first) or len(text) > 255:
            lower = text.lower()
            hint = f"did you mean {show(lower)}?" if lower != text and _is_image(lower) else None
            raise Refused(f"{show(text)} is not an image name", hint=hint or 'like "ghcr.io/acme/hello"')
        untagged = bare[: len(bare) - len(rest) + len(repository)] if colon else name
        if at or colon:
            raise Refused(
                f"{show(text)} names a version; the version is deploy's argument",
                hint=f"image = {show(untagged)}, then: celadon deploy VERSION",
            )
        if bare != text:
            raise Refused(f"{show(text)} has a scheme; an image name has none", hint=f"did you mean {show(bare)}?")
        return cls(first, repository)


def _is_image(text: str) -> bool:
    try:
        ImageRef.parse(text)
    except Refused:
        return False
    return True


# --- hosts -----------------------------------------------------------------------------------------------------


class SshAddress(msgspec.Struct, frozen=True):
    """Where to knock: `[user@]host[:port]`. What is absent comes from `~/.ssh/config`, then from `[ssh]`."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")

    @classmethod
    def parse(cls, text: str) -> "SshAddress":
        found = re.fullmatch(rf"(?:({SSH_USER})@)?(?:({_HOST})|\[([0-9A-Fa-f:.]+)\])(?::(\d{{1,5}}))?", text)
        host = (found[2] or found[3]) if found else ""
        port = int(found[4]) if found and found[4] else None
        if found is None or (found[3] and not _is_ip(found[3])) or (port is not None and not 0 < port < 65536):
            hint = 'like "root@203.0.113.22", "web-1" or "deploy@[2001:db8::1]:2222"'
            raise Refused(f"{show(text)} is not an SSH address: [user@]host[:port]", hint=hint)
        return cls(host, found[1], port)

    @property
    def name(self) -> str:
        """A host's name where the config gives no label: fit for a container's name."""
        return self.host.replace(":", "-") + (f"-{self.port}" if self.port else "")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def private_address(text: str) -> str:
    """The IPv4 address under which the balancer reaches the host. A public one would put the app on the internet."""
    hint = 'Linode\'s private addresses look like "192.168.130.22"; a VPC\'s like "10.0.0.22"'
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise Refused(f"{show(text)} is not an IPv4 address", hint=hint) from None
    if address.is_unspecified or address.is_multicast or address.is_link_local or not address.is_private:
        raise Refused(f"{show(text)} is not a private address: replicas listen on nothing else", hint=hint)
    return text


class Host(msgspec.Struct, frozen=True):
    """One machine. With only a label, the API knows its addresses; otherwise they are written here."""

    name: str  # what everything calls it: its label, else its SSH address
    label: str | None = None
    ssh: SshAddress | None = None
    private: str | None = None
