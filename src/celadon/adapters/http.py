"""What our HTTP clients share: one try and no more, bodies of bounded size, foreign text made safe to show."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

import aiohttp

CHUNK = 65_536


def one_try(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Aiohttp sends a GET or PUT a second time, unasked, when the first got no answer; we look first, and count.

    It has no public switch for that: `test_a_lost_answer_is_not_asked_for_again` fails if this one goes away.
    """
    session._retry_connection = False  # noqa: SLF001 - see above
    return session


def parts_of(url: str) -> SplitResult:
    """The URL's parts; without scheme and host where it is none (`urlsplit` raises for some of those)."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is none is only noticed when it is asked for
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def is_loopback(host: str | None) -> bool:
    """A name or address that cannot leave this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class TooLarge(Exception):
    """The body is longer than we are willing to hold."""


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, or `TooLarge` as soon as it is seen to exceed `limit` bytes. The deadline is the caller's."""
    if response.content_length is not None and response.content_length > limit:
        raise TooLarge
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > limit:
            raise TooLarge
    return bytes(body)


def quoted(text: str, longest: int = 200) -> str:
    """Foreign text as one safe line: no control characters (terminals obey them), bounded."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * longest])
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def why(error: BaseException) -> str:
    """What a client library's exception says, in one line. Never its `repr`: that may hold request headers."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return quoted(text) or type(error).__name__
