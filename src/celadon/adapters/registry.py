"""An image registry, asked one thing: which digest does this tag have now? (OCI distribution, pull scope only.)"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from celadon.adapters.http import is_loopback, one_try, quoted, why
from celadon.core.errors import Refused, Unavailable
from celadon.core.release import Seconds
from celadon.core.secret import Secret

DEADLINE: Final[Seconds] = 20.0
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
KINDS = (
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
SHOWN = 5
LARGEST = 1 << 20
HUB = "registry-1.docker.io"  # what Docker itself asks for docker.io


class Login(msgspec.Struct, frozen=True):
    username: str
    password: Secret


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Registry:
    """One repository of one registry."""

    def __init__(self, registry: str, repository: str, login: Login | None = None) -> None:
        self._name = f"{registry}/{repository}"
        host = HUB if registry == "docker.io" else registry
        scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname) else "https"  # as Docker does for localhost
        self._base = f"{scheme}://{host}/v2/{repository}"
        self._login = login
        self._authorization = ""

    async def digest(self, reference: str) -> str:
        """`sha256:…` of a tag. A digest is its own answer. Raises Refused where the registry has no such image."""
        if DIGEST.fullmatch(reference):
            return reference
        if not TAG.fullmatch(reference):
            raise Refused(f"{reference!r} is neither a tag nor a digest", hint="like v1.1.0, or sha256:…")
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE), trust_env=True)
        async with one_try(session):
            status, headers, _ = await self._get(session, "HEAD", f"/manifests/{reference}")
            if status == 404:
                raise await self._missing(session, reference)
            found = headers.get("Docker-Content-Digest", "")
            if status != 200 or not DIGEST.fullmatch(found):
                raise self._odd(status, reference)
            return found

    async def _missing(self, session: aiohttp.ClientSession, reference: str) -> Refused:
        status, _, body = await self._get(session, "GET", "/tags/list")
        tags: list[str] = []
        if status == 200:
            try:
                tags = msgspec.json.decode(body, type=_Tags).tags or []
            except msgspec.MsgspecError:
                tags = []
        return Refused(
            f"{self._name}:{reference}: not in the registry (manifest unknown)",
            details=[f"newest tags: {', '.join(quoted(tag) for tag in tags[-SHOWN:][::-1])}"] if tags else [],
            hint=f"docker push {self._name}:{reference} · private? set [registry]",
            where=self._name,
        )

    def _odd(self, status: int, reference: str) -> Refused | Unavailable:
        what = f"{self._name}:{reference}: the registry answered {status}"
        if status in (401, 403):
            return Refused(what, hint="may this user pull it? set [registry] username and password", where=self._name)
        return Unavailable(what, hint="run it again", where=self._name)

    async def _get(
        self, session: aiohttp.ClientSession, method: str, path: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Once; and once more with the authorization that a 401 asks for."""
        status, headers, body = await self._send(session, method, self._base + path)
        if status == 401 and await self._authorize(session, headers.get("WWW-Authenticate", "")):
            status, headers, body = await self._send(session, method, self._base + path)
        return status, headers, body

    async def _authorize(self, session: aiohttp.ClientSession, challenge: str) -> bool:
        kind, _, rest = challenge.partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        basic = aiohttp.BasicAuth(self._login.username, self._login.password.reveal()) if self._login else None
        if kind.lower() == "basic" and basic is not None:
            self._authorization = basic.encode()
            return True
        realm = urlsplit(fields.get("realm", ""))
        safe = realm.scheme == "https" or (realm.scheme == "http" and is_loopback(realm.hostname))
        if kind.lower() != "bearer" or not safe:
            return False
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        url = f"{fields['realm']}{'&' if realm.query else '?'}{query}"
        headers = {"Authorization": basic.encode()} if basic is not None else {}
        status, _, body = await self._send(session, "GET", url, headers)
        if status != 200:
            return False
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except msgspec.MsgspecError:
            return False
        self._authorization = f"Bearer {answer.token or answer.access_token}"
        return True

    async def _send(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {"Accept": KINDS, **(headers if headers is not None else {})}
        if headers is None and self._authorization:
            sent["Authorization"] = self._authorization
        try:
            async with (
                asyncio.timeout(DEADLINE),
                session.request(method, url, headers=sent, allow_redirects=False) as answer,
            ):
                return answer.status, answer.headers, await answer.content.read(LARGEST)
        except TimeoutError:
            reason = f"no answer in {DEADLINE:g} s"
        except (aiohttp.ClientError, OSError) as error:  # not chained: these may hold the request's headers
            reason = why(error)
        raise Unavailable(f"{self._name}: registry: {reason}", hint="run it again", where=self._name) from None
