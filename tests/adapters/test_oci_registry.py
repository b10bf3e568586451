"""A tag becomes a digest; credentials go where they may and nowhere else; a missing tag is told with its peers."""

import base64
import hashlib
import traceback
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from tests.adapters.servers import HANG, http, scripted, serving

from celadon.adapters.image_ref import ImageRef
from celadon.adapters.oci_registry import Challenge, Login, OciRegistry, _version_key
from celadon.core.errors import CeladonError, Refused, Unavailable
from celadon.core.secret import Secret

LOGIN = Login("acme", Secret("sentinel-password"))
BASIC = "Basic " + base64.b64encode(b"acme:sentinel-password").decode()
INDEX = b'{"schemaVersion": 2, "manifests": []}'
DIGEST = "sha256:" + hashlib.sha256(INDEX).hexdigest()


class Registry:
    """One repository, `acme/hello`; `auth` is none, basic or bearer."""

    def __init__(self) -> None:
        self.tags = {"v1.0.0": INDEX, "v1.0.1": INDEX, "v1.10.0-rc1": INDEX, "latest": INDEX, "v1.9.0": INDEX}
        self.auth = "none"
        self.private = False
        self.names_digest = True
        self.realm = ""
        self.page = 1000
        self.seen: list[tuple[str, str | None]] = []
        self.accepts: list[str] = []
        self.tokens: list[dict[str, str]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/acme/hello/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/acme/hello/tags/list", self._list)
        app.router.add_get("/token", self._token)
        return app

    def _challenge(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        self.seen.append((request.path, given))
        if self.auth == "none" or given == ("Bearer sentinel-token" if self.auth == "bearer" else BASIC):
            return None
        header = 'Basic realm="x"'
        if self.auth == "bearer":
            realm = self.realm or f"http://{request.host}/token"
            header = f'Bearer realm="{realm}",service="reg.example",scope="repository:acme/hello:pull,push"'
        return web.json_response(
            {"errors": [{"code": "UNAUTHORIZED"}]}, status=401, headers={"WWW-Authenticate": header}
        )

    async def _manifest(self, request: web.Request) -> web.Response:
        if (refused := self._challenge(request)) is not None:
            return refused
        self.accepts.append(request.headers["Accept"])
        reference = request.match_info["reference"]
        body = self.tags.get(reference) if not reference.startswith("sha256:") else INDEX
        if body is None or (reference.startswith("sha256:") and reference != DIGEST):
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        headers = {"Docker-Content-Digest": DIGEST} if self.names_digest else {}
        return web.Response(body=body, headers=headers)

    async def _list(self, request: web.Request) -> web.Response:
        if (refused := self._challenge(request)) is not None:
            return refused
        names = sorted(self.tags)
        after = [name for name in names if name > request.query.get("last", "")]
        headers = {"Link": '</evil>; rel="next"'} if len(after) > self.page else {}
        return web.json_response({"name": "acme/hello", "tags": after[: self.page]}, headers=headers)

    async def _token(self, request: web.Request) -> web.Response:
        self.tokens.append(dict(request.query))
        given = request.headers.get("Authorization")
        self.seen.append((request.path, given))
        if self.private and given != BASIC:
            return web.json_response({}, status=401)
        return web.json_response({"access_token": "sentinel-token", "expires_in": 60})


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def host(registry: Registry) -> AsyncIterator[str]:
    async with serving(registry.app()) as url:
        yield urlsplit(url).netloc


async def resolve(host: str, version: str = "v1.0.1", login: Login | None = None, deadline: float = 20.0) -> str:
    async with OciRegistry(login, deadline=deadline) as client:
        return await client.digest(ImageRef.parse(f"{host}/acme/hello", version))


async def test_a_tag_is_a_digest(registry: Registry, host: str) -> None:
    assert await resolve(host) == DIGEST
    assert "application/vnd.oci.image.index.v1+json" in registry.accepts[0]
    assert "application/vnd.docker.distribution.manifest.list.v2+json" in registry.accepts[0]
    assert registry.seen == [("/v2/acme/hello/manifests/v1.0.1", None)]


async def test_a_registry_that_names_no_digest_is_hashed(registry: Registry, host: str) -> None:
    registry.names_digest = False
    assert await resolve(host) == DIGEST


async def test_a_digest_is_looked_for_and_compared(registry: Registry, host: str) -> None:
    assert await resolve(host, DIGEST) == DIGEST
    with pytest.raises(Refused, match="not in the registry"):
        await resolve(host, "sha256:" + "0" * 64)
    async with scripted([http("200 OK", b"", f"Docker-Content-Digest: {DIGEST}")]) as server:
        with pytest.raises(Refused, match="another image"):
            await resolve(urlsplit(server.url).netloc, "sha256:" + "0" * 64)


async def test_a_missing_tag_is_told_as_the_contract_says(registry: Registry, host: str) -> None:
    registry.page = 2
    with pytest.raises(Refused) as caught:
        await resolve(host, "v1.1.0")
    error = caught.value
    assert error.message == f"{host}/acme/hello:v1.1.0: not in the registry (manifest unknown)"
    assert error.details == ("newest tags: v1.10.0-rc1, v1.9.0, v1.0.1, v1.0.0, latest",)
    assert error.hint == f"docker push {host}/acme/hello:v1.1.0 · private? set [registry]"
    assert all(path.startswith("/v2/acme/hello/") for path, _ in registry.seen)


async def test_a_missing_tag_of_a_registry_that_lists_none_is_still_told() -> None:
    async with scripted([http("404 Not Found", b""), http("500 Oops", b"")]) as server:
        with pytest.raises(Refused, match="not in the registry") as caught:
            await resolve(urlsplit(server.url).netloc)
    assert caught.value.details == ()


async def test_an_anonymous_token_is_fetched_for_pulling_only(registry: Registry, host: str) -> None:
    registry.auth = "bearer"
    assert await resolve(host) == DIGEST
    assert registry.tokens == [{"service": "reg.example", "scope": "repository:acme/hello:pull"}]
    assert [given for _, given in registry.seen] == [None, None, "Bearer sentinel-token"]


async def test_a_login_goes_to_the_token_server_and_the_token_to_the_registry(registry: Registry, host: str) -> None:
    registry.auth = "bearer"
    registry.private = True
    assert await resolve(host, login=LOGIN) == DIGEST
    assert registry.seen == [
        ("/v2/acme/hello/manifests/v1.0.1", None),
        ("/token", BASIC),
        ("/v2/acme/hello/manifests/v1.0.1", "Bearer sentinel-token"),
    ]


async def test_basic_is_answered_by_the_registry_only(registry: Registry, host: str) -> None:
    registry.auth = "basic"
    assert await resolve(host, login=LOGIN) == DIGEST
    with pytest.raises(Refused, match="asks for a login"):
        await resolve(host)


async def test_one_token_serves_many_questions(registry: Registry, host: str) -> None:
    registry.auth = "bearer"
    async with OciRegistry() as client:
        for version in ("v1.0.0", "v1.0.1"):
            await client.digest(ImageRef.parse(f"{host}/acme/hello", version))
    assert len(registry.tokens) == 1


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_no_access_is_refused_without_showing_the_password(
    registry: Registry, host: str, login: Login | None
) -> None:
    registry.auth = "bearer"
    registry.private = True
    wrong = Login("acme", Secret("sentinel-password-2")) if login else None
    with pytest.raises(Refused, match="gives no token") as caught:
        await resolve(host, login=wrong)
    assert "sentinel" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "realm",
    ["http://auth.example.com/token", "ftp://127.0.0.1/token", "", "/token", "https://x:y@auth.example.com/token"],
)
async def test_a_login_is_not_sent_to_a_realm_that_is_not_safe(realm: str) -> None:
    header = f'WWW-Authenticate: Bearer realm="{realm}",service="s"'
    async with scripted([http("401 Unauthorized", b"", header)]) as server:
        with pytest.raises(Refused, match="nothing was sent"):
            await resolve(urlsplit(server.url).netloc, login=LOGIN)
    assert b"Authorization" not in server.requests[0]


async def test_a_registry_elsewhere_cannot_name_this_machine(registry: Registry, host: str) -> None:
    async with OciRegistry(LOGIN) as client:
        with pytest.raises(Refused, match="nothing was sent"):
            await client._authorize(
                ImageRef.parse("ghcr.io/acme/hello", "v1"), Challenge("bearer", {"realm": f"http://{host}/token"})
            )
    assert registry.seen == []


async def test_a_redirect_is_not_followed_with_a_token(registry: Registry, host: str) -> None:
    async with scripted([http("307 Temporary Redirect", b"", f"Location: http://{host}/v2/")]) as server:
        with pytest.raises(Refused, match="answers 307"):
            await resolve(urlsplit(server.url).netloc, login=LOGIN)
    assert registry.seen == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (http("429 Too Many Requests", b""), Unavailable),
        (http("503 Service Unavailable", b""), Unavailable),
        (http("403 Forbidden", b""), Refused),
        (http("401 Unauthorized", b""), Refused),
        (http("401 Unauthorized", b"", "WWW-Authenticate: Negotiate"), Refused),
        (b"", Unavailable),
        (b"nonsense\r\n\r\n", Unavailable),
    ],
)
async def test_other_answers_are_translated(content: bytes, kind: type[CeladonError]) -> None:
    async with scripted([content]) as server:
        with pytest.raises(CeladonError) as caught:
            await resolve(urlsplit(server.url).netloc)
    assert type(caught.value) is kind
    assert len(server.requests) == 1


async def test_silence_ends_at_the_deadline() -> None:
    async with scripted([HANG]) as server:
        with pytest.raises(Unavailable, match=r"no answer in 0\.3 s"):
            await resolve(urlsplit(server.url).netloc, deadline=0.3)


@pytest.mark.parametrize("token", [b"{}", b'{"token": ""}', b'{"token": "a\\nb"}', b'{"token": 5}', b"<html>"])
async def test_a_token_that_is_none_is_not_used(token: bytes) -> None:
    async with scripted([http("200 OK", token)]) as tokens:
        header = f'WWW-Authenticate: Bearer realm="{tokens.url}/token"'
        async with scripted([http("401 Unauthorized", b"", header)]) as server:
            with pytest.raises(Unavailable):
                await resolve(urlsplit(server.url).netloc)
            assert len(server.requests) == 1


async def test_a_manifest_without_end_is_dropped() -> None:
    head = http("200 OK", b"")
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (5 * 1024 * 1024)
    async with scripted([head, endless]) as server:
        with pytest.raises(Unavailable, match="too large"):
            await resolve(urlsplit(server.url).netloc)


async def test_a_user_name_that_http_cannot_send_is_refused(registry: Registry, host: str) -> None:
    registry.auth = "basic"
    with pytest.raises(Refused, match="colon"):
        await resolve(host, login=Login("a:b", Secret("c")))


def test_challenges_are_read_in_every_spelling() -> None:
    read = Challenge.parse('bearer Realm="https://a/b,c" , service=reg ,scope="a b"')
    assert read == Challenge("bearer", {"realm": "https://a/b,c", "service": "reg", "scope": "a b"})
    assert Challenge.parse("") == Challenge("", {})


def test_newer_versions_come_first() -> None:
    tags = ["latest", "v1.9.0", "v1.10.0", "v1.10.0-rc2", "v1.10.0-rc10", "2.0", "main"]
    ordered = sorted(tags, key=_version_key, reverse=True)
    assert ordered == ["2.0", "v1.10.0", "v1.10.0-rc10", "v1.10.0-rc2", "v1.9.0", "main", "latest"]
