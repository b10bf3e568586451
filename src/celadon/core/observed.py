"""What is seen: facts as the ports report them, and sights, which add what one driver saw over time.

Facts (`…Facts`) are one answer of one adapter. Sights (`…Sight`) are what `decide` reads: the newest facts with
their age and with what only a sequence of looks can tell (since when, how many in a row). Unknown is `None`
everywhere: a host that does not answer is neither healthy nor gone.
"""

from enum import StrEnum

import msgspec

from celadon.core.release import Instant, ReleaseId, Seconds, Slot, SlotKey


class Mode(StrEnum):
    """NodeBalancer's own words."""

    ACCEPT = "accept"
    BACKUP = "backup"
    DRAIN = "drain"
    REJECT = "reject"


class NodeFacts(msgspec.Struct, frozen=True):
    """One node of one balancer config, as the API answered. `up` is None while the balancer says Unknown."""

    port: int  # the config's port: configs have no other name
    config_id: int
    id: int
    label: str
    address: str  # `ip:port`
    mode: Mode
    weight: int  # 1-255
    up: bool | None


class ConfigFacts(msgspec.Struct, frozen=True):
    """One port of the balancer, and what about it concerns a rollout."""

    port: int
    id: int
    protocol: str
    check: str  # none, connection, http, http_body
    check_interval: Seconds
    check_attempts: int
    check_passive: bool
    stickiness: str
    nodes: tuple[NodeFacts, ...]


class BalancerFacts(msgspec.Struct, frozen=True):
    """The whole balancer, read once when a rollout opens."""

    id: int
    label: str
    address: str  # the users' door
    client_conn_throttle: int  # connections a second and client address; 0 = off
    configs: tuple[ConfigFacts, ...]


class ProbeFacts(msgspec.Struct, frozen=True):
    """One health probe of one slot by its own host. 2xx passes; a redirect proves nothing."""

    ok: bool
    status: int | None  # None: no HTTP answer
    error: str  # one safe line; empty when ok
    seconds: Seconds


class ReplicaFacts(msgspec.Struct, frozen=True):
    """One running or stopped copy of a release that Celadon started."""

    release: ReleaseId
    id: str  # changes with each start of the process or container
    running: bool
    restarts: int
    exit_code: int | None
    colour: str = ""
    rollout: int = 0  # the one that started it; 0: it does not say


class SlotFacts(msgspec.Struct, frozen=True):
    """One slot as its host sees it.

    `open`: connections to the slot now; None when a running replica cannot be counted. `opened`: how many were
    ever opened (only differences mean anything); None as above. `own`: how many of them were this driver's, its probes
    and warm-ups.
    A slot with no replica and no listener has `open == 0` and `opened == 0`.
    """

    key: SlotKey
    replica: ReplicaFacts | None = None
    foreign: str | None = None  # a process or container that is not ours and holds the port, named
    listening: bool = False
    open: int | None = None
    opened: int | None = None
    probe: ProbeFacts | None = None  # None: no probe was asked for, or the expected replica does not own the port
    remedy: str = ""  # the command that shows or removes what is foreign, for a person on the host
    own: int = 0


class HostFacts(msgspec.Struct, frozen=True):
    """One look at one host."""

    name: str
    boot_id: str
    utc: float  # the host's clock, seconds since 1970
    disk_free: int  # bytes, where releases are kept
    fence: int
    settings: frozenset[ReleaseId] = frozenset()  # env files present
    artifacts: frozenset[str] = frozenset()  # images or archives present and startable
    slots: tuple[SlotFacts, ...] = ()
    first_boot: str = ""  # what is wrong with how cloud-init made it; empty: nothing


class SlotQuestion(msgspec.Struct, frozen=True):
    """What to find out about one slot. `release` None: whoever is there."""

    slot: Slot
    release: ReleaseId | None = None
    probe: bool = False
    count: bool = False


class Probe(msgspec.Struct, frozen=True):
    """How a replica is asked whether it is well."""

    path: str
    host_header: str
    https: bool = False  # adds X-Forwarded-Proto: https
    timeout: Seconds = 5.0


class Question(msgspec.Struct, frozen=True):
    """One look's worth of questions to one host: answered in one round trip."""

    app: str
    slots: tuple[SlotQuestion, ...]
    probe: Probe


class NodeSight(msgspec.Struct, frozen=True):
    """A node over time, as this driver saw it."""

    facts: NodeFacts
    read_at: Instant
    since: Instant  # the first of the unbroken run of reads with this mode and weight
    reads: int  # how many reads in that run: polling slows down as it grows
    was_off: bool  # was read as reject and not UP by this driver, and never settled as anything else since
    rose: bool  # and turned UP since: a check can only pass where the change applies


class SlotSight(msgspec.Struct, frozen=True):
    """A slot over time. Counts in a row belong to the replica with this id; a new id starts at none."""

    facts: SlotFacts
    since: Instant = 0.0  # first look that found this release here
    passes: int = 0  # probes passed in a row
    fails: int = 0  # looks in a row at which it was not running, or its probe failed
    quiet_since: Instant | None = None  # no open and no new connection since; None: not quiet, or unknown
    last_failure: str = ""


class HostSight(msgspec.Struct, frozen=True):
    """A host over time. `facts` are the newest there are, also while it does not answer."""

    facts: HostFacts | None
    seen_at: Instant | None
    lost_since: Instant | None  # the first question of those in a row that it left unanswered; None: it answers
    lost_at: Instant | None = None  # and the newest: while nobody asks, nobody is silent
    problem: str = ""
    slots: dict[SlotKey, SlotSight] = {}


class PublicSight(msgspec.Struct, frozen=True):
    """What the verifier saw through the users' door in this rollout: all drivers' counts, and this one's newest."""

    sent: int = 0
    failed: int = 0
    failed_on_candidate: int = 0  # failures attributed to the candidate for certain
    passes: int = 0  # answers in a row, newest last, that were good and not another release's
    since: Instant | None = None  # when that run began
