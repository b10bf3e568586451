"""What people asked for: the rollout, written once when it opens, and the requests made since."""

from typing import Annotated, Literal

import msgspec

from celadon.core.foreign import Count, Utc
from celadon.core.observed import Probe
from celadon.core.release import Colour, Release, Seconds, Slot
from celadon.core.strategy import Step

Length = Annotated[Seconds, msgspec.Meta(ge=0, le=10**8)]
Pause = Annotated[Seconds, msgspec.Meta(ge=0.001, le=10**8)]
"""Between two looks or two tries: never nothing, whoever wrote the intent, or a driver would not come to rest."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Every protocol time of a rollout, in seconds."""

    settle: Length = 60.0  # Linode documents "within 60 seconds" for a mode change
    bake: Length = 300.0  # one point of the NodeBalancer's own graph
    drain: Length = 60.0  # twice gunicorn's graceful timeout
    quiet: Length = 5.0
    interval: Pause = 1.0  # between two looks at the hosts
    start_within: Length = 120.0  # 30 s proved short for Kamal's users
    fresh: Length = 10.0  # how old an answer may be that a destructive action rests on
    poll: Pause = 5.0  # first pause between two reads of a node; each next one is half as long again
    repeat: Length = 10.0  # a change that is not seen so long after it was asked for is asked for again
    up_within: Length = 150.0  # for the balancer's own checks: interval x attempts, settle and a margin
    deadline: Length = 1800.0  # of the way forward; declared pauses excluded
    lost: Length = 30.0  # a host that does not answer for so long is judged by what else is known
    retry: Pause = 2.0  # the first pause after a failed action; doubles up to 30 times itself
    verify_within: Length = 60.0
    lease: Length = 30.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """When a replica counts as well."""

    probe: Probe
    passes: int = 3
    warm_up_paths: tuple[str, ...] = ("/",)
    warm_up_requests: int = 10


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the operator's at a moment of the rollout, or a test: both run on the driver's machine."""

    name: str
    command: tuple[str, ...]
    safe_to_repeat: bool = False
    timeout: Seconds = 300.0


HookMoment = Literal["before_prepare", "before_shift", "after_commit", "after_finish", "after_rollback"]


class Verify(msgspec.Struct, frozen=True, kw_only=True):
    """The requests through the users' door that are the rollout's evidence."""

    url: str
    rate: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 5.0  # requests a second
    max_failed: int = 0
    contains: str = ""  # `{version}` and `{release}` expand; empty: hosts count connections
    passes: int = 3  # answers wanted after all traffic is on the candidate, before the commit


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """Moving an app to a candidate: everything a second machine needs to go on, and no secret."""

    number: Count
    app: str
    kind: Literal["deploy", "rollback"]
    candidate: Release
    candidate_colour: Colour
    stable: Release | None  # None: a first deploy, or a stable that Celadon did not start
    stable_colour: Colour | None  # None: a first deploy
    slots: dict[Colour, tuple[Slot, ...]]
    ports: tuple[int, ...]  # the balancer's that users come through, all of them
    balancer: str
    steps: tuple[Step, ...]
    timing: Timing
    health: Health
    verify: Verify
    tests: tuple[Hook, ...] = ()
    hooks: tuple[Hook, ...] = ()  # named by their moment
    bake_net: Literal["backup", "reject"] = "backup"
    keep: int = 5
    settings_hash: str = ""  # of the resolved config: the same reference and hash adopt an open rollout
    config: bytes = b""  # the resolved config itself, as JSON without secrets
    kept_releases: tuple[str, ...] = ()  # older releases that prune leaves startable
    floor: dict[int, int] = {}  # by port: the fewest nodes that must serve at any moment
    baseline: dict[int, int] = {}  # node id -> weight, of the nodes that served: where going back leads
    new_ports: tuple[int, ...] = ()  # nobody was served there when it opened: both ways lead to all ports alike
    opened_by: str = ""
    opened_utc: Utc = 0.0
    celadon: str = ""  # the version that opened it
    test_port: int | None = None  # the balancer's too: testers come through it, and no user
    test_url: str = ""  # where it leads, for the tests

    @property
    def unmanaged(self) -> bool:
        """A stable that Celadon did not start: a way back during the bake, never stopped by us."""
        return self.stable is None and self.stable_colour is not None

    @property
    def tested_first(self) -> bool:
        """The candidate is on the test port before users are moved: not on the way back to a kept release."""
        return self.test_port is not None and self.kind == "deploy"

    @property
    def candidate_slots(self) -> tuple[Slot, ...]:
        return self.slots[self.candidate_colour]

    @property
    def stable_slots(self) -> tuple[Slot, ...]:
        return self.slots[self.stable_colour] if self.stable_colour is not None else ()

    def hook(self, moment: HookMoment) -> Hook | None:
        return next((hook for hook in self.hooks if hook.name == moment), None)


class Requests(msgspec.Struct, frozen=True):
    """What people said after the rollout was opened. Each is written by compare-and-swap and never taken back."""

    go_back: str = ""  # who asked for abort or rollback; the same goal
    paused: bool = False
    promotions: int = 0  # each approves one gate
    promote_all: bool = False
    settled_hooks: tuple[str, ...] = ()  # a person says that these ran to their end, or need not
    until_commit: bool = False  # stop driving once committed; the bake is somebody else's


class Intent(msgspec.Struct, frozen=True):
    """The store's one document: the newest rollout, open or finished, and the requests for it."""

    rollout: Rollout
    requests: Requests = Requests()
    finished: str = ""  # the result; empty while it is open
