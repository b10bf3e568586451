"""The API client: what it asks, what it makes of answers, and what a hostile or broken API can do to it."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator

import pytest
from tests.adapters.linode.app import LinodeApp
from tests.adapters.servers import HANG, http, scripted, serving

from celadon.adapters.linode import LinodeApi
from celadon.adapters.linode_http import KEEP_ALIVE, LARGEST_BODY, CallCounts, NotFound, RateLimited
from celadon.adapters.linode_scopes import parse_scopes, scope_refusal
from celadon.core.errors import CeladonError, NoAnswer, NotAllowed, Refused, Unavailable
from celadon.core.observed import Mode
from celadon.core.secret import Secret

TOKEN = Secret("sentinel-token")


@pytest.fixture
def app() -> LinodeApp:
    return LinodeApp()


@pytest.fixture
async def api(app: LinodeApp) -> AsyncIterator[LinodeApi]:
    async with serving(app.app()) as url, LinodeApi(url, TOKEN) as client:
        yield client


def client(url: str, deadline: float = 20.0) -> LinodeApi:
    return LinodeApi(url, TOKEN, deadline=deadline)


async def test_instances_are_found_by_label_with_both_addresses(app: LinodeApp, api: LinodeApi) -> None:
    app.add_instance("blue-1", "203.0.113.11", "192.168.130.11")
    app.add_instance("blue-10", "203.0.113.12", "192.168.130.12")
    app.add_instance("bare", "203.0.113.13")
    found = await api.instances(["blue-1", "bare"])
    assert [(label, each.public, each.private) for label, each in found.items()] == [
        ("bare", "203.0.113.13", None),
        ("blue-1", "203.0.113.11", "192.168.130.11"),
    ]
    assert app.filters == [{"+or": [{"label": "bare"}, {"label": "blue-1"}]}]


async def test_missing_instances_are_all_named(app: LinodeApp, api: LinodeApi) -> None:
    app.add_instance("blue-1", "203.0.113.11")
    with pytest.raises(Refused, match="no Linode labelled blue-2, green-1"):
        await api.instances(["green-1", "blue-1", "blue-2"])


async def test_many_labels_are_asked_for_in_parts(app: LinodeApp, api: LinodeApi) -> None:
    labels = [f"host-{number:03}" for number in range(100)]
    for label in labels:
        app.add_instance(label, "203.0.113.11")
    assert list(await api.instances(labels)) == labels
    assert api.counts.lists == 3


async def test_tags_must_all_match_whatever_their_case(app: LinodeApp, api: LinodeApi) -> None:
    app.add_instance("a", tags=("App", "blue"))
    app.add_instance("b", tags=("app", "green"))
    assert [each.label for each in await api.instances_tagged(["app", "BLUE"])] == ["a"]
    with pytest.raises(Refused, match="every Linode"):
        await api.instances_tagged([])


async def test_lists_are_read_to_their_last_page(app: LinodeApp, api: LinodeApi) -> None:
    app.largest_page = 2
    config = app.add_config(app.add_balancer("front"))
    for number in range(5):
        app.add_node(config, f"192.168.130.{number}:80")
    nodes = await api.nodes(1001, config)
    assert [node.address for node in nodes] == [f"192.168.130.{number}:80" for number in range(5)]
    assert api.counts == CallCounts(lists=3, reads=0, puts=0, posts=0)


async def test_a_balancer_is_found_by_label_then_by_id(app: LinodeApp, api: LinodeApi) -> None:
    first = app.add_balancer("front")
    named_as_number = app.add_balancer(str(first))
    assert (await api.balancer("front")).id == first
    assert (await api.balancer(str(first))).id == named_as_number
    assert (await api.balancer(str(named_as_number))).label == str(first)
    with pytest.raises(Refused, match="no NodeBalancer 'back'"):
        await api.balancer("back")
    with pytest.raises(NotFound):
        await api.balancer("9999")


async def test_calls_are_counted_as_the_api_limits_them(app: LinodeApp, api: LinodeApi) -> None:
    config = app.add_config(balancer := app.add_balancer("front"))
    node = app.add_node(config, "192.168.130.1:80")
    await api.configs(balancer)
    await api.node(balancer, config, node)
    await api.put_node((balancer, config, node), Mode.DRAIN, 7, 5.0)
    await api.post_node(balancer, config, {"label": "new", "address": "192.168.130.2:80"})
    assert api.counts == CallCounts(lists=1, reads=1, puts=1, posts=1)
    assert api.counts.total == len(app.served) == 4
    assert app.bodies[0] == {"mode": "drain", "weight": 7}


async def test_one_connection_is_reused(api: LinodeApi) -> None:
    for _ in range(3):
        assert await api.scopes() == frozenset({"linodes:read_only", "nodebalancers:read_write"})
    session = api._http._session
    assert session is not None
    assert session.connector is not None
    assert [len(connections) for connections in session.connector._conns.values()] == [1]
    assert KEEP_ALIVE < 5


async def test_a_token_that_is_not_valid_is_refused_without_showing_it(app: LinodeApp, api: LinodeApi) -> None:
    app.token = "another"
    for call in (api.scopes(), api.configs(1)):
        with pytest.raises(Refused, match="Invalid Token") as caught:
            await call
        assert caught.value.where == "LINODE_TOKEN"
        assert "nodebalancers:read_write" in (caught.value.hint or "")
        assert "sentinel-token" not in "".join(traceback.format_exception(caught.value))


async def test_a_missing_scope_is_named_as_the_contract_says(app: LinodeApp, api: LinodeApi) -> None:
    app.scopes = "linodes:read_only nodebalancers:read_only"
    config = app.add_config(balancer := app.add_balancer("front"))
    node = app.add_node(config, "192.168.130.1:80")
    with pytest.raises(Refused) as caught:
        await api.put_node((balancer, config, node), Mode.DRAIN, 7, 5.0)
    assert caught.value.message == "LINODE_TOKEN can read NodeBalancers but not change them"
    assert caught.value.details == (
        "has:   linodes:read_only nodebalancers:read_only",
        "needs: linodes:read_only nodebalancers:read_write",
    )
    assert caught.value.hint == "Cloud Manager > API Tokens: a new token with exactly these, all else None"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("*", None),
        ("linodes:read_write,nodebalancers:read_write", None),
        ("nodebalancers:read_write", "LINODE_TOKEN cannot read Linodes"),
        ("linodes:read_only", "LINODE_TOKEN cannot change NodeBalancers"),
        ("linodes:read_only nodebalancers:read_only", "LINODE_TOKEN can read NodeBalancers but not change them"),
    ],
)
def test_scopes_are_judged(header: str, message: str | None) -> None:
    has = parse_scopes(header)
    assert has is not None
    refusal = scope_refusal(has)
    assert (refusal and refusal.message) == message


async def test_scopes_that_the_api_does_not_name_are_unknown(app: LinodeApp, api: LinodeApi) -> None:
    app.scopes = None
    assert await api.scopes() is None


STATUSES: list[tuple[bytes, type[CeladonError], str]] = [
    (
        http("400 Bad Request", b'{"errors":[{"reason":"Must be 1-255","field":"weight"}]}'),
        Refused,
        "weight: Must be",
    ),
    (http("404 Not Found", b'{"errors":[{"reason":"Not found"}]}'), NotFound, "404 Not found"),
    (http("403 Forbidden", b'{"errors":[{"reason":"Unauthorized"}]}', "X-OAuth-Scopes: *"), NotAllowed, "Unauthorized"),
    (http("302 Found", b"", "Location: http://127.0.0.1:1/"), Refused, "302 Found"),
    (http("503 Service Unavailable", b"", "X-Maintenance-Mode: all,"), Unavailable, "503"),
    (http("502 Bad Gateway", b"<html>"), NoAnswer, "502 Bad Gateway"),
    (http("500 Internal Server Error", b"\xff\xfe"), NoAnswer, "500"),
    (http("200 OK", b"<html>welcome to our hotel</html>"), NoAnswer, "not what the API promises"),
    (http("200 OK", b'{"id": "seven"}'), NoAnswer, "not what the API promises"),
    (http("200 OK", b"[" * 200_000), NoAnswer, "not what the API promises"),
    (http("200 OK", b'{"x":' + b"[" * 200_000), NoAnswer, "not what the API promises"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", NoAnswer, "PUT /v4/"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", NoAnswer, "PUT /v4/"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", NoAnswer, "PUT /v4/"),
    (b"", NoAnswer, "PUT /v4/"),
]


@pytest.mark.parametrize(("content", "kind", "text"), STATUSES)
async def test_an_answer_to_a_change_becomes_the_right_error(
    content: bytes, kind: type[CeladonError], text: str
) -> None:
    async with scripted([content]) as server, client(server.url) as api:
        with pytest.raises(CeladonError, match=text) as caught:
            await api.put_node((1, 2, 3), Mode.REJECT, 1, 20.0)
    assert type(caught.value) is kind
    assert "sentinel-token" not in "".join(traceback.format_exception(caught.value))
    assert b"Authorization: Bearer sentinel-token" in server.requests[0]


async def test_a_gateway_that_fails_a_read_changed_nothing() -> None:
    async with scripted([http("502 Bad Gateway", b"")]) as server, client(server.url) as api:
        with pytest.raises(Unavailable) as caught:
            await api.node(1, 2, 3)
    assert type(caught.value) is Unavailable


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("Retry-After: 7", 7.0), ("Retry-After: 99999999999", None), ("Retry-After: soon", None), ("X: y", None)],
)
async def test_a_rate_limit_says_when_to_come_back(header: str, seconds: float | None) -> None:
    body = b'{"errors":[{"reason":"Too many requests"}]}'
    async with scripted([http("429 Too Many Requests", body, header)]) as server, client(server.url) as api:
        with pytest.raises(RateLimited, match="Too many requests") as caught:
            await api.configs(1)
    assert caught.value.retry_after == seconds
    assert not isinstance(caught.value, NoAnswer)


@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_a_lost_answer_is_not_asked_for_again(method: str) -> None:
    async with scripted([b"", http("200 OK", b"{}")]) as server, client(server.url) as api:
        with pytest.raises(NoAnswer):
            await (api.node(1, 2, 3) if method == "GET" else api.put_node((1, 2, 3), Mode.REJECT, 1, 20.0))
    assert len(server.requests) == 1


async def test_silence_after_the_request_is_no_answer() -> None:
    async with scripted([HANG]) as server, client(server.url) as api:
        with pytest.raises(NoAnswer, match=r"no answer in 0\.3 s"):
            await api.put_node((1, 2, 3), Mode.REJECT, 1, 0.3)
    assert len(server.requests) == 1


async def test_a_body_that_drips_for_ever_ends_at_the_deadline() -> None:
    content = http("200 OK", b"").replace(b"Length: 0", b"Length: 999") + HANG
    async with scripted([content]) as server, client(server.url, deadline=0.3) as api:
        with pytest.raises(NoAnswer, match=r"no answer in 0\.3 s"):
            await api.configs(1)


async def test_nobody_there_is_unavailable_and_nothing_was_sent() -> None:
    async with scripted([]) as server:
        url = server.url
    async with client(url) as api:
        with pytest.raises(Unavailable) as caught:
            await api.put_node((1, 2, 3), Mode.REJECT, 1, 20.0)
    assert type(caught.value) is Unavailable


async def test_a_door_that_never_opens_is_unavailable() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # the queue is full now, and the kernel ignores whoever comes next
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with LinodeApi(f"http://127.0.0.1:{full.getsockname()[1]}", TOKEN, connect=0.3) as api:
            with pytest.raises(Unavailable, match="no connection in time") as caught:
                await api.put_node((1, 2, 3), Mode.REJECT, 1, 20.0)
    assert type(caught.value) is Unavailable


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_without_end_is_dropped(*, announced: bool) -> None:
    head = f"Content-Length: {LARGEST_BODY + 1}" if announced else "Connection: close"
    content = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + b" " * (LARGEST_BODY + 1)
    async with scripted([content]) as server, client(server.url) as api:
        with pytest.raises(NoAnswer, match="exceeds"):
            await api.configs(1)


async def test_pages_without_end_are_refused() -> None:
    async with scripted([http("200 OK", b'{"data":[],"pages":1000000000}')]) as server, client(server.url) as api:
        with pytest.raises(Refused, match="1000000000 pages"):
            await api.configs(1)
    assert len(server.requests) == 1


async def test_what_the_api_says_cannot_steer_the_terminal() -> None:
    body = b'{"errors":[{"reason":"\\u001b[2Jgone\\r\\nerror: none' + b"x" * 5000 + b'"}]}'
    async with scripted([http("400 Bad Request", body)]) as server, client(server.url) as api:
        with pytest.raises(Refused) as caught:
            await api.configs(1)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


async def test_a_cancelled_call_is_cancelled_not_translated() -> None:
    async with scripted([HANG]) as server, client(server.url) as api:
        task = asyncio.ensure_future(api.configs(1))
        await asyncio.wait_for(server.held.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://api.linode.com/v4", "leave out /v4"),
        ("http://api.linode.com", "readable on the way"),
        ("http://127.0.0.1.example.com", "readable on the way"),
        ("ftp://127.0.0.1", "form https://host"),
        ("https://user:pass@api.linode.com", "form https://host"),
        ("", "form https://host"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused_at_once(url: str, text: str) -> None:
    with pytest.raises(Refused) as caught:
        LinodeApi(url, TOKEN)
    assert text in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("token", ["", "two words", "line\nend", "ümlaut"])
def test_a_token_that_cannot_be_right_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(Refused) as caught:
        LinodeApi("https://api.linode.com", Secret(token))
    assert not token or token not in f"{caught.value}{caught.value.hint}"


async def test_a_proxy_in_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, app: LinodeApp
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with serving(app.app()) as url, client(url) as api:
        assert await api.scopes()


async def test_listeners_are_a_matter_of_labs() -> None:
    body = b'{"listeners":[{"port":80,"host":"127.0.0.1","bound_port":8080}]}'
    async with scripted([http("200 OK", body)]) as server, client(server.url) as api:
        listener = (await api.lab_listeners(7))[0]
    assert (listener.port, listener.host, listener.bound_port) == (80, "127.0.0.1", 8080)
    assert server.requests[0].startswith(b"GET /lab/balancers/7 ")
    with pytest.raises(Refused, match="only a lab"):
        await LinodeApi("https://api.linode.com", TOKEN).lab_listeners(7)
