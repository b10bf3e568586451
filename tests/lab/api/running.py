"""A lab's API that really listens, with a plane and machines that only remember."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from tests.lab.api import documented

from celadon.lab.api.app import Options, create_app, open_account
from celadon.lab.api.serve import serve
from celadon.lab.memory import MemoryMachines, MemoryPlane
from celadon.lab.runner import Timing
from celadon.lab.store import StateFile
from celadon.lab.switches import Switches
from celadon.lab.world.account import Account
from celadon.lab.world.addresses import AddressBlock

Json = dict[str, Any]

TOKEN = "lab-token"
QUICK = Timing(provision_seconds=0.02, boot_seconds=0.02, shutdown_seconds=0.02, delete_seconds=0.02)
DEADLINE_SECONDS = 20.0
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvC2Z2gkU0ggb1kRz2QXlb4m8Qx3b8y0sJtQ4z1L0pE test@example"


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: Any
    headers: Mapping[str, str]  # whatever their case

    @property
    def error(self) -> Json:
        """The one error of a refusal."""
        (only,) = self.body["errors"]
        assert isinstance(only, dict)
        return only


class RunningLab:
    """Speaks to one lab. Every 200 of the API is checked against the documentation on the way."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        account: Account,
        plane: MemoryPlane,
        machines: MemoryMachines,
    ) -> None:
        self.url = url
        self.account = account
        self.plane = plane
        self.machines = machines
        self.checked: set[str] = set()
        self._session = session

    async def ask(
        self, method: str, path: str, body: Json | None = None, *, token: str | None = TOKEN, where: str | None = None
    ) -> Reply:
        """`where` is the `X-Filter`."""
        sent = {}
        if where is not None:
            sent["X-Filter"] = where
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self._session.request(method, self.url + path, json=body, headers=sent) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            reply = Reply(answer.status, json.loads(text) if is_json else text, answer.headers)
        if reply.status == 200 and path.startswith("/v4"):
            self.checked.add(documented.check(method, path, reply.body) or "")
        return reply

    async def get(self, path: str, *, where: str | None = None) -> Any:
        return _good(await self.ask("GET", path, where=where))

    async def post(self, path: str, body: Json | None = None) -> Any:
        return _good(await self.ask("POST", path, body))

    async def put(self, path: str, body: Json) -> Any:
        return _good(await self.ask("PUT", path, body))

    async def delete(self, path: str) -> None:
        assert _good(await self.ask("DELETE", path)) == {}

    async def refused(self, method: str, path: str, body: Json | None = None) -> tuple[int, str | None, str]:
        """Status, field and reason."""
        reply = await self.ask(method, path, body)
        return reply.status, reply.error.get("field"), reply.error["reason"]

    async def instance(self, label: str, **more: Any) -> Json:
        body = {
            "region": "us-ord",
            "type": "g6-nanode-1",
            "image": "linode/debian12",
            "label": label,
            "private_ip": True,
            "authorized_keys": [KEY],
            **more,
        }
        return await self.settled((await self.post("/v4/linode/instances", body))["id"])

    async def settled(self, linode_id: int) -> Json:
        """The instance once nothing happens to it any more."""
        await self.eventually(lambda: not any(job.linode_id == linode_id for job in self.account.state.jobs.values()))
        found: Json = await self.get(f"/v4/linode/instances/{linode_id}")
        return found

    async def balancer(self, label: str = "edge", **more: Any) -> str:
        """The path of a new NodeBalancer."""
        made = await self.post("/v4/nodebalancers", {"region": "us-ord", "label": label, **more})
        return f"/v4/nodebalancers/{made['id']}"

    async def config(self, balancer: str, **fields: Any) -> str:
        return f"{balancer}/configs/{(await self.post(f'{balancer}/configs', fields))['id']}"

    async def eventually(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not holds():  # noqa: ASYNC110 - the lab is not ours to add an event to
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running_lab(
    file: Path | None = None,
    *,
    options: Options = Options(timing=QUICK),  # noqa: B008 - frozen
    clock: Callable[[], float] | None = None,
    switches: Switches | None = None,
    octet: int = 1,
) -> AsyncIterator[RunningLab]:
    """Addresses are only names here: nothing listens on them."""
    kept = StateFile(file)
    more = {"clock": clock} if clock else {}
    account = open_account(kept, TOKEN, AddressBlock(octet), switches=switches, **more)
    plane, machines = MemoryPlane(), MemoryMachines()
    served = await serve(create_app(account, plane, machines, file=kept, options=options))
    try:
        async with aiohttp.ClientSession() as session:
            yield RunningLab(served.url, session, account, plane, machines)
    finally:
        await served.close()


@contextlib.contextmanager
def lab_in_a_thread(options: Options) -> Iterator[RunningLab]:
    """For clients that block."""
    ready: list[RunningLab] = []
    started, ending = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with running_lab(options=options) as lab:
            ready.append(lab)
            started.set()
            await ending.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert started.wait(DEADLINE_SECONDS)
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(DEADLINE_SECONDS)
        loop.close()


def _good(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    return reply.body
