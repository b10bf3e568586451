"""Faults on request: what a deploy tool must survive, made to happen."""

from collections.abc import Mapping

import aiohttp
import pytest
from tests.lab.api.running import KEY, TOKEN, RunningLab, running_lab

from celadon.lab.api.app import Options
from celadon.lab.api.faults import Fault, Faults
from celadon.lab.world.account import State
from celadon.lab.world.addresses import AddressBlock


async def test_a_status_is_answered_and_nothing_is_done(lab: RunningLab) -> None:
    fault = {"kind": "status", "method": "POST", "path": "/nodebalancers", "status": 500, "count": 2}
    await lab.post("/lab/faults", fault)
    body = {"region": "us-ord", "label": "edge"}
    for _ in range(2):
        reply = await lab.ask("POST", "/v4/nodebalancers", body)
        assert (reply.status, reply.headers["Content-Type"]) == (500, "application/json")
        assert (await lab.get("/v4/nodebalancers"))["results"] == 0
    assert (await lab.ask("POST", "/v4/nodebalancers", body)).status == 200
    assert await lab.get("/lab/faults") == []


async def test_each_status_looks_like_the_real_one(lab: RunningLab) -> None:
    limited = await _headers(lab, status=429)
    assert (limited["Retry-After"], limited["X-RateLimit-Remaining"]) == ("1", "0")
    assert (await _headers(lab, status=429, retry_after=7))["Retry-After"] == "7"
    assert (await _headers(lab, status=502))["Content-Type"].startswith("text/html")
    assert "X-Maintenance-Mode" not in (await _headers(lab, status=503))
    assert "X-Maintenance-Mode" in (await _headers(lab, status=503, maintenance=True))


async def _headers(lab: RunningLab, **fault: object) -> Mapping[str, str]:
    await lab.post("/lab/faults", {"kind": "status", "path": "/regions", **fault})
    reply = await lab.ask("GET", "/v4/regions")
    assert reply.status == fault["status"]
    return reply.headers


async def test_a_lost_answer_comes_after_the_change(lab: RunningLab) -> None:
    await lab.post("/lab/faults", {"kind": "lost", "method": "POST", "path": "/nodebalancers"})
    with pytest.raises(aiohttp.ClientConnectionError):
        await lab.ask("POST", "/v4/nodebalancers", {"region": "us-ord", "label": "edge"})
    (made,) = (await lab.get("/v4/nodebalancers"))["data"]
    assert made["label"] == "edge"
    assert made["id"] in lab.plane.balancers


async def test_a_slow_answer_comes_after_the_change(lab: RunningLab) -> None:
    await lab.post("/lab/faults", {"kind": "slow", "method": "PUT", "path": "/nodebalancers/*", "seconds": 600})
    balancer = await lab.balancer()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as impatient:
        with pytest.raises(TimeoutError):
            await impatient.put(
                lab.url + balancer, json={"label": "late"}, headers={"Authorization": f"Bearer {TOKEN}"}
            )
    assert (await lab.get(balancer))["label"] == "late"


async def test_stale_reads_show_the_state_as_it_was() -> None:
    moment = [1_000_000.0]
    async with running_lab(clock=lambda: moment[0]) as lab:
        config = await lab.config(await lab.balancer())
        node = await lab.post(f"{config}/nodes", {"label": "blue-1", "address": "192.168.128.2:80", "mode": "reject"})
        path = f"{config}/nodes/{node['id']}"
        await lab.post("/lab/faults", {"kind": "stale", "path": "/nodebalancers/*/nodes*", "seconds": 5})
        answer = await lab.put(path, {"mode": "accept"})
        lab.plane.statuses[node["id"]] = "UP"
        assert answer["mode"] == "accept"
        for read in (await lab.get(path), (await lab.get(f"{config}/nodes"))["data"][0]):
            assert (read["mode"], read["status"]) == ("reject", "Unknown")
        assert (await lab.get(config))["nodes_status"] == {"up": 1, "down": 0}  # not matched by the path
        other = await lab.post(f"{config}/nodes", {"label": "blue-2", "address": "192.168.128.3:80"})
        assert (await lab.refused("GET", f"{config}/nodes/{other['id']}"))[0] == 404
        moment[0] += 5.1
        read = await lab.get(path)
        assert (read["mode"], read["status"]) == ("accept", "UP")


async def test_faults_can_be_listed_and_taken_back(lab: RunningLab) -> None:
    first = await lab.post("/lab/faults", {"kind": "status", "path": "/regions"})
    await lab.post("/lab/faults", {"kind": "lost", "path": "/images"})
    assert [each["kind"] for each in await lab.get("/lab/faults")] == ["status", "lost"]
    await lab.delete(f"/lab/faults/{first['id']}")
    assert (await lab.ask("GET", "/v4/regions")).status == 200
    await lab.delete("/lab/faults")
    assert await lab.get("/lab/faults") == []


async def test_what_is_no_fault_is_refused(lab: RunningLab) -> None:
    for wrong in ({}, {"kind": "explode"}, {"kind": "status", "status": 418}, {"kind": "lost", "counts": 2}):
        assert (await lab.ask("POST", "/lab/faults", wrong)).status == 400
    assert (await lab.ask("PUT", "/lab/switches", {"mode_delay_seconds": 61})).status == 400
    assert (await lab.ask("PUT", "/lab/switches", {"mode_delay": 1})).status == 400


async def test_the_labs_own_side_needs_a_whole_token(lab: RunningLab) -> None:
    narrow = await lab.post("/v4/profile/tokens", {"label": "narrow", "scopes": "linodes:read_write"})
    for path in ("/lab/status", "/lab/faults", "/lab/switches"):
        assert (await lab.ask("GET", path, token=None)).status == 401
        assert (await lab.ask("GET", path, token=narrow["token"])).status == 403


async def test_balancers_show_where_they_really_listen(lab: RunningLab) -> None:
    balancer = await lab.balancer()
    await lab.config(balancer, port=80)
    await lab.config(balancer, port=8443)
    shown = await lab.get("/lab/balancers/" + balancer.rpartition("/")[2])
    assert [(each["port"], each["bound_port"]) for each in shown["listeners"]] == [(80, 8080), (8443, 8443)]
    status = await lab.get("/lab/status")
    assert status["balancers"] == [shown]
    assert status["limits"]


def test_skip_and_count_and_order() -> None:
    faults = Faults(lambda: 0.0)
    state = State(block=AddressBlock(1))
    faults.arm(Fault(kind="status", method="put", path="/a/*", skip=1, count=2, status=503), state, {})
    faults.arm(Fault(kind="status", path="/a/1", status=429), state, {})

    def met(method: str, path: str) -> int | None:
        armed = faults.meet(method, path)
        return armed.fault.status if armed else None

    assert met("PUT", "/a/1") == 429  # the first one lets it pass
    assert met("GET", "/a/1") is None
    assert [met("PUT", "/a/2") for _ in range(3)] == [503, 503, None]


async def test_rates_answer_429_with_the_documented_headers() -> None:
    moment = [1_000_000.0]
    options = Options(rate_scale=0.02)  # 4 lists a minute, 32 of the others, 1 instance in 15 s
    async with running_lab(options=options, clock=lambda: moment[0]) as lab:
        left = [(await lab.ask("GET", "/v4/nodebalancers")).headers["X-RateLimit-Remaining"] for _ in range(4)]
        assert left == ["3", "2", "1", "0"]
        refused = await lab.ask("GET", "/v4/domains")
        assert (refused.status, refused.error["reason"]) == (429, "Too many requests")
        assert refused.headers["Retry-After"] == "60"
        assert int(refused.headers["X-RateLimit-Reset"]) == int(moment[0]) + 60
        assert (await lab.ask("GET", "/v4/profile")).status == 200  # another class
        body = {"region": "us-ord", "type": "g6-nanode-1", "authorized_keys": [KEY]}
        assert (await lab.ask("POST", "/v4/linode/instances", body)).status == 200
        again = await lab.ask("POST", "/v4/linode/instances", body)
        assert (again.status, again.headers["Retry-After"]) == (429, "15")
        other = await lab.post("/v4/profile/tokens", {"label": "other"})
        assert (await lab.ask("GET", "/v4/domains", token=other["token"])).status == 200  # a limit is a token's own
        moment[0] += 60
        assert (await lab.ask("GET", "/v4/domains")).status == 200
