"""The ports `Store` and `Homes` on hosts: the app's lease, intent and journal, kept by the agent there."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import msgspec

from celadon.adapters.agent_link import Call
from celadon.core.errors import Bug, Unavailable
from celadon.core.foreign import Count
from celadon.core.home import HomeFacts, KeptRelease, Seat

PIECE = 256 << 10  # characters of events in one request
CLAIM_WITHIN = 120.0  # seconds: an older driver's stop may have to end first
Ask = Callable[[Call], Awaitable[Any]]
"""`SshHosts` asks the home."""

LARGEST_JOURNAL = 16 << 20  # bytes; a rollout that judges for a hundred hours writes about as much
NEWEST = 10_000  # rollouts that are told of


class HostStore:
    def __init__(self, app: str, ask: Ask) -> None:
        self._app = app
        self._ask = ask

    async def read_lease(self) -> bytes | None:
        return await self._read("lease")

    async def swap_lease(self, old: bytes | None, new: bytes) -> bool:
        return await self._swap("lease", old, new)

    async def read_intent(self) -> bytes | None:
        return await self._read("intent")

    async def swap_intent(self, old: bytes | None, new: bytes) -> bool:
        return await self._swap("intent", old, new)

    async def read_key(self) -> bytes | None:
        """The key of the secrets' fingerprints: one an app, so that every teammate's release is the same one."""
        return await self._read("key")

    async def swap_key(self, old: bytes | None, new: bytes) -> bool:
        return await self._swap("key", old, new)

    async def read_journal(self, rollout: int, start: int = 0) -> Sequence[bytes]:
        events: list[bytes] = []
        more, size = True, 0
        while more:
            args = {"app": self._app, "rollout": rollout, "start": start + len(events)}
            page: _Page = await self._ask(Call("read_journal", args, _Page))
            more = page.more and bool(page.events)
            events += [event.encode("utf-8") for event in page.events]
            # Each event costs memory beside its bytes: an endless run of empty ones must end, too.
            size += sum(len(event) + 64 for event in page.events)
            if size > LARGEST_JOURNAL:
                raise Unavailable(f"the journal of rollout {rollout} has more than {LARGEST_JOURNAL:,} bytes")
        return tuple(events)

    async def append(self, rollout: int, start: int, events: Sequence[bytes], fence: int) -> None:
        texts = [_text(event) for event in events]
        args = {"app": self._app, "rollout": rollout, "start": start, "events": texts, "fence": fence}
        await self._ask(Call("append", args))

    async def rollouts(self) -> Sequence[int]:
        found: tuple[int, ...] = await self._ask(Call("rollouts", {"app": self._app}, tuple[Count, ...]))
        return sorted(set(found))[-NEWEST:]

    async def read_adopted(self) -> bytes | None:
        return await self._read("adopted")

    async def _read(self, name: str) -> bytes | None:
        text: str | None = await self._ask(Call("read_document", {"app": self._app, "name": name}, str | None))
        return None if text is None else text.encode("utf-8")

    async def _swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        args = {"app": self._app, "name": name, "old": None if old is None else _text(old), "new": _text(new)}
        swapped: bool = await self._ask(Call("swap_document", args, bool))
        return swapped


class HostHomes:
    """Implements `ports.Homes`; `ask` asks the host that is named."""

    def __init__(self, app: str, ask: Callable[[str, Call], Awaitable[Any]]) -> None:
        self._app = app
        self._ask = ask

    def store(self, host: str) -> HostStore:
        async def ask(call: Call) -> Any:
            return await self._ask(host, call)

        return HostStore(self._app, ask)

    async def facts(self, host: str) -> HomeFacts:
        found: HomeFacts = await self._ask(host, Call("home_facts", {"app": self._app}, HomeFacts))
        return found

    async def claim(self, host: str, seat: Seat, fence: int) -> None:
        await self._ask(host, Call("home_claim", self._args(seat, fence), within=CLAIM_WITHIN))

    async def begin(self, host: str, seat: Seat, fence: int) -> None:
        await self._ask(host, Call("home_receive", self._args(seat, fence)))

    async def receive(self, host: str, seat: Seat, fence: int, name: str, document: bytes) -> None:
        args = self._args(seat, fence) | {"documents": {name: _text(document)}}
        await self._ask(host, Call("home_receive", args))

    async def receive_events(
        self, host: str, seat: Seat, fence: int, rollout: int, start: int, events: Sequence[bytes]
    ) -> None:
        """In pieces that fit a frame."""
        texts = [_text(event) for event in events]
        for piece in _pieces(texts):
            args = self._args(seat, fence) | {"journal": rollout, "start": start, "events": piece}
            await self._ask(host, Call("home_receive", args))
            start += len(piece)

    async def seal(self, host: str, seat: Seat, fence: int) -> str:
        found: str = await self._ask(host, Call("home_seal", self._args(seat, fence), str))
        return found

    async def digest(self, host: str) -> str:
        found: str = await self._ask(host, Call("home_digest", {"app": self._app}, str))
        return found

    async def leave(self, host: str, seat: Seat, fence: int, lease: bytes, digest: str) -> bool:
        args = self._args(seat, fence) | {"lease": _text(lease), "digest": digest}
        left: bool = await self._ask(host, Call("home_leave", args, bool))
        return left

    async def open(self, host: str, seat: Seat) -> None:
        await self._ask(host, Call("home_open", self._args(seat, 0)))

    async def found(self, host: str, seat: Seat, fence: int, lease: bytes, adopted: bytes) -> None:
        args = self._args(seat, fence) | {"lease": _text(lease), "adopted": _text(adopted)}
        await self._ask(host, Call("home_found", args))

    async def releases(self, host: str) -> Sequence[KeptRelease]:
        found: list[KeptRelease] = await self._ask(host, Call("releases", {"app": self._app}, list[KeptRelease]))
        return found

    def _args(self, seat: Seat, fence: int) -> dict[str, Any]:
        return {"app": self._app, "seat": msgspec.to_builtins(seat), "fence": fence}


def _pieces(texts: Sequence[str]) -> Iterator[list[str]]:
    """In order, each of about PIECE characters, or of one text that is longer."""
    piece: list[str] = []
    size = 0
    for text in texts:
        if piece and size + len(text) > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(text)
        size += len(text)
    if piece:
        yield piece


class _Page(msgspec.Struct, frozen=True):
    events: list[str]
    more: bool


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bug("what is stored is JSON, and that is UTF-8") from error
