"""The port `Store` on a host: the app's lease, intent and journal, kept by the agent there."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from celadon.adapters.agent_link import Call
from celadon.core.errors import Bug, Unavailable
from celadon.core.foreign import Count

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

    async def _read(self, name: str) -> bytes | None:
        text: str | None = await self._ask(Call("read_document", {"app": self._app, "name": name}, str | None))
        return None if text is None else text.encode("utf-8")

    async def _swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        args = {"app": self._app, "name": name, "old": None if old is None else _text(old), "new": _text(new)}
        swapped: bool = await self._ask(Call("swap_document", args, bool))
        return swapped


class _Page(msgspec.Struct, frozen=True):
    events: list[str]
    more: bool


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bug("what is stored is JSON, and that is UTF-8") from error
