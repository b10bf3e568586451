"""One call to the Linode API: sent once, within a deadline, its answer bounded, checked and translated.

No retries, no waiting for a rate limit, no logging: the caller decides. What the resources mean is in `linode.py`.
"""

import asyncio
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from celadon.adapters.http import TooLarge, is_loopback, one_try, parts_of, quoted, read_bounded, why
from celadon.adapters.linode_scopes import NEEDED, parse_scopes, scope_refusal
from celadon.adapters.linode_wire import Errors, Page, decode_address
from celadon.core.errors import CeladonError, NoAnswer, NotAllowed, Refused, Unavailable
from celadon.core.release import Seconds
from celadon.core.secret import Secret

Answer = TypeVar("Answer")

LARGEST_BODY = 4 * 1024 * 1024  # a full page (500) of instances is about 1 MiB
PAGE_SIZE = 500  # the API's largest: paginated GETs are the scarce ones (200 a minute)
MOST_PAGES = 40
LARGEST_LIST = 32 * 1024 * 1024  # bytes of all its pages
LIST_DEADLINES = 3  # deadlines of one call that a whole list may take
KEEP_ALIVE = 4.0  # below the 5 s after which many servers close an idle connection, so that we rarely meet that close
TOO_MANY = 429
NOT_TAKEN = frozenset({408, 503})  # the API says that it did nothing; other 5xx may come from a gateway, too late


class NotFound(Refused):
    """404: the API has no such object (any more)."""

    code = "not_found"


class RateLimited(Unavailable):
    """429: nothing was done. `retry_after` is the API's own wish in seconds, None when it did not say."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: Seconds | None, where: str) -> None:
        hint = f"try again in {retry_after:.0f} s" if retry_after is not None else "try again in a minute"
        super().__init__(message, hint=hint, where=where)
        self.retry_after = retry_after


class CallCounts(msgspec.Struct, frozen=True):
    """Requests sent, by what the API counts apart: paginated GETs (200 a minute), and all others (1,600)."""

    lists: int
    reads: int
    puts: int
    posts: int

    @property
    def total(self) -> int:
        return self.lists + self.reads + self.puts + self.posts


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    count: Literal["lists", "reads", "puts", "posts"]
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}
    deadline: Seconds | None = None

    @property
    def name(self) -> str:
        """`GET /v4/…`: how errors call it."""
        return f"{self.method} {self.path}"


class LinodeHttp:
    """The transport. One session, reused connections; open it with `async with`."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        needed: tuple[str, ...] = NEEDED,
        connect: Seconds = 10.0,
        deadline: Seconds = 30.0,
    ) -> None:
        self.url: Final = _checked(url)
        self.loopback: Final = is_loopback(urlsplit(self.url).hostname)
        self._token: Final = _sendable(token)
        self._needed: Final = needed
        self._connect: Final = connect
        self._deadline: Final = deadline
        self._counter: Final[Counter[str]] = Counter()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def counts(self) -> CallCounts:
        return CallCounts(**{name: self._counter[name] for name in CallCounts.__struct_fields__})

    async def get(self, path: str, kind: type[Answer]) -> Answer:
        return await self._call(_Request(count="reads", method="GET", path=path), kind)

    async def put(self, path: str, body: Any, kind: type[Answer], *, deadline: Seconds | None = None) -> Answer:
        request = _Request(count="puts", method="PUT", path=path, body=msgspec.json.encode(body), deadline=deadline)
        return await self._call(request, kind)

    async def post(self, path: str, body: Any, kind: type[Answer], *, deadline: Seconds | None = None) -> Answer:
        request = _Request(count="posts", method="POST", path=path, body=msgspec.json.encode(body), deadline=deadline)
        return await self._call(request, kind)

    async def list(self, path: str, kind: type[Answer], *, where: Any = None) -> tuple[Answer, ...]:
        """Every page. `where` is an X-Filter. Each page is a call of its own, with a deadline of its own.

        All together they have a deadline and a size, too: a server that says "one more page" must come to its end.
        """
        found: list[Answer] = []
        loop = asyncio.get_running_loop()
        end, room = loop.time() + LIST_DEADLINES * self._deadline, LARGEST_LIST
        headers = {} if where is None else {"X-Filter": json.dumps(where, separators=(",", ":"))}
        page, pages = 1, 1
        while page <= pages:
            query = f"{path}?page={page}&page_size={PAGE_SIZE}"
            within = min(self._deadline, max(0.0, end - loop.time()))
            request = _Request(count="lists", method="GET", path=query, headers=headers, deadline=within)
            answer, size = await self._sized(request, Page[kind])  # type: ignore[valid-type]  # made at run time
            room -= size
            if len(answer.data) > PAGE_SIZE or room < 0:
                raise NoAnswer(f"Linode: {request.name}: the answer is longer than was asked for", where=self.url)
            found += answer.data
            page, pages = page + 1, answer.pages
            if pages > MOST_PAGES:
                raise Refused(f"Linode: {path} has {pages} pages; more than {MOST_PAGES} are not read", where=self.url)
        return tuple(found)

    async def scopes(self, path: str) -> frozenset[str] | None:
        """The token's scopes as any answer to a GET of `path` names them, refused or not; None when it does not."""
        request = _Request(count="reads", method="GET", path=path)
        response, content = await self._send(request)
        if response.status == 401 and "X-OAuth-Scopes" not in response.headers:
            raise self._refusal(request, response, content)
        return parse_scopes(response.headers.get("X-OAuth-Scopes"))

    async def _call(self, request: _Request, kind: type[Answer]) -> Answer:
        answer, _ = await self._sized(request, kind)
        return answer

    async def _sized(self, request: _Request, kind: type[Answer]) -> tuple[Answer, int]:
        """The answer, and how many bytes it had."""
        response, content = await self._send(request)
        if response.status != 200:
            raise self._refusal(request, response, content)
        try:
            return msgspec.json.decode(content, type=kind, dec_hook=decode_address), len(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoAnswer(
                f"Linode: {request.name}: the answer is not what the API promises: {quoted(str(error))}",
                hint="is LINODE_URL the Linode API?",
                where=self.url,
            ) from None

    async def _send(self, request: _Request) -> tuple[aiohttp.ClientResponse, bytes]:
        """Send once. Before the first byte leaves, a failure is `Unavailable`; after it, `NoAnswer`."""
        if self._session is None:
            self._session = self._open()
        self._counter[request.count] += 1
        progress = SimpleNamespace(sent=False)
        seconds = self._deadline if request.deadline is None else request.deadline
        content_type = {} if request.body is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    request.method,
                    self.url + request.path,
                    data=request.body,
                    headers=request.headers | content_type,
                    allow_redirects=False,  # the token goes nowhere else
                    trace_request_ctx=progress,
                ) as response,
            ):
                return response, await read_bounded(response, LARGEST_BODY)
        except TimeoutError:
            reason = f"no answer in {seconds:g} s" if progress.sent else "no connection in time"
            raise self._failure(request, reason, sent=progress.sent) from None
        except TooLarge:
            raise self._failure(request, f"the answer exceeds {LARGEST_BODY} bytes", sent=True) from None
        except (aiohttp.ClientError, OSError) as error:  # not chained: these may hold the request's headers
            raise self._failure(request, why(error), sent=progress.sent) from None

    def _open(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect),
            headers={
                "Authorization": f"Bearer {self._token.reveal()}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # nothing to inflate: a small answer stays small
                "User-Agent": "celadon",
            },
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not self.loopback,
            trace_configs=[trace],
        )
        return one_try(session)

    def _failure(self, request: _Request, reason: str, *, sent: bool) -> Unavailable:
        kind = NoAnswer if sent else Unavailable
        return kind(f"Linode: {request.name}: {reason}", hint="run the same command again", where=self.url)

    def _refusal(self, request: _Request, response: aiohttp.ClientResponse, content: bytes) -> CeladonError:
        """The error that a status other than 200 stands for."""
        status = response.status
        said = _reasons(content)
        message = f"Linode: {request.name}: {status} {'; '.join(said) or quoted(response.reason or '')}".rstrip()
        if status in (401, 403):
            return self._no_right(message, response)
        if status == 404:
            return NotFound(message, where=self.url)
        if status == TOO_MANY:
            after = _whole_seconds(response.headers.get("Retry-After"))
            return RateLimited(message, retry_after=after, where=self.url)
        if status >= 500 or status in NOT_TAKEN:
            unsure = request.method != "GET" and status not in NOT_TAKEN
            return (NoAnswer if unsure else Unavailable)(message, hint="run the same command again", where=self.url)
        if status < 400:
            return Refused(message, hint="is LINODE_URL the Linode API? It answers 200 or an error", where=self.url)
        return Refused(message, where=self.url)

    def _no_right(self, message: str, response: aiohttp.ClientResponse) -> NotAllowed:
        has = parse_scopes(response.headers.get("X-OAuth-Scopes"))
        if has is None:
            hint = "set LINODE_TOKEN to a valid token with " + " ".join(self._needed)
            return NotAllowed(message, hint=hint, where="LINODE_TOKEN")
        wanted = parse_scopes(response.headers.get("X-Accepted-OAuth-Scopes")) or frozenset()
        refusal = scope_refusal(has, self._needed) or scope_refusal(has, sorted(wanted))
        hint = "the token's scopes suffice: its user lacks a grant for this (Cloud Manager > Users & Grants)"
        return refusal or NotAllowed(message, hint=hint, where="LINODE_TOKEN")


async def _note_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.sent = True


def _reasons(content: bytes) -> list[str]:
    """What the API says is wrong, with the field it is about. A gateway's HTML page says nothing."""
    try:
        errors = msgspec.json.decode(content, type=Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [quoted(f"{item.field}: {item.reason}" if item.field else item.reason) for item in errors[:5]]


def _whole_seconds(header: str | None) -> Seconds | None:
    """Linode sends whole seconds. More than an hour is not believed."""
    return float(header) if header and header.isascii() and header.isdigit() and int(header[:9]) <= 3600 else None


def _checked(url: str) -> str:
    """`scheme://host[:port]`, without the version; a token is sent in clear only inside this machine."""
    parts = parts_of(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise Refused("LINODE_URL is not an http(s) URL of the form https://host", where="LINODE_URL")
    if parts.path.rstrip("/"):
        raise Refused("LINODE_URL must not have a path", hint="leave out /v4: it is added", where="LINODE_URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        hint = "use https: the token would be readable on the way"
        raise Refused("LINODE_URL is http, and not on this machine", hint=hint, where="LINODE_URL")
    return f"{parts.scheme}://{parts.netloc}"


def _sendable(token: Secret) -> Secret:
    value = token.reveal()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        hint = "paste it again, without quotes, blanks or line ends"
        raise Refused("LINODE_TOKEN is empty, or holds characters that no token has", hint=hint, where="LINODE_TOKEN")
    return token
