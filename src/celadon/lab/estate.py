"""Furnishes a lab through its own API, as Terraform would furnish an account: instances, NodeBalancer, nodes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from celadon.core.errors import Unavailable
from celadon.lab.lab import LabFacts

REGION, TYPE, IMAGE = "us-ord", "g6-nanode-1", "linode/debian12"
READY_WITHIN = 30.0  # seconds
PATIENCE = 300.0  # seconds for one call: 100 instances take 75 of them


class Estate(msgspec.Struct, frozen=True, kw_only=True):
    """What a lab is furnished with. Slots: (instance label, port), of both colours."""

    balancer: str = "app-nodebalancer"
    blue: tuple[str, ...] = ("blue-app-01", "blue-app-02")
    green: tuple[str, ...] = ("green-app-01", "green-app-02")
    blue_port: int = 5000
    green_port: int = 5000
    ports: tuple[int, ...] = (80,)
    test_port: int | None = None  # testers', beside the users'
    health_path: str = "/"
    check_interval: int = 2
    check_timeout: int = 1
    check_attempts: int = 2


class Furnished(msgspec.Struct, frozen=True, kw_only=True):
    """What is there now."""

    instances: dict[str, tuple[str, str]]  # label -> (SSH address, private address)
    balancer_id: int
    url: str  # the users' door, where it really listens
    known_hosts: tuple[str, ...]


async def furnish(lab: LabFacts, estate: Estate) -> Furnished:
    """Idempotent by label: what is there is left as it is."""
    headers = {"Authorization": f"Bearer {lab.token}"}
    async with aiohttp.ClientSession(lab.url, headers=headers, trust_env=False) as api:
        labels = list(dict.fromkeys((*estate.blue, *estate.green)))
        instances = await asyncio.gather(*(_instance(api, lab, estate, label) for label in labels))
        by_label = {instance["label"]: instance for instance in instances}
        balancer = await _balancer(api, estate)
        for port in (*estate.ports, *((estate.test_port,) if estate.test_port is not None else ())):
            await _config(api, balancer["id"], port, estate, by_label)
        await _until_running(api, [instance["id"] for instance in instances])
        machines = {
            label: await _call(api, "GET", f"/lab/instances/{instance['id']}") for label, instance in by_label.items()
        }
        door = await _call(api, "GET", f"/lab/balancers/{balancer['id']}")
    first = door["listeners"][0]
    return Furnished(
        instances={label: (_public(each), _private(each)) for label, each in by_label.items()},
        balancer_id=balancer["id"],
        url=f"http://{first['host']}:{first['bound_port']}",
        known_hosts=tuple(f"{_where(each)} {each['host_key']}" for each in machines.values()),
    )


async def _instance(api: aiohttp.ClientSession, lab: LabFacts, estate: Estate, label: str) -> dict[str, Any]:
    found = await _by_label(api, "/v4/linode/instances", label)
    if found is not None:
        return found
    body = {
        "label": label,
        "region": REGION,
        "type": TYPE,
        "image": IMAGE,
        "private_ip": True,
        "authorized_keys": [lab.public_key],
        "tags": ["celadon", "blue" if label in estate.blue else "green"],
    }
    return await _call(api, "POST", "/v4/linode/instances", body)


async def _balancer(api: aiohttp.ClientSession, estate: Estate) -> dict[str, Any]:
    found = await _by_label(api, "/v4/nodebalancers", estate.balancer)
    if found is not None:
        return found
    return await _call(api, "POST", "/v4/nodebalancers", {"label": estate.balancer, "region": REGION})


async def _config(
    api: aiohttp.ClientSession, balancer: int, port: int, estate: Estate, instances: dict[str, dict[str, Any]]
) -> None:
    path = f"/v4/nodebalancers/{balancer}/configs"
    configs = (await _call(api, "GET", path))["data"]
    if any(config["port"] == port for config in configs):
        return
    body = {
        "port": port,
        "protocol": "http",
        "algorithm": "roundrobin",
        "stickiness": "none",
        "check": "http",
        "check_path": estate.health_path,
        "check_interval": estate.check_interval,
        "check_timeout": estate.check_timeout,
        "check_attempts": estate.check_attempts,
        "check_passive": False,
    }
    config = await _call(api, "POST", path, body)
    for labels, node_port in ((estate.blue, estate.blue_port), (estate.green, estate.green_port)):
        for label in labels:
            address = f"{_private(instances[label])}:{node_port}"
            node = {"label": label, "address": address, "mode": "reject", "weight": 100}
            await _call(api, "POST", f"{path}/{config['id']}/nodes", node)


async def _until_running(api: aiohttp.ClientSession, ids: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN
    for id_ in ids:
        while (await _call(api, "GET", f"/v4/linode/instances/{id_}"))["status"] != "running":
            if loop.time() > deadline:
                raise Unavailable(f"instance {id_} is not running after {READY_WITHIN:g} s", hint="celadon lab status")
            await asyncio.sleep(0.05)


async def _by_label(api: aiohttp.ClientSession, path: str, label: str) -> dict[str, Any] | None:
    headers = {"X-Filter": msgspec.json.encode({"label": label}).decode()}
    async with api.get(path, headers=headers) as answer:
        rows: list[dict[str, Any]] = (await answer.json())["data"]
    return rows[0] if rows else None


async def _call(api: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Patient with 429: the lab keeps to the documented limits, and they are 20 instances in 15 s."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with api.request(method, path, json=body) as answer:
                content: dict[str, Any] = await answer.json()
                if answer.status == 200:
                    return content
                if answer.status != 429:
                    raise Unavailable(f"the lab answered {method} {path} with {answer.status}: {content.get('errors')}")
                wait = float(answer.headers["Retry-After"])
            await asyncio.sleep(wait)


def _private(instance: dict[str, Any]) -> str:
    return next(str(address) for address in instance["ipv4"] if str(address).startswith("192.168."))


def _public(instance: dict[str, Any]) -> str:
    return next(str(address) for address in instance["ipv4"] if not str(address).startswith("192.168."))


def _where(machine: dict[str, Any]) -> str:
    port = machine["ssh_port"]
    return f"[{machine['address']}]:{port}" if port != 22 else str(machine["address"])
