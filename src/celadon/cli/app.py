"""What a verb has at hand once the world is put together, as types: `compose.py` makes it, tests make their own."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

from celadon.config.project import Project
from celadon.core.intent import Intent, Rollout
from celadon.core.journal import Event, Journal
from celadon.core.release import Release
from celadon.drive.app import Ending, Forecast, Options, Status, Wanted, Watcher
from celadon.ports import World

if TYPE_CHECKING:  # the adapters cost a tenth of a second to import; a verb that needs none must not pay it
    from celadon.adapters.agent_link import Take
    from celadon.adapters.host import Command, LogLine, LogQuestion

Confirm = Callable[[Forecast], Awaitable[bool]]


class Deploys(Protocol):
    """`celadon.drive.app.App`, as the verbs use it."""

    def stop(self) -> None: ...

    async def deploy(self, release: Release, options: Options, confirm: Confirm | None = None) -> Ending: ...

    async def resume(self) -> Ending: ...

    async def go_back(self, who: str) -> Ending: ...

    async def rollback(self, release_id: str | None) -> Ending: ...

    async def promote(self, *, full: bool) -> Ending | None: ...

    async def pause(self) -> Intent: ...

    async def forecast(self, release: Release, options: Options) -> Forecast: ...

    async def status(self) -> Status: ...

    async def follow(self, each: Callable[[Event], None]) -> Ending: ...

    async def history(self) -> Sequence[Rollout]: ...

    async def journal(self, rollout: int) -> tuple[Rollout, Journal, tuple[Event, ...]]: ...


class Reach(Protocol):
    """What verbs ask of hosts beyond the port: `celadon.adapters.host.SshHosts` has it."""

    def logs(self, host: str, question: "LogQuestion") -> AsyncIterator["LogLine"]: ...

    async def run(
        self, host: str, command: "Command", *, take: "Take", stdin: AsyncIterable[bytes] | None = None
    ) -> int: ...

    async def scan_host_key(self, host: str) -> tuple[str, str]: ...

    async def check(self, host: str) -> str: ...


class Known(msgspec.Struct, frozen=True):
    """One host: how it is reached, and by which key it is known (empty: by none)."""

    name: str
    ssh: str
    private: str
    colours: tuple[str, ...]
    key: str = ""


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """An app and the world it lives in, until the verb ends."""

    project: Project
    wanted: Wanted
    world: World
    app: Deploys
    reach: Reach
    hosts: tuple[Known, ...]
    scopes: Callable[[], Awaitable[frozenset[str] | None]]  # of the token; None: the API does not say
    release: Callable[[str | None], Awaitable[Release]]  # from what was typed
    watched: Callable[[Watcher], None]  # who is told of every decision from now on
    lab: bool = False  # at the lab's pace


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb asks of the composition. Going back runs no secrets command: it never asks."""

    secrets: bool = False
    secrets_command: bool = True


class Connect(Protocol):
    def __call__(
        self, project: Project, need: Need, environ: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Connected]: ...
