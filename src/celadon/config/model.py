"""The config as values: each key with its type, rule, meaning and default on one line. `rules.py` has the rest.

Defaults that follow from other keys are empty here until `rules.complete` fills them. Every value survives
msgspec's JSON, because a rollout's intent carries the whole config.
"""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec

from celadon.config.kinds import Choice, Duration, Flag, Located, Number, Text, Whole, matching
from celadon.config.paths import folder, folder_or_file
from celadon.config.special import ARGV, CONTAINS, DOOR, ENV_KEY, ENV_VALUE, IMAGE, NODEBALANCER, OUR_ARGV, SSH_HOST
from celadon.config.tables import ListOf, MapOf, Table
from celadon.config.values import HOST_HEADER, SECRET_NAME, SSH_USER, TAG, Host, ImageRef, app_name, http_path
from celadon.core.release import Colour, Runtime

PORT = Whole(1, 65535, "5000")
PATH = Text(http_path, '"/healthz"', most=1024)
A_SECRET = matching(
    SECRET_NAME,
    "a secret's name: capitals, digits and _",
    '"DATABASE_URL"',
    hint="write the name, never the value; the value comes from the environment, .celadon/secrets or secrets.command",
    secret=True,
)
NAME = matching(r"[!-~](?:[ -~]{0,62}[!-~])?", "a name of printable ASCII, at most 64 characters", '"smoke"')


class Health(msgspec.Struct, frozen=True, kw_only=True):
    path: Annotated[str, PATH, "asked of every replica; 2xx passes, a redirect proves nothing"]
    host_header: Annotated[
        str | None, matching(HOST_HEADER, "a host name", '"myapp.example.com"'), "the Host header of probes"
    ] = None  # from url
    interval: Annotated[timedelta, Duration("100ms", "1m"), "between two probes of one slot"] = timedelta(seconds=1)
    passes: Annotated[int, Whole(1, 100, "3"), "probes passed in a row until a replica counts as healthy"] = 3
    timeout: Annotated[timedelta, Duration("100ms", "5m"), "of one probe"] = timedelta(seconds=5)
    start_within: Annotated[timedelta, Duration("1s", "1h"), "until a started replica must be healthy"] = timedelta(
        minutes=2
    )


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    requests: Annotated[int, Whole(0, 10_000, "10"), "requests to each slot before it gets traffic"] = 10
    paths: Annotated[tuple[str, ...], ListOf(PATH, unique="path"), "spread over these paths"] = ()  # health.path


class Env(msgspec.Struct, frozen=True, kw_only=True):
    clear: Annotated[
        dict[str, str], MapOf(ENV_KEY, ENV_VALUE, '{ APP_ENV = "production" }'), "variables anyone may read"
    ] = {}
    secret: Annotated[tuple[str, ...], ListOf(A_SECRET, least=0, unique="secret"), "names of secret variables"] = ()


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    command: Annotated[tuple[str, ...], ARGV, "prints NAME=value lines; asked last, run on this machine"]


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    username: Annotated[str, matching(r"[!-~]{1,128}", "a user name", '"acme"', secret=True), "who pulls the image"]
    password: Annotated[str, A_SECRET, "name of the secret that opens the registry; sent per pull, stored nowhere"]


class ColourPorts(msgspec.Struct, frozen=True, kw_only=True):
    blue: Annotated[int, PORT, "the port of blue's slots"]
    green: Annotated[int, PORT, "the port of green's slots"]


TAGS = ListOf(matching(TAG, "a Linode tag", '"blue"'), unique="tag")


class ColourTags(msgspec.Struct, frozen=True, kw_only=True):
    blue: Annotated[tuple[str, ...], TAGS, "tags that all of blue's instances have, and no others"]
    green: Annotated[tuple[str, ...], TAGS, "tags that all of green's instances have, and no others"]


HOSTS = ListOf(SSH_HOST, most=1000)


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of colours, `terraform` and `tags`. From a saved Terraform output, `rules` fills the colours."""

    blue: Annotated[tuple[Host, ...], HOSTS, "blue's hosts: Linode labels, or addresses"] = ()
    green: Annotated[tuple[Host, ...], HOSTS, "green's hosts: Linode labels, or addresses"] = ()
    terraform: Annotated[str | None, Located(folder_or_file, '"infra"'), "Terraform's folder, or its saved JSON"] = None
    tags: Annotated[ColourTags | None, Table(ColourTags), "a host of a colour has all tags of the colour"] = None
    ports: Annotated[ColourPorts | None, Table(ColourPorts), "each colour's port, where they share a host"] = None
    home: Annotated[
        str | None, matching(r"[!-~]{1,300}", "a host's name", '"blue-app-01"'), "keeps lease, intent and journal"
    ] = None  # the first blue host

    def of(self, colour: Colour) -> tuple[Host, ...]:
        return self.blue if colour is Colour.BLUE else self.green


class Ssh(msgspec.Struct, frozen=True, kw_only=True):
    user: Annotated[
        str, matching(SSH_USER, "a user's name", '"root"'), "who logs in where neither host nor ~/.ssh/config says"
    ] = "root"


class Balancer(msgspec.Struct, frozen=True, kw_only=True):
    nodebalancer: Annotated[str | int | None, NODEBALANCER, "the NodeBalancer's label or id"] = None
    ports: Annotated[tuple[int, ...] | None, ListOf(PORT, unique="port"), "its ports to switch; absent: all it has"] = (
        None
    )
    add_nodes: Annotated[bool, Flag(), "whether missing nodes are made, in mode reject"] = True
    test_port: Annotated[int | None, PORT, "a firewalled port of it, where testers see the candidate first"] = None


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    strategy: Annotated[Literal["blue-green"], Choice("blue-green", later=["canary"]), "how traffic moves"] = (
        "blue-green"
    )
    settle: Annotated[timedelta, Duration("1s", "10m"), "how long a balancer change may take to be true everywhere"] = (
        timedelta(seconds=60)
    )
    bake: Annotated[timedelta, Duration("0s", "7d"), "how long stable stays warm after the commit"] = timedelta(
        minutes=5
    )
    bake_net: Annotated[Literal["backup", "reject"], Choice("backup", "reject"), "stable's mode in the bake"] = "backup"
    drain: Annotated[timedelta, Duration("1s", "1h"), "how long open requests may take before they are cut"] = (
        timedelta(seconds=60)
    )
    stop_timeout: Annotated[timedelta, Duration("1s", "1h"), "from SIGTERM to SIGKILL"] = timedelta(seconds=40)
    deadline: Annotated[
        timedelta, Duration("1m", "1d"), "of the whole rollout, declared pauses apart; then back to stable"
    ] = timedelta(minutes=30)


class Test(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, NAME, "what reports call it"]
    command: Annotated[
        tuple[str, ...], ARGV, "run on this machine; CANDIDATE_URL leads to a slot, TEST_URL to the test port"
    ]
    timeout: Annotated[timedelta, Duration("1s", "2h"), "then it counts as failed"] = timedelta(minutes=5)


class Verify(msgspec.Struct, frozen=True, kw_only=True):
    path: Annotated[str, PATH, "asked through the users' door, all rollout long"] = ""  # health.path
    rate: Annotated[float, Number(0.1, 1000, "5"), "requests a second"] = 5.0
    max_failed: Annotated[int, Whole(0, 1_000_000, "0"), "failed requests that are still a pass"] = 0
    contains: Annotated[str | None, CONTAINS, "a text in each answer that says who answered"] = None


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    command: Annotated[tuple[str, ...], ARGV, "run on this machine"]
    safe_to_repeat: Annotated[bool, Flag(), "after a crash inside: run it again, or ask a person"] = False
    timeout: Annotated[timedelta, Duration("1s", "2h"), "then it counts as failed"] = timedelta(minutes=5)


HOOK = Table(Hook, sample='{ command = ["./hook"] }')


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    before_prepare: Annotated[Hook | None, HOOK, "before anything is started"] = None
    before_shift: Annotated[Hook | None, HOOK, "before the first traffic step"] = None
    after_commit: Annotated[Hook | None, HOOK, "when all traffic is on the candidate"] = None
    after_finish: Annotated[Hook | None, HOOK, "when the rollout is over"] = None
    after_rollback: Annotated[Hook | None, HOOK, "when stable serves again"] = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `celadon.toml`."""

    app: Annotated[str, Text(app_name, '"hello"'), "names replicas, journal and lease"]
    port: Annotated[int, PORT, "where the app listens"]
    health: Annotated[Health, Table(Health), "how a replica shows that it is well"]
    hosts: Annotated[
        Hosts,
        Table(Hosts, sample='{ blue = ["blue-app-01"], green = ["green-app-01"] }'),
        "the machines of both colours",
    ]
    image: Annotated[ImageRef | None, IMAGE, "docker runtime: the image, without its version"] = None
    source: Annotated[str | None, Located(folder, '"."'), "venv runtime: the folder, sent as `git archive`"] = None
    command: Annotated[tuple[str, ...], OUR_ARGV, "what is started; absent: the image's CMD"] = ()
    url: Annotated[str | None, DOOR, "the users' door"] = None
    keep: Annotated[int, Whole(1, 50, "5"), "releases kept startable"] = 5
    warm_up: Annotated[WarmUp, Table(WarmUp), "requests that wake a replica up"] = WarmUp()
    env: Annotated[
        Env, Table(Env, stray="variables go into env.clear, names of secrets into env.secret"), "the environment"
    ] = Env()
    secrets: Annotated[Secrets | None, Table(Secrets), "where secrets come from, after .celadon/secrets"] = None
    registry: Annotated[Registry | None, Table(Registry), "who may pull a private image"] = None
    ssh: Annotated[Ssh, Table(Ssh), "how hosts are reached"] = Ssh()
    balancer: Annotated[Balancer, Table(Balancer), "the NodeBalancer"] = Balancer()
    rollout: Annotated[Rollout, Table(Rollout, later=["steps", "approve"]), "how a release gets the traffic"] = (
        Rollout()
    )
    tests: Annotated[tuple[Test, ...], ListOf(Table(Test)), "run against the candidate before any user sees it"] = ()
    verify: Annotated[Verify, Table(Verify), "requests through the users' door: the evidence"] = Verify()
    hooks: Annotated[Hooks, Table(Hooks), "commands at five moments of a rollout"] = Hooks()

    @property
    def runtime(self) -> Runtime:
        """It follows from `image` or `source`, so no key can contradict it."""
        return "docker" if self.image is not None else "venv"

    @property
    def https(self) -> bool:
        return self.url is not None and self.url.startswith("https:")

    def slot_port(self, colour: Colour) -> int:
        """The port of the colour's slots on their hosts: `hosts.ports` where given, else `port`."""
        if self.hosts.ports is None:
            return self.port
        return self.hosts.ports.blue if colour is Colour.BLUE else self.hosts.ports.green


LATER = ("notify", "migrations", "metrics", "workers", "container", "tls", "schedule", "image_from", "assets")
CONFIG = Table(Config, later=LATER)
