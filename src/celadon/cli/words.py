"""Every verb with its arguments, options and help, as data: help, parsing and completion are made from it.

Nothing is imported here, not even `typing`: `celadon --help` costs little more than the interpreter's start.
"""


class Option:
    """`value` empty: a flag. `kind`: text, whole, file, folder or duration."""

    __slots__ = ("flags", "help", "kind", "name", "value")

    def __init__(self, flags: str, value: str, text: str, *, kind: str = "text") -> None:
        self.flags = tuple(flags.split())
        self.value = value
        self.help = text
        self.kind = kind
        self.name = self.flags[-1].lstrip("-").replace("-", "_")


class Argument:
    __slots__ = ("many", "name", "required")

    def __init__(self, name: str, *, required: bool = False, many: bool = False) -> None:
        self.name = name
        self.required = required
        self.many = many

    @property
    def shown(self) -> str:
        text = f"{self.name}…" if self.many else self.name
        return text if self.required else f"[{text}]"


class Verb:
    """`module`: the file in `verbs/` that answers it. `more`: paragraphs below the summary."""

    __slots__ = ("arguments", "module", "more", "name", "options", "summary")

    def __init__(
        self,
        name: str,
        module: str,
        summary: str,
        *,
        more: str = "",
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
    ) -> None:
        self.name = name
        self.module = module
        self.summary = summary
        self.more = more
        self.arguments = arguments
        self.options = options


GLOBAL = (
    Option("-c --config", "FILE", "the config; default: the nearest celadon.toml", kind="file"),
    Option("--json", "", "print one JSON object (driving verbs: JSON Lines) on stdout"),
    Option("-y --yes", "", "do not ask"),
    Option("-q --quiet", "", "print only results and errors"),
    Option("-v --verbose", "", "print more about what happens"),
)

VERSION = Argument("VERSION")
WORDS = Argument("WORDS", many=True)
NEW_CERTIFICATE = Option("--new-certificate", "", "the certificate of a serving port may change: it is meant")
DOCKER_OR_GIT = "VERSION is a tag or digest of the image, or with `source` a git revision (default: HEAD)."

VERBS = (
    Verb(
        "init",
        "init",
        "write a first celadon.toml from what is found here; never overwrites",
        options=(
            Option("--terraform", "", "also write infra/: machines, NodeBalancer and nodes by Terraform"),
            Option("--from-linode", "", "read hosts and NodeBalancer from the account (read-only)"),
            Option("--nodebalancer", "LABEL", "with --from-linode: which NodeBalancer, where there are several"),
            Option("--module", "SOURCE", "with --terraform: the module's Git source or path; default: a copy of it"),
        ),
    ),
    Verb(
        "check",
        "check",
        "is everything ready? with VERSION: what would be lost",
        arguments=(VERSION,),
        options=(
            Option("--offline", "", "config and secrets only: nothing is contacted"),
            Option("--host", "HOST", "only this host"),
            Option("--infra", "", "would `celadon infra apply` work? token, region, names that are taken"),
            Option("--no-start", "", "predict only: do not start VERSION on an idle host"),
            Option("--slow", "PATH", "a path that takes seconds: is it answered when VERSION is stopped?"),
        ),
        more="VERSION is started once on a host of the idle colour, with its env and secrets and CELADON_TRIAL=1, "
        "on a port of its own; what it does on SIGTERM is measured, and it is removed.",
    ),
    Verb(
        "plan",
        "plan",
        "what a deploy would do, and how long it takes",
        more=DOCKER_OR_GIT,
        arguments=(VERSION,),
        options=(Option("--infra", "", "also what the machines cost"),),
    ),
    Verb(
        "deploy",
        "deploy",
        "move the app to VERSION without losing a request",
        more=DOCKER_OR_GIT + " The same command again goes on where an interrupted one stopped.",
        arguments=(VERSION,),
        options=(
            Option("--plan", "ID", "refuse if the world has changed since that plan"),
            Option("--hold", "", "wait for `celadon promote` before users are moved"),
            Option("--until", "commit", "end when all traffic is on VERSION; stable stays warm"),
            Option("--queue", "TIME", "first let another's rollout end, at most so long", kind="duration"),
            Option("--repair", "", "the present release is not healthy: keep whatever serves, and go on"),
            Option("--fresh", "", "first make the idle colour's machines anew (celadon infra renew)"),
        ),
    ),
    Verb(
        "status",
        "status",
        "both colours, the balancer, the open rollout",
        options=(
            Option("--follow", "", "show what happens until the open rollout ends"),
            Option("--wait", "TIME", "wait for the open rollout, and exit as it does", kind="duration"),
        ),
    ),
    Verb(
        "promote",
        "promote",
        "approve what the rollout waits for",
        options=(Option("--full", "", "drop all pauses and approvals; never probes, tests or settle"),),
    ),
    Verb("pause", "pause", "hold the rollout at its next safe point"),
    Verb("resume", "resume", "go on with the open rollout, from any machine"),
    Verb(
        "abort",
        "abort",
        "stable gets all traffic back; asks nothing",
        options=(
            Option("--keep-colour", "COLOUR", "all traffic to this colour, when nothing else tells which was stable"),
        ),
    ),
    Verb(
        "rollback",
        "rollback",
        "back to the previous release, or to RELEASE; asks nothing",
        arguments=(Argument("RELEASE"),),
    ),
    Verb(
        "history",
        "history",
        "rollouts, or the evidence of one",
        arguments=(Argument("ROLLOUT"),),
        options=(
            Option("--html", "FILE", "write the evidence as one HTML file", kind="file"),
            Option("--verify", "FILE", "is this evidence genuine?", kind="file"),
        ),
    ),
    Verb(
        "logs",
        "logs",
        "the replicas' log lines",
        options=(
            Option("--host", "HOST", "only this host"),
            Option("--colour", "COLOUR", "blue or green; default: the live one"),
            Option("--release", "ID", "only this release"),
            Option("--since", "TIME", "only lines of the last TIME", kind="duration"),
            Option("-n --lines", "N", "lines of each replica (100)", kind="whole"),
            Option("-f --follow", "", "go on with new lines"),
        ),
    ),
    Verb(
        "exec",
        "exec",
        "run a command in the live release's environment",
        arguments=(Argument("ARGV", required=True, many=True),),
        options=(
            Option("--host", "HOST", "on this host; default: the first of the live colour"),
            Option("--all", "", "on every host of the live colour"),
            Option("-t --tty", "", "give it a terminal"),
        ),
    ),
    Verb("hosts", "hosts", "the hosts and their keys"),
    Verb(
        "hosts trust",
        "trust",
        "show a host's key, and trust it from now on",
        arguments=(Argument("HOST", many=True),),
        options=(Option("--fingerprint", "SHA256:…", "trust the key with this fingerprint without asking"),),
    ),
    Verb("config show", "config", "the resolved config, each value with its origin"),
    Verb("config schema", "config", "the JSON Schema of celadon.toml, for editors"),
    Verb("config example", "config", "the reference: every key with its reason"),
    Verb(
        "lab up",
        "lab",
        "start a local Linode",
        more='Prints `export` lines: eval "$(celadon lab up)". With --json: one object.',
        options=(Option("--state", "FILE", "keep the account in this file, also after `lab down`", kind="file"),),
    ),
    Verb("lab down", "lab", "stop it, and leave nothing behind"),
    Verb("lab status", "lab", "what runs in it"),
    Verb(
        "demo",
        "demo",
        "deploys under load on a local Linode, measured: no account, no root",
        options=(
            Option("--break", "CASE", "watch a bad release fail: crash-at-boot, never-ready, disk-full, …"),
            Option("--leave-running", "", "keep the lab afterwards"),
        ),
    ),
    Verb(
        "store move",
        "store",
        "move the home (lease, intent, journal) to another host",
        more="Run it again after anything: it ends where it should. Refused while somebody drives.",
        arguments=(Argument("HOST", required=True),),
    ),
    Verb(
        "store adopt",
        "store",
        "replace a home that is lost for good: a new epoch begins on HOST",
        more="Without HOST: on hosts.home. Every host must answer or be named dead. Traffic is not touched.",
        arguments=(Argument("HOST"),),
        options=(Option("--dead", "HOST,…", "these are gone for good; one that returns is refused until it is told"),),
    ),
    Verb(
        "infra plan",
        "infra",
        "what Terraform would do, and whether it would hurt who serves",
        more="WORDS after `--` go to `terraform plan`: celadon infra plan -- -var-file=staging.tfvars",
        arguments=(WORDS,),
        options=(NEW_CERTIFICATE,),
    ),
    Verb(
        "infra apply",
        "infra",
        "apply exactly the plan that was read, if it hurts nobody",
        more="Asks, naming the NodeBalancer. Waits until new machines are ready. WORDS as for `infra plan`.",
        arguments=(WORDS,),
        options=(NEW_CERTIFICATE,),
    ),
    Verb(
        "infra renew",
        "infra",
        "make the idle colour's machines anew",
        more="Never the live colour, never the home host (celadon store move).",
        arguments=(Argument("COLOUR"),),
    ),
    Verb(
        "infra guard",
        "infra",
        "judge a plan of your own pipeline: exit 2 if it would hurt who serves",
        more="PLAN is the text of `terraform show -json PLANFILE`; `-` reads it from stdin.",
        arguments=(Argument("PLAN", required=True),),
        options=(NEW_CERTIFICATE,),
    ),
    Verb(
        "tls push",
        "tls",
        "a renewed certificate to every https port of the NodeBalancer",
        more="In certbot's deploy hook it needs no options: RENEWED_LINEAGE names the files.",
        options=(
            Option("--certificate", "FILE", "the certificate and its chain, PEM", kind="file"),
            Option("--key", "FILE", "its private key, PEM, without a passphrase", kind="file"),
        ),
    ),
    Verb(
        "completion",
        "completion",
        "print the shell's completion script",
        more='bash: eval "$(celadon completion bash)" in ~/.bashrc',
        arguments=(Argument("SHELL", required=True),),
    ),
)

BY_NAME = {verb.name: verb for verb in VERBS}
GROUPS = ("hosts", "config", "lab", "store", "infra", "tls")
SECTIONS = (
    ("start", ("init", "check", "demo", "lab up", "lab down", "lab status")),
    ("deploy", ("plan", "deploy", "promote", "pause", "resume")),
    ("go back (never asks)", ("abort", "rollback")),
    ("look", ("status", "history", "logs", "exec")),
    ("set up", ("hosts", "hosts trust", "config show", "config schema", "config example", "completion")),
    ("home", ("store move", "store adopt")),
    ("infrastructure", ("infra plan", "infra apply", "infra renew", "infra guard", "tls push")),
)
EXITS = (
    (0, "done"),
    (1, "our bug"),
    (2, "refused: you must change something"),
    (3, "the release failed, stable serves"),
    (4, "unfinished or unavailable: run it again"),
)
