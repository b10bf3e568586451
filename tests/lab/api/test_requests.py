"""What every request meets: tokens, scopes, content types, versions, paging, filters."""

from tests.lab.api.running import TOKEN, RunningLab

EXACT_JSON = "application/json"


async def test_an_error_is_json_with_exactly_that_content_type(lab: RunningLab) -> None:
    for path in ("/v4/linode/instances/1", "/v4/no/such/path", "/elsewhere"):
        reply = await lab.ask("GET", path)
        assert (reply.status, reply.headers["Content-Type"]) == (404, EXACT_JSON)
        assert reply.body == {"errors": [{"reason": "Not found"}]}


async def test_a_wrong_method_is_an_error_of_the_same_form(lab: RunningLab) -> None:
    reply = await lab.ask("PATCH", "/v4/regions")
    assert (reply.status, reply.error["reason"]) == (405, "Method Not Allowed")


async def test_a_request_needs_a_known_token(lab: RunningLab) -> None:
    for token in (None, "", "wrong", TOKEN.upper()):
        reply = await lab.ask("GET", "/v4/profile", token=token)
        assert (reply.status, reply.error) == (401, {"reason": "Invalid Token"})


async def test_regions_and_types_need_no_token_but_no_wrong_one_either(lab: RunningLab) -> None:
    for path in ("/v4/regions", "/v4/linode/types/g6-nanode-1", "/v4/nodebalancers/types"):
        assert (await lab.ask("GET", path, token=None)).status == 200
        assert (await lab.ask("GET", path, token="wrong")).status == 401


async def test_every_answer_names_scopes_version_and_caching(lab: RunningLab) -> None:
    headers = (await lab.ask("GET", "/v4/nodebalancers")).headers
    assert headers["X-OAuth-Scopes"] == "*"
    assert headers["X-Accepted-OAuth-Scopes"] == "nodebalancers:read_only"
    assert headers["X-Spec-Version"]
    assert "no-store" in headers["Cache-Control"]
    assert headers["Content-Type"] == EXACT_JSON


async def test_a_narrow_token_does_what_its_scopes_say(lab: RunningLab) -> None:
    scopes = "linodes:read_only nodebalancers:read_write"
    made = await lab.post("/v4/profile/tokens", {"label": "narrow", "scopes": scopes})
    narrow = made["token"]

    async def status(method: str, path: str, body: dict[str, str] | None = None) -> int:
        reply = await lab.ask(method, path, body, token=narrow)
        assert reply.headers["X-OAuth-Scopes"] == scopes
        return reply.status

    assert await status("GET", "/v4/linode/instances") == 200
    assert await status("POST", "/v4/linode/instances", {"region": "us-ord", "type": "g6-nanode-1"}) == 401
    assert await status("POST", "/v4/nodebalancers", {"region": "us-ord"}) == 200
    assert await status("GET", "/v4/nodebalancers") == 200
    refused = await lab.ask("GET", "/v4/domains", token=narrow)
    assert refused.error == {"reason": "Your OAuth token is not authorized to use this endpoint."}
    assert refused.headers["X-Accepted-OAuth-Scopes"] == "domains:read_only"


async def test_a_token_is_shown_once_and_ends_when_deleted(lab: RunningLab) -> None:
    made = await lab.post("/v4/profile/tokens", {"label": "ci", "scopes": "events:read_only"})
    (listed,) = [each for each in (await lab.get("/v4/profile/tokens"))["data"] if each["label"] == "ci"]
    assert made["token"] != listed["token"]
    assert made["token"].startswith(listed["token"])
    await lab.delete(f"/v4/profile/tokens/{made['id']}")
    assert (await lab.ask("GET", "/v4/account/events", token=made["token"])).status == 401


async def test_a_wrong_scope_is_refused_by_name(lab: RunningLab) -> None:
    body = {"label": "x", "scopes": "linodes:read_only moon:read_write"}
    assert await lab.refused("POST", "/v4/profile/tokens", body) == (400, "scopes", "Invalid scope moon:read_write")


async def test_both_versions_serve_the_same_account(lab: RunningLab) -> None:
    made = await lab.post("/v4beta/nodebalancers", {"region": "us-ord", "label": "both"})
    assert await lab.get(f"/v4/nodebalancers/{made['id']}") == made


async def test_a_body_that_is_no_json_object_is_refused(lab: RunningLab) -> None:
    for body in ([1], "text", 7):
        reply = await lab.ask("POST", "/v4/nodebalancers", body)  # type: ignore[arg-type]
        assert reply.status == 400
        assert "JSON" in reply.error["reason"]


async def test_unknown_keys_in_a_body_are_ignored(lab: RunningLab) -> None:
    made = await lab.post("/v4/nodebalancers", {"region": "us-ord", "label": "extra", "colour": "blue", "id": 7})
    assert "colour" not in made
    assert made["id"] != 7


async def test_page_and_size_of_a_single_object_are_ignored(lab: RunningLab) -> None:
    assert (await lab.get("/v4/profile?page=1&page_size=100"))["username"] == "lab"


async def test_a_collection_comes_in_pages(lab: RunningLab) -> None:
    for number in range(30):
        await lab.post("/v4/tags", {"label": f"tag-{number:02}"})
    first = await lab.get("/v4/tags?page_size=25")
    second = await lab.get("/v4/tags?page_size=25&page=2")
    assert (first["page"], first["pages"], first["results"], len(first["data"])) == (1, 2, 30, 25)
    assert [each["label"] for each in second["data"]] == [f"tag-{number:02}" for number in range(25, 30)]


async def test_pages_that_cannot_be(lab: RunningLab) -> None:
    for query, status, field in (
        ("page=3", 404, None),
        ("page=0", 404, None),
        ("page=-1", 400, "page"),
        ("page=x", 400, "page"),
        ("page_size=24", 400, "page_size"),
        ("page_size=501", 400, "page_size"),
    ):
        answered, named, _ = await lab.refused("GET", f"/v4/regions?{query}")
        assert (answered, named) == (status, field), query


async def test_an_empty_collection_has_one_page(lab: RunningLab) -> None:
    assert await lab.get("/v4/domains") == {"data": [], "page": 1, "pages": 1, "results": 0}


async def test_a_filter_picks_rows(lab: RunningLab) -> None:
    for label in ("shop-one", "shop-two", "blog"):
        await lab.balancer(label)
    found = await lab.get("/v4/nodebalancers", where='{"label": {"+contains": "shop"}}')
    assert {each["label"] for each in found["data"]} == {"shop-one", "shop-two"}
    assert found["results"] == 2


async def test_an_unknown_key_in_a_filter_is_named(lab: RunningLab) -> None:
    reply = await lab.ask("GET", "/v4/nodebalancers", where='{"foo": 1}')
    assert (reply.status, reply.error) == (400, {"reason": "Cannot filter on foo", "field": "X-Filter"})


async def test_events_are_filtered_by_dotted_keys(lab: RunningLab) -> None:
    first, second = await lab.balancer("first"), await lab.balancer("second")
    await lab.put(second, {"client_conn_throttle": 3})
    number = int(second.rpartition("/")[2])
    asked = f'{{"entity.id": {number}, "entity.type": "nodebalancer", "+order_by": "created", "+order": "desc"}}'
    found = (await lab.get("/v4/account/events", where=asked))["data"]
    assert {each["action"] for each in found} == {"nodebalancer_create", "nodebalancer_update"}
    assert first != second


async def test_a_change_of_nothing_is_no_failure(lab: RunningLab) -> None:
    balancer = await lab.balancer("same")
    before = await lab.get(balancer)
    after = await lab.put(balancer, {"label": "same"})
    assert {**after, "updated": 0} == {**before, "updated": 0}


async def test_a_deployers_token_may_read_where_a_balancer_listens_and_nothing_else_of_the_lab(lab: RunningLab) -> None:
    balancer = await lab.post("/v4/nodebalancers", {"label": "web", "region": "us-ord"})
    body = {"label": "deploy", "scopes": "linodes:read_only nodebalancers:read_write"}
    narrow = (await lab.post("/v4/profile/tokens", body))["token"]
    path = f"/lab/balancers/{balancer['id']}"
    assert (await lab.ask("GET", path, token=narrow)).status == 200
    assert (await lab.ask("GET", "/lab/status", token=narrow)).status == 403
    other = (await lab.post("/v4/profile/tokens", {"label": "dns", "scopes": "domains:read_only"}))["token"]
    assert (await lab.ask("GET", path, token=other)).status == 403
