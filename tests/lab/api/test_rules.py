"""The pure parts under the API: filters, request bodies, rates, scopes, addresses, times of zones."""

from typing import Any

import pytest

from celadon.lab.api import bodies
from celadon.lab.api.app import ENDPOINTS
from celadon.lab.api.filters import page, select
from celadon.lab.api.rates import LIMITS, Rates
from celadon.lab.world.addresses import AddressBlock, first_free, private_address, public_ipv6
from celadon.lab.world.domains import rounded
from celadon.lab.world.problems import Problem
from celadon.lab.world.profile import clean_scopes, permits
from celadon.lab.world.tags import clean_tags

ROWS: list[dict[str, Any]] = [
    {"id": 1, "label": "Web-1", "tags": ["shop", "blue"], "size": 10, "entity": {"id": 7, "type": "linode"}},
    {"id": 2, "label": "web-2", "tags": ["shop"], "size": 20, "entity": {"id": 8, "type": "linode"}},
    {"id": 3, "label": "db", "tags": [], "size": None, "entity": None},
]
KEYS = ("id", "label", "tags", "size", "entity.id", "entity.type")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("{}", [1, 2, 3]),
        ('{"label": "db"}', [3]),
        ('{"label": {"+contains": "WEB"}}', [1, 2]),
        ('{"tags": "blue"}', [1]),
        ('{"tags": {"+contains": "sho"}}', [1, 2]),
        ('{"size": {"+gt": 10}}', [2]),
        ('{"size": {"+gte": 10, "+lt": 20}}', [1]),
        ('{"size": {"+lte": 20}}', [1, 2]),
        ('{"size": {"+neq": 10}}', [2, 3]),
        ('{"size": null}', [3]),
        ('{"entity.id": 8}', [2]),
        ('{"+or": [{"label": "db"}, {"entity.id": 7}]}', [1, 3]),
        ('{"+and": [{"tags": "shop"}, {"size": {"+gt": 10}}]}', [2]),
        ('{"+or": [{"+and": [{"id": 1}, {"tags": "shop"}]}, {"id": 3}]}', [1, 3]),
        ('{"+order_by": "size", "+order": "desc"}', [2, 1, 3]),
        ('{"+order_by": "label"}', [1, 3, 2]),
        ('{"tags": "shop", "+order": "desc"}', [2, 1]),
        ('{"label": 5}', []),
        ('{"label": {"+gt": 5}}', []),
    ],
)
def test_what_a_filter_finds(asked: str, found: list[int]) -> None:
    assert [row["id"] for row in select(ROWS, asked, KEYS)] == found


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ('{"foo": 1}', "Cannot filter on foo"),
        ('{"+or": [{"label": "db"}, {"foo": 1}]}', "Cannot filter on foo"),
        ('{"entity": 1}', "Cannot filter on entity"),
        ('{"label": {"+like": "x"}}', "Unknown operator +like"),
        ('{"+order_by": "foo"}', "Cannot order by foo"),
        ('{"+order": "up"}', "+order must be asc or desc"),
        ('{"+or": {"label": "db"}}', "+or must be a list of objects"),
        ("[1]", "Must be an object"),
        ("{label: db}", "Invalid JSON"),
    ],
)
def test_what_a_filter_may_not_ask(asked: str, reason: str) -> None:
    with pytest.raises(Problem) as refused:
        select(ROWS, asked, KEYS)
    assert (refused.value.reason, refused.value.field, refused.value.status) == (reason, "X-Filter", 400)


def test_the_last_page_may_be_short() -> None:
    rows = [{"id": number} for number in range(101)]
    assert len(page(rows, {})["data"]) == 100
    assert page(rows, {"page": "2"}) == {"data": [{"id": 100}], "page": 2, "pages": 2, "results": 101}


def test_bodies_are_checked_to_the_depth_of_the_facts() -> None:
    body = {
        "region": "us-ord",
        "configs": [{"port": 80, "nodes": [{"label": "ok-1", "address": "x", "weight": 300}]}],
    }
    with pytest.raises(Problem) as refused:
        bodies.check("POST /nodebalancers", body)
    assert refused.value.field == "configs[0].nodes[0].weight"


def test_unknown_read_only_and_null_fields_are_dropped() -> None:
    body = {"label": "edge", "id": 5, "colour": "blue", "tags": None, "client_conn_throttle": 0}
    assert bodies.check("PUT /nodebalancers/{}", body) == {"label": "edge", "client_conn_throttle": 0}


def test_every_pattern_of_the_facts_lets_something_through() -> None:
    good = {"label": "abc-1", "check_path": "/a", "domain": "example.com", "root_device": "/dev/sda"}

    def fields(facts: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        inner = {**facts.get("fields", {}), **facts.get("items", {}).get("fields", {})}
        return [pair for name, each in inner.items() for pair in [(name, each), *fields(each)]]

    patterned = [
        (operation, name, each["pattern"])
        for operation, facts in bodies.operations().items()
        for name, each in fields(facts)
        if "pattern" in each
    ]
    assert len(patterned) > 10
    for operation, name, pattern in patterned:
        assert pattern.startswith("^"), (operation, name)
        bodies._text({"pattern": pattern}, good[name], f"{operation} {name}")


def test_every_change_that_the_facts_know_is_checked() -> None:
    known = bodies.operations()
    unchecked = {
        endpoint.operation
        for endpoint in ENDPOINTS
        if endpoint.method in ("POST", "PUT") and not known.get(endpoint.operation, {}).get("fields")
    }
    without_a_body = {
        f"POST /linode/instances/{{}}/{verb}" for verb in ("backups/enable", "backups/cancel", "shutdown")
    }
    without_a_body.add("POST /account/events/{}/seen")
    assert unchecked == without_a_body


def test_rates_are_the_documented_ones_in_windows() -> None:
    assert LIMITS["list"] == (200, 60)
    assert LIMITS["default"] == (1600, 60)
    moment = [0.0]
    rates = Rates(lambda: moment[0])
    standings = [rates.count("me", "create_instance") for _ in range(21)]
    assert [each.retry_after for each in standings] == [None] * 20 + [15]
    assert (standings[0].limit, standings[0].remaining, standings[19].remaining) == (20, 19, 0)
    assert rates.count("you", "create_instance").retry_after is None
    assert rates.count("me", "default").retry_after is None
    moment[0] = 14.2
    assert rates.count("me", "create_instance").retry_after == 1
    moment[0] = 15.0
    assert rates.count("me", "create_instance").retry_after is None


@pytest.mark.parametrize(
    ("held", "needed", "enough"),
    [
        ("*", "account:read_write", True),
        ("linodes:read_write", "linodes:read_only", True),
        ("linodes:read_only", "linodes:read_write", False),
        ("domains:read_only linodes:read_write", "linodes:read_write", True),
        ("linodes:read_write", "nodebalancers:read_only", False),
        ("", "events:read_only", False),
    ],
)
def test_what_scopes_permit(held: str, needed: str, *, enough: bool) -> None:
    assert permits(held, needed) is enough


def test_scopes_are_written_one_way() -> None:
    assert clean_scopes("linodes:read_only,domains:read_write") == "domains:read_write linodes:read_only"
    assert clean_scopes(" * ") == "*"
    for wrong in ("linodes", "linodes:all", "moon:read_only"):
        with pytest.raises(Problem):
            clean_scopes(wrong)


def test_addresses_look_as_clients_expect_and_never_repeat() -> None:
    block = AddressBlock(7)
    assert block.instance_address([]) == "127.7.0.2"
    assert block.instance_address(["127.7.0.2"]) == "127.7.0.3"
    assert block.balancer_address([]) == "127.8.0.2"
    assert block.guard == "127.7.0.1"
    taken: set[str] = set()
    for _ in range(300):
        taken.add(private_address(taken))
    assert len(taken) == 300
    assert all(address.startswith(("192.168.128.", "192.168.129.")) for address in taken)
    assert public_ipv6("127.7.1.2") == "2001:db8::7f07:102"
    with pytest.raises(Problem):
        first_free(["a"], {"a"})


def test_times_of_a_zone_are_rounded_up() -> None:
    assert [rounded(seconds) for seconds in (0, 1, 31, 290, 300, 301, 9_999_999)] == [
        0,
        30,
        120,
        300,
        300,
        3600,
        2419200,
    ]


def test_tags_are_compared_without_case() -> None:
    assert clean_tags(["Shop", "shop", "blue"]) == ("Shop", "blue")
    assert clean_tags(None) == ()
