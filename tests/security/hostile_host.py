"""A host that belongs to somebody else: a real SSH server, and an agent that says whatever a test tells it to say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import msgspec

from celadon.adapters.known_hosts import key_line
from celadon.agent import wire
from celadon.core.observed import HostFacts, SlotFacts

GREETING = {"protocol": wire.PROTOCOL, "python": "3.11.2", "hostname": "h", "euid": 0}
AT_HOME: dict[str, Any] = {"state": "here", "seat": {}, "told": None, "arriving": None, "fence": 0, "last_rollout": 0}
ADDRESSES = ("127.0.0.1", "127.0.0.2")


class Session:
    """One agent's end of the line."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._process = process

    async def send(self, data: bytes) -> None:
        self._process.stdout.write(data)
        await self._process.stdout.drain()

    async def frame(self, kind: int, request: int, payload: bytes = b"") -> None:
        await self.send(wire.HEADER.pack(kind, request, len(payload)) + payload)

    async def reply(self, request: int, value: Any) -> None:
        await self.frame(wire.REPLY, request, json.dumps(value).encode())

    async def greet(self) -> None:
        await self.send(wire.MARKER)
        await self.reply(0, {"ok": GREETING})

    async def source(self) -> None:
        """Take the agent's source, as a real host would, and throw it away."""
        length = int(await self._process.stdin.readline())
        await self._process.stdin.readexactly(length)

    async def requests(self) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
        while True:
            kind, request, length = wire.HEADER.unpack(await self._process.stdin.readexactly(wire.HEADER.size))
            payload = await self._process.stdin.readexactly(length) if length else b""
            if kind == wire.PING:
                await self.frame(wire.PONG, 0)
            elif kind == wire.REQUEST:
                asked = json.loads(payload)
                yield request, asked["op"], asked["args"]

    def leave(self) -> None:
        self._process.exit(0)


Part = Callable[[Session], Awaitable[None]]
Answer = Callable[[Session, int, dict[str, Any]], Awaitable[None]]


@dataclass
class HostileHost:
    """`part`: the whole session, when it is set. `answers`: by operation; everything else gets an honest answer."""

    folder: Path
    port: int = 0
    part: Part | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def reset(self) -> None:
        self.part = None
        self.answers, self.documents, self.asked = {}, {}, []

    def says(self, **values: Any) -> None:
        """These operations are answered with these values."""

        def answer(value: Any) -> Answer:
            async def told(session: Session, request: int, args: dict[str, Any]) -> None:
                await session.reply(request, {"ok": value})

            return told

        self.answers |= {op: answer(value) for op, value in values.items()}

    def raw(self, op: str, payload: bytes) -> None:
        """This operation is answered with these bytes."""

        async def told(session: Session, request: int, args: dict[str, Any]) -> None:
            await session.frame(wire.REPLY, request, payload)

        self.answers[op] = told

    async def play(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        session = Session(process)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncssh.Error):
            await session.source()
            if self.part is not None:
                await self.part(session)
            else:
                await session.greet()
                await self._serve(session)
        session.leave()

    async def _serve(self, session: Session) -> None:
        async for request, op, args in session.requests():
            self.asked.append((op, args))
            if op in self.answers:
                await self.answers[op](session, request, args)
            else:
                await session.reply(request, {"ok": self._honest(op, args)})

    def _honest(self, op: str, args: dict[str, Any]) -> Any:
        match op:
            case "look":
                return looked(args)
            case "read_document":
                return self.documents.get(args["name"])
            case "swap_document":
                if self.documents.get(args["name"]) != args["old"]:
                    return False
                self.documents[args["name"]] = args["new"]
                return True
            case "rollouts" | "tail" | "releases":
                return []
            case "home_facts":
                return AT_HOME
            case "read_journal":
                return {"events": [], "more": False}
            case _:
                return None


def looked(args: dict[str, Any], **slot: Any) -> dict[str, Any]:
    """Facts of a host with nothing on it, as an honest agent answers them; `slot`: said of every slot."""
    keys = [f"{each['slot']['host']}:{each['slot']['port']}" for each in args["slots"]]
    facts: dict[str, Any] = msgspec.to_builtins(
        HostFacts(name="", boot_id="b", utc=1.8e9, disk_free=1 << 40, fence=0, slots=())
    )
    empty = msgspec.to_builtins(SlotFacts(key="", open=0, opened=0))
    facts["slots"] = [{**empty, "key": key, **slot} for key in keys]
    del facts["name"]
    return facts


class _Open(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


@asynccontextmanager
async def hostile_host(folder: Path) -> AsyncIterator[HostileHost]:
    """One server at two addresses: the blue host and the green one. Its keys and the client's config: in `folder`."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - one folder, before anything runs
    key = asyncssh.generate_private_key("ssh-ed25519")
    host = HostileHost(folder)
    options: dict[str, Any] = {"server_host_keys": [key], "server_factory": _Open, "encoding": None}
    async with contextlib.AsyncExitStack() as stack:
        for address in ADDRESSES:
            server = await asyncssh.listen(address, host.port, process_factory=host.play, **options)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            host.port = server.get_port()
        lines = [key_line(address, host.port, key) for address in ADDRESSES]
        (folder / "known_hosts").write_text("\n".join(lines) + "\n")
        key.write_private_key(folder / "id")
        (folder / "ssh_config").write_text(f"Host *\n  IdentityFile {folder}/id\n  IdentitiesOnly yes\n  User me\n")
        yield host
