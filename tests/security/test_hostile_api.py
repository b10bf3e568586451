"""An API that lies, floods and leads elsewhere: nothing of it may run, write, hang, fill memory, or get the token."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.security.corpus import hostile, unsafe
from tests.security.hostile_api import BALANCER, CONFIG, NODE, HostileApi, Say, endless, hostile_api, http, js, says
from tests.security.scene import Scene, scene

from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_http import MOST_PAGES, PAGE_SIZE, RateLimited
from celadon.core.errors import CeladonError, NoAnswer
from celadon.core.secret import Secret

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.asyncio(loop_scope="module")]

DEEP = b"[" * 200_000 + b"]" * 200_000
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LISTS = ("/nodebalancers", "/configs", "/nodes")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("hostile")) as found:
        yield found


def bomb() -> bytes:
    """A quarter of a gigabyte of nothing in a quarter of a megabyte: more than a deployer may grow by."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])


def page(count: int, **changes: object) -> bytes:
    return json.dumps({"data": [NODE | {"id": number + 1} | changes for number in range(count)], "pages": 1}).encode()


ANSWERS: dict[str, Say] = {
    "nothing": says(b""),
    "not HTTP": says(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "a body without end": endless(PLAIN + b"\r\n", b'{"a":' * 10_000),
    "chunks without end": endless(CHUNKED, b"2710\r\n" + b"x" * 10_000 + b"\r\n"),
    "headers without end": endless(PLAIN, b"X-More: " + b"x" * 1000 + b"\r\n"),
    "one header without end": endless(PLAIN + b"X-More: ", b"x" * 10_000),
    "interim answers without end": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, most=8 << 20),
    "a chunk of a negative size": says(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    "a chunk of no known size": says(CHUNKED + b"ffffffffffffffffffff\r\n"),
    "a length that is a lie": says(PLAIN + b"Content-Length: 99999999999\r\n\r\n{}"),
    "two lengths": says(PLAIN + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}xxx"),
    "a compression bomb": says(http("200 OK", bomb(), "Content-Encoding: gzip")),
    "packed where nothing was asked to be": says(http("200 OK", gzip.compress(b"{}"), "Content-Encoding: gzip")),
    "of a packing that is none": says(http("200 OK", b"{}", "Content-Encoding: evil")),
    "brackets": says(http("200 OK", DEEP)),
    "brackets where nobody looks": says(http("200 OK", b'{"x":' + DEEP + b"}")),
    "brackets in an error": says(http("400 Bad Request", b'{"errors":' + DEEP + b"}")),
    "HTML": says(http("200 OK", b"<html><script>x</script>", kind="text/html")),
    "HTML in an error": says(http("502 Bad Gateway", b"<html>\x1b[2J" * 1000, kind="text/html")),
    "an error without end": js({"errors": [{"reason": "x" * 3_000_000, "field": "\x1b[2J"}]}, status="400 Bad Request"),
    "errors without end": js({"errors": [{"reason": "x"}] * 100_000}, status="400 Bad Request"),
    "not UTF-8": says(http("200 OK", b'{"label":"\xff"}')),
    "null": js(None),
    "a list": js([]),
    "wrong types": js({"data": [{"id": "1", "label": 7, "ipv4": []}], "pages": "many"}),
    "no list": js({"data": {"a": 1}, "pages": 1}),
    "more than a page has": says(http("200 OK", page(PAGE_SIZE + 1))),
    "numbers that nobody prints": says(http("200 OK", b'{"data":[],"pages":' + b"9" * 5000 + b"}")),
    "infinity": says(http("200 OK", b'{"data":[],"pages":1e999}')),
    "pages without end": js({"data": [], "pages": 10**12}),
    "fewer pages than none": js({"data": [], "pages": -5}),
    "a status of its own": says(http("299 \x1b[2J\x1b]0;owned\x07", b"{}")),
    "a status that is no number": says(b"HTTP/1.1 abc OK\r\n\r\n"),
    "no content": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "wait a year": says(http("429 Too Many", b"{}", "Retry-After: 31536000")),
    "wait for as long as digits go": says(http("429 Too Many", b"{}", "Retry-After: " + "9" * 8000)),
    "wait until a date": says(http("429 Too Many", b"{}", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT")),
    "wait for less than nothing": says(http("503 Unavailable", b"{}", "Retry-After: -1")),
    "switch to another protocol": says(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_whatever_the_api_answers(stage: Scene, name: str) -> None:
    """To every question: the commands end, soon, and say so to a person."""
    stage.reset()
    stage.api.answers = dict.fromkeys(
        ("/profile", "/nodebalancers", "/nodebalancers/1", "/configs", "/nodes"), ANSWERS[name]
    )
    for verb in ("status", "check", "resume"):
        told = await stage.deployer.run(verb, within=60)
        stage.unharmed(told, f"{verb}: {name}")
        assert told.exit in (0, 2, 4)
        assert not unsafe(told.out + told.err)
        assert "sentinel" not in told.out + told.err
        assert len(told.out + told.err) < 20_000


@pytest.mark.parametrize("name", ["a body without end", "a compression bomb", "HTML", "brackets", "pages without end"])
async def test_whatever_the_api_answers_late(stage: Scene, name: str) -> None:
    """Honest about the balancer itself, and hostile from there on."""
    for end in ("/configs", "/nodes", "/lab/balancers/1"):
        stage.reset()
        stage.api.answers = {end: ANSWERS[name]}
        told = await stage.deployer.run("status")
        stage.unharmed(told, f"{end}: {name}")


async def test_a_page_that_is_always_the_last_but_one(stage: Scene) -> None:
    stage.reset()
    served = 0

    async def one_more(writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        await js({"data": [BALANCER] * PAGE_SIZE, "pages": served + 1})(writer)

    stage.api.answers["/nodebalancers"] = one_more
    told = await stage.deployer.run("status")
    stage.unharmed(told, "one more page")
    assert served <= MOST_PAGES


async def test_large_pages_are_bounded_together(stage: Scene) -> None:
    stage.reset()
    large = [BALANCER | {"label": "x" * 8000}] * 400  # 3.3 MB a page, forty of them
    stage.api.answers["/nodebalancers"] = js({"data": large, "pages": MOST_PAGES})
    told = await stage.deployer.run("status")
    stage.unharmed(told, "large pages")
    assert len(stage.api.requests) < MOST_PAGES


async def test_a_balancer_of_a_thousand_ports_is_not_read(stage: Scene) -> None:
    stage.reset()
    configs = [CONFIG | {"id": number, "port": number} for number in range(1, PAGE_SIZE)]
    stage.api.answers["/configs"] = js({"data": configs, "pages": 1})
    told = await stage.deployer.run("status")
    stage.unharmed(told, "ports")
    assert "more than 100 are not read" in told.out
    assert len(stage.api.requests) < 20


@pytest.mark.parametrize("name", [*hostile(Path("/x"))])
async def test_hostile_words_in_every_answer(stage: Scene, name: str) -> None:
    stage.reset()
    text = hostile(stage.canary)[name]
    label = text[:100_000]
    scopes = "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in text[:4000])
    node = NODE | {"label": label, "address": label, "mode": label, "status": label}
    config = CONFIG | {"protocol": label, "check": label, "stickiness": label}
    error = js({"errors": [{"reason": text, "field": label}]}, status="400 Bad Request")
    cases: list[dict[str, Say]] = [
        {"/nodebalancers/1": js(BALANCER | {"label": label, "region": label})},
        {"/nodes": js({"data": [node], "pages": 1})},
        {"/nodes": js({"data": [NODE | {"label": label, "address": label}], "pages": 1})},
        {"/configs": js({"data": [config], "pages": 1})},
        {"/nodebalancers": error, "/nodebalancers/1": error, "/profile": error},
        {"/lab/balancers/1": js({"listeners": [{"port": 80, "host": label, "bound_port": 9}]})},
        {"/profile": js({}, f"X-OAuth-Scopes: {scopes}")},
    ]  # fmt: skip
    for answers in cases:
        stage.api.answers = answers
        for words in (["status"], ["check"], ["check", "--json"]):
            told = await stage.deployer.run(*words)
            stage.unharmed(told, f"{words}: {name}: {[*answers]}")
            assert not unsafe(told.out + told.err)


async def test_a_label_from_the_api_is_no_name_of_a_host(tmp_path: Path) -> None:
    """With `tags` the API names the hosts: what no Linode can be called becomes no host, and no hint."""
    async with scene(tmp_path / "scene") as stage:
        config = stage.deployer.project / "celadon.toml"
        text = config.read_text()
        start, end = text.index("[hosts]"), text.index("[balancer]")
        tags = '[hosts]\ntags = { blue = ["blue"], green = ["green"] }\n'
        config.write_text(text[:start] + tags + text[end:])
        for name, label in hostile(stage.canary).items():
            stage.reset()
            instance = {"id": 5, "label": label[:100_000], "status": "running", "tags": ["blue", "green"]}
            placed = instance | {"ipv4": ["127.0.0.1", "192.168.130.11"]}
            stage.api.answers["/instances"] = js({"data": [placed], "pages": 1})
            for verb in ("status", "check"):
                told = await stage.deployer.run(verb)
                stage.unharmed(told, f"{verb}: {name}")
                assert not unsafe(told.out + told.err)
                assert "a label that Linode gives nobody" in told.out + told.err
            assert not stage.host.asked


# -- where the token goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308", "300", "305"])
async def test_the_token_follows_no_redirect(stage: Scene, status: str) -> None:
    stage.reset()
    async with hostile_api() as elsewhere:
        away = says(http(f"{status} Away", b"", f"Location: {elsewhere.url}/v4", f"Refresh: 0; url={elsewhere.url}"))
        stage.api.answers = dict.fromkeys(("/profile", "/nodebalancers", "/nodebalancers/1"), away)
        for verb in ("status", "check", "resume"):
            stage.unharmed(await stage.deployer.run(verb), verb)
        assert elsewhere.requests == []
    assert all("sentinel-token" in given for _, given in stage.api.requests)


# -- what the client makes of it, on its own ------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def api() -> AsyncIterator[HostileApi]:
    async with hostile_api() as found:
        yield found


async def test_a_list_that_drips_has_an_end(api: HostileApi) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        await js({"data": [], "pages": MOST_PAGES})(writer)

    api.answers["/nodebalancers"] = slowly
    async with LinodeApi(api.url, Secret("t"), deadline=0.5) as client, asyncio.timeout(20):
        with pytest.raises(NoAnswer):
            await client.balancer("x")
    assert len(api.requests) < MOST_PAGES


async def test_an_answer_that_drips_has_an_end(api: HostileApi) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN + b"Content-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    api.answers["/nodebalancers/1"] = drip
    async with LinodeApi(api.url, Secret("t"), deadline=0.5) as client, asyncio.timeout(20):
        with pytest.raises(NoAnswer, match=r"no answer in 0\.5 s"):
            await client.balancer_by_id(1)


@pytest.mark.parametrize("after", ["31536000", "9" * 4000, "-1", "1e9", "soon", "٣"])
async def test_a_wish_to_wait_for_ever_is_not_granted(api: HostileApi, after: str) -> None:
    api.answers["/nodebalancers/1"] = says(
        http("429 Too Many", b"{}").replace(b"\r\n\r\n", f"\r\nRetry-After: {after}\r\n\r\n".encode(), 1)
    )
    async with LinodeApi(api.url, Secret("t"), deadline=5) as client:
        with pytest.raises(CeladonError) as caught:
            await client.balancer_by_id(1)
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after is None
