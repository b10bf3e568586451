"""A registry asked for one thing: the digest that a tag means now (OCI distribution API, v2).

Credentials go to the registry itself or, over https, to the token server that it names; a registry on this machine
may also name one on this machine. They follow no redirect. Nothing is tried again.
"""

import asyncio
import base64
import hashlib
import re
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec

from celadon.adapters.http import TooLarge, is_loopback, one_try, parts_of, quoted, read_bounded, why
from celadon.adapters.image_ref import DIGEST, ImageRef
from celadon.core.errors import Refused, Unavailable
from celadon.core.release import Seconds
from celadon.core.secret import Secret

MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
LARGEST_MANIFEST = 4 * 1024 * 1024  # the specification's own bound
LARGEST_ANSWER = 1024 * 1024
Kind = TypeVar("Kind")

PAGES = 10  # of tags
SUGGESTED = 5


class Login(msgspec.Struct, frozen=True):
    """`[registry]` of the config."""

    username: str
    password: Secret


class Challenge(msgspec.Struct, frozen=True):
    """A `WWW-Authenticate` header."""

    scheme: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, header: str) -> Self:
        scheme, _, rest = header.strip().partition(" ")
        pairs = re.findall(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))', rest[:4096])
        return cls(scheme.lower(), {name.lower(): one or two for name, one, two in pairs})


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class OciRegistry:
    """Use it with `async with`. One login for whatever registry the image names."""

    def __init__(self, login: Login | None = None, *, deadline: Seconds = 30.0) -> None:
        self._login: Final = login
        self._deadline: Final = deadline
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._authorization: dict[tuple[str, str], str] = {}  # by host and name, for the life of this object

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions = {}

    async def digest(self, image: ImageRef) -> str:
        """`sha256:…` of the image, or of its index where there are several platforms. Refused where there is none."""
        path = f"/v2/{image.name}/manifests/{image.reference}"
        answer = await self._ask(image, "HEAD", path)
        if answer.status == 404:
            raise await self._missing(image)
        digest = answer.headers.get("docker-content-digest", "")
        if DIGEST.fullmatch(digest) is None:  # the header is optional: then the manifest's own hash is the digest
            answer = await self._ask(image, "GET", path)
            if answer.status == 404:  # deleted between the two questions
                raise await self._missing(image)
            digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if image.is_digest and digest != image.reference:
            raise Refused(f"{image}: the registry answers with another image ({digest})", where=image.registry)
        return digest

    async def tags(self, image: ImageRef) -> tuple[str, ...]:
        """All tags of the image's name (10 pages at most), newest version first, as far as names tell."""
        found: dict[str, None] = {}
        last = ""
        for _ in range(PAGES):
            query = urlencode({"n": 1000} | ({"last": last} if last else {}))
            answer = await self._ask(image, "GET", f"/v2/{image.name}/tags/list?{query}")
            page = _decoded(image, answer.body, _Tags).tags or () if answer.status == 200 else ()
            found |= dict.fromkeys(page)
            # The link names the next page; the page itself tells enough to ask for it, without following anything.
            if not page or page[-1] == last or 'rel="next"' not in answer.headers.get("link", ""):
                break
            last = page[-1]
        return tuple(sorted(found, key=_version_key, reverse=True))

    async def _missing(self, image: ImageRef) -> Refused:
        try:
            tags = [quoted(tag, 64) for tag in (await self.tags(image))[:SUGGESTED]]
        except (Refused, Unavailable):
            tags = []  # the answer that matters is known: the image is not there
        return Refused(
            f"{image}: not in the registry (manifest unknown)",
            hint=f"docker push {image} · private? set [registry]",
            where=image.registry,
            details=(f"newest tags: {', '.join(tags)}",) if tags else (),
        )

    async def _ask(self, image: ImageRef, method: str, path: str) -> _Answer:
        """One question, and one more after a challenge. 404 is an answer; everything else is translated."""
        host = image.api_host
        base = f"{'http' if _is_local(host) else 'https'}://{host}"
        key = (host, image.name)
        answer = await self._send(method, base + path, self._authorization.get(key))
        if answer.status == 401 and (header := answer.headers.get("www-authenticate")):
            self._authorization[key] = await self._authorize(image, Challenge.parse(header))
            answer = await self._send(method, base + path, self._authorization[key])
        if answer.status in (200, 404):
            return answer
        if answer.status in (401, 403):
            name = f"as {quoted(self._login.username)}" if self._login else "without a login"
            hint = "private? set [registry]; a token needs the right to read packages"
            raise Refused(f"{image}: the registry gives no access {name}", hint=hint, where=image.registry)
        kind = Unavailable if answer.status == 429 or answer.status >= 500 else Refused
        raise kind(f"{image}: the registry answers {answer.status}", where=image.registry)

    async def _authorize(self, image: ImageRef, challenge: Challenge) -> str:
        """The value of `Authorization` that answers a challenge."""
        if challenge.scheme == "basic":
            if self._login is None:
                raise Refused(f"{image}: the registry asks for a login", hint="set [registry]", where=image.registry)
            return _basic(self._login)
        realm = challenge.parameters.get("realm", "")
        parts = parts_of(realm)
        local = parts.scheme == "http" and is_loopback(parts.hostname) and _is_local(image.api_host)
        safe = parts.hostname and parts.username is None and (parts.scheme == "https" or local)
        if challenge.scheme != "bearer" or not safe:
            raise Refused(
                f"{image}: the registry wants a login at {quoted(realm) or challenge.scheme!r}; nothing was sent",
                hint="only https is trusted with a login",
                where=image.registry,
            )
        query = {"scope": f"repository:{image.name}:pull"}  # ours, not the registry's: no more than is needed
        if service := challenge.parameters.get("service"):
            query["service"] = service
        url = f"{realm}{'&' if parts.query else '?'}{urlencode(query, quote_via=quote)}"
        answer = await self._send("GET", url, _basic(self._login) if self._login else None)
        if answer.status in (401, 403):
            hint = "check [registry] username and password" if self._login else "private? set [registry]"
            raise Refused(f"{image}: {parts.hostname} gives no token", hint=hint, where=image.registry)
        if answer.status != 200:
            raise Unavailable(f"{image}: {parts.hostname} answers {answer.status}", where=image.registry)
        found = _decoded(image, answer.body, _Token)
        token = found.token or found.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Unavailable(f"{image}: {parts.hostname} gives no token", where=image.registry)
        return f"Bearer {token}"

    async def _send(self, method: str, url: str, authorization: str | None) -> _Answer:
        """Not chained to what failed: a client's exceptions may hold the request's headers."""
        host = urlsplit(url).hostname or ""
        headers = {"Accept": MANIFESTS if "/manifests/" in url else "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._session(host).request(method, url, headers=headers, allow_redirects=False) as response,
            ):
                limit = LARGEST_MANIFEST if "/manifests/" in url else LARGEST_ANSWER
                body = b"" if method == "HEAD" else await read_bounded(response, limit)
                return _Answer(response.status, {name.lower(): text for name, text in response.headers.items()}, body)
        except TimeoutError:
            raise Unavailable(f"{host}: no answer in {self._deadline:g} s", where=host) from None
        except TooLarge:
            raise Unavailable(f"{host}: the answer is too large", where=host) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{host}: {why(error)}", where=host) from None

    def _session(self, host: str) -> aiohttp.ClientSession:
        """One session past the environment's proxy for this machine, one with it for all others."""
        local = is_loopback(host)
        if local not in self._sessions:
            self._sessions[local] = one_try(
                aiohttp.ClientSession(
                    # A handful of questions, each sent once: a kept connection could close under one of them.
                    connector=aiohttp.TCPConnector(force_close=True),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
                    headers={"User-Agent": "celadon", "Accept-Encoding": "identity"},
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=not local,
                )
            )
        return self._sessions[local]


def _is_local(host: str) -> bool:
    return is_loopback(urlsplit(f"//{host}").hostname)


def _basic(login: Login) -> str:
    if ":" in login.username:
        raise Refused("registry.username has a colon: HTTP cannot send such a name", where="registry.username")
    pair = f"{login.username}:{login.password.reveal()}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _decoded(image: ImageRef, body: bytes, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unavailable(
            f"{image}: the registry's answer is not what the API promises", where=image.registry
        ) from None


def _version_key(tag: str) -> list[tuple[int, int, str]]:
    """`v1.10.0` after `v1.9.0`; a pre-release before its release; words last of all."""
    parts = re.findall(r"\d+|[A-Za-z]+", tag.removeprefix("v"))
    key = [(2, int(part[:18]), "") if part.isdigit() else (0, 0, part) for part in parts]
    return [*key, (1, 0, "")]
