"""What a verb has at hand once the world is put together, as types: `compose.py` makes it, tests make their own."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

from celadon.config.project import Project
from celadon.core.intent import Intent
from celadon.core.preflight import Scout
from celadon.core.release import Colour, Release
from celadon.core.secret import Secret
from celadon.core.trial import Trial, TrialFacts
from celadon.core.wanted import Options, Wanted
from celadon.drive.app import Confirm, Each, Ending, Past
from celadon.drive.driver import Watcher
from celadon.drive.forecast import Forecast
from celadon.drive.home import HomeStore
from celadon.ports import World

if TYPE_CHECKING:  # the adapters cost a tenth of a second to import; a verb that needs none must not pay it
    from celadon.adapters.agent_link import Take
    from celadon.adapters.host import Command, LogLine, LogQuestion


class Deploys(Protocol):
    """`celadon.drive.app.App`, as the verbs use it."""

    @property
    def who(self) -> str: ...

    def stop(self) -> None: ...

    async def deploy(self, release: Release, options: Options, confirm: Confirm | None = None) -> Ending: ...

    async def resume(self, each: Each | None = None) -> Ending: ...

    async def abort(self, keep: Colour | None = None, each: Each | None = None) -> Ending: ...

    async def go_back(self, each: Each | None = None) -> Ending: ...

    async def rollback(self, release_id: str | None = None, each: Each | None = None) -> Ending: ...

    async def promote(self, *, full: bool, each: Each | None = None) -> Ending: ...

    async def pause(self) -> Intent: ...

    async def foresee(self, release: Release, options: Options) -> Forecast: ...

    async def follow(self, each: Each | None = None) -> Ending: ...

    async def history(self) -> list[Past]: ...

    async def journal(self, rollout: int) -> Past: ...

    async def intent(self) -> Intent | None: ...

    async def scout(self) -> Scout: ...


class Reach(Protocol):
    """What verbs ask of hosts beyond the port: `celadon.adapters.host.SshHosts` has it."""

    def logs(self, host: str, question: "LogQuestion") -> AsyncIterator["LogLine"]: ...

    async def run(
        self, host: str, command: "Command", *, take: "Take", stdin: AsyncIterable[bytes] | None = None
    ) -> int: ...

    async def scan_host_key(self, host: str) -> tuple[str, str]: ...

    async def check(self, host: str) -> str: ...

    async def try_out(self, host: str, trial: Trial, secrets: Mapping[str, Secret]) -> TrialFacts: ...


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
    home: HomeStore  # where the store is; `world.store`, as what may move
    app: Deploys
    reach: Reach
    hosts: tuple[Known, ...]
    scopes: Callable[[], Awaitable[frozenset[str] | None]]  # of the token; None: the API does not say
    release: Callable[[str | None], Awaitable[Release]]  # from what was typed
    watched: Callable[[Watcher], None]  # who is told of every decision from now on
    notes: Callable[[], tuple[str, ...]] = tuple  # what a person should know about the release that was made
    lab: bool = False  # at the lab's pace


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb asks of the composition. Going back runs no secrets command: it never asks."""

    secrets: bool = False
    secrets_must: bool = True  # False: a missing one is refused only when a host lacks it
    secrets_command: bool = True
    balancer: bool = True  # False: nothing of the NodeBalancer is asked, so static hosts need no token


class Connect(Protocol):
    def __call__(
        self, project: Project, need: Need, environ: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Connected]: ...
