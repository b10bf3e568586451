"""A world to be, drawn from its seed: its size, its habits, its faults and what will befall it."""

import random
from typing import Literal, get_args

import msgspec
from msgspec.structs import replace

from celadon.core.release import Colour
from tests.simulation.machines import Behaviour
from tests.simulation.ports import Faults
from tests.simulation.world import LENGTHS, LONG, SHORT

Event = Literal[
    "host",
    "edit",
    "twin",
    "unlist",
    "home",
    "freeze",
    "go_back",
    "pause",
    "promote",
    "again",
    "outage",
    "other_deploy",
    "other_config",
]


Beginning = Literal["plain", "mixed", "net", "only_net", "busy"]
NEW_PORTS = 10**6  # a chance of its own: the worlds that were drawn before stay as they are
TEST_PORTS = 800  # of a thousand seeds the first with a test port
BEGINNINGS: tuple[Beginning, ...] = ("mixed", "net", "busy", *("plain",) * 17)


# Moments of a story: an event of its journal, written for the first time. Asked is told apart by what was asked for.
Drawn = Literal[
    "Opened", "Started", "Raised", "Lowered", "Netted", "Committed", "Returning", "Retiring", "Stopped", "Finished"
]
Moment = Drawn | Literal["Hooked"]  # the hook after the commit began
MOMENTS: tuple[Drawn, ...] = get_args(Drawn)


class Happening(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that befalls the world at a moment of the story: so many seconds after it began, or after an event."""

    at: float
    kind: Event
    index: int = 0  # which host, node or driver
    colour: Colour = Colour.BLUE
    back_after: float | None = None  # None: never
    empty: bool = False  # a host comes back so; of a freeze: of several drivers one alone
    after: Moment | None = None


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One world, drawn from a seed."""

    seed: int
    colours: int = 2
    ports: int = 1
    lag: float = 2.0
    shared: bool = False
    first: bool = False
    unmanaged: bool = False
    leftover: bool = False
    unchecked_backups: bool = False
    no_net: bool = False  # bake_net = "reject"
    hold: bool = False
    tests: bool = False
    hooks: bool = False
    commands: bool = False  # opened and run again by the command itself, preflight and all
    bad_test: bool = False  # the test fails
    slow_test: bool = False  # it takes longer than the whole rollout may
    no_artifact: bool = False  # the release cannot be had
    beginning: Beginning = "plain"  # how the command finds the balancer
    tight: bool = False  # the API takes few calls a minute
    lengths: tuple[float, ...] = LENGTHS
    candidate: Behaviour = Behaviour()
    faults: Faults = msgspec.field(default_factory=Faults)
    happenings: tuple[Happening, ...] = ()
    drivers: int = 1
    skew: float = 0.0
    test_port: bool = False
    left_open: bool = False  # the test port, to both colours
    dies_after: Moment | None = None  # who writes this first is dead before it knows
    slow_checks: bool = False  # the balancer checks every five seconds, not twice a second
    blind: bool = False  # no answer reaches the verifier: its machine has no way to the users' door
    new_port: bool = False  # the last of the ports was added since blue serves: all its nodes are off

    def __str__(self) -> str:
        """What is not as in the plainest world."""
        plain = Setting(self.seed)
        told = [f"{n}={getattr(self, n)!r}" for n in self.__struct_fields__ if getattr(self, n) != getattr(plain, n)]
        return f"seed {self.seed}: {', '.join(told) or 'nothing is special'}"

    @property
    def calm(self) -> bool:
        """Nothing goes wrong here: a good release is deployed, with few calls."""
        return (
            self.faults == Faults()
            and self.candidate == Behaviour()
            and self.beginning == "plain"
            and not (self.left_open or self.tight or self.bad_test or self.slow_test or self.no_artifact)
            and not (self.dies_after or self.blind)
            and all(h.kind == "promote" for h in self.happenings)
        )


def draw(seed: int) -> Setting:
    """The last two hundred of each thousand have a test port; of those with two ports, some have a new one."""
    setting = _draw(seed)
    if setting.ports > 1 and not setting.first and setting.beginning == "plain":
        setting = replace(setting, new_port=random.Random(-seed - NEW_PORTS).random() < 0.25)
    setting = _aimed(setting, random.Random(f"moments {seed}"))
    if seed % 1000 < TEST_PORTS:
        return setting
    return replace(setting, test_port=True, left_open=random.Random(-seed).random() < 0.3)


def _aimed(setting: Setting, chance: random.Random) -> Setting:
    """At moments of the rollout, where seconds of the story would seldom hit them. Calm worlds stay calm."""
    if setting.calm:
        return setting
    if chance.random() < 0.15:
        setting = replace(setting, dies_after=chance.choice(MOMENTS))
    if chance.random() < 0.02:
        setting = replace(setting, blind=True)

    def aimed(happening: Happening) -> Happening:
        if happening.kind == "promote" or chance.random() < 0.6:
            return happening
        return replace(happening, after=chance.choice(MOMENTS), at=chance.choice([0.0, chance.uniform(0, 25)]))

    happenings = tuple(aimed(happening) for happening in setting.happenings)
    # While one driver sleeps, or at any other moment, somebody runs the same command on another machine.
    frozen = [happening for happening in happenings if happening.kind == "freeze"]
    if frozen and chance.random() < 0.7:
        alone = replace(frozen[0], empty=True)
        again = Happening(alone.at + chance.uniform(0, 10), "again", after=alone.after)
        happenings = (*(h for h in happenings if h.kind != "freeze"), alone, again)
    elif chance.random() < 0.05:
        happenings = (*happenings, Happening(chance.uniform(0, 20), "again", after=chance.choice(MOMENTS)))
    if chance.random() < 0.08:
        back = chance.choice([20.0, 60.0])
        happenings = (
            *happenings,
            Happening(chance.uniform(0, 20), "outage", back_after=back, after=chance.choice(MOMENTS)),
        )
    return replace(setting, happenings=happenings, slow_checks=chance.random() < 0.15)


def _draw(seed: int) -> Setting:
    chance = random.Random(seed)
    good = [Behaviour()] * 5
    bad = [
        Behaviour(ready_after=1e9),
        Behaviour(dies_after=5.0),
        Behaviour(dies_after=60.0),
        Behaviour(fails=0.3),
        Behaviour(dies_after=45.0, stays_dead=True),
    ]
    faults = Faults(
        crash=chance.choice([0.0, 0.001, 0.005, 0.02]),
        refuse=chance.choice([0.0, 0.0, 0.1]),
        lost_answer=chance.choice([0.0, 0.1, 0.3]),
        host_silent=chance.choice([0.0, 0.0, 0.05]),
        stale_read=chance.choice([0.0, 0.3]),
        late_put=chance.choice([0.0, 0.1]),
        uncounted=chance.choice([0.0, 0.0, 0.0, 0.2]),
    )
    colours = chance.choice([1, 1, 2, 2, 3])
    hold = chance.random() < 0.1
    commands = chance.random() < 0.2
    tests: bool
    setting = Setting(
        seed=seed,
        colours=colours,
        ports=chance.choice([1, 1, 2]),
        lag=chance.choice([0.0, 2.0, 9.0]),
        shared=chance.random() < 0.3,
        first=chance.random() < 0.15 and not commands,
        unmanaged=chance.random() < 0.1,
        leftover=chance.random() < 0.1 and not commands,
        unchecked_backups=chance.random() < 0.5,
        no_net=chance.random() < 0.1,
        hold=hold,
        tests=(tests := chance.random() < 0.1),
        bad_test=tests and chance.random() < 0.3,
        slow_test=tests and chance.random() < 0.1,
        no_artifact=chance.random() < 0.02,
        beginning=chance.choice(BEGINNINGS) if commands else "plain",
        hooks=chance.random() < 0.1,
        commands=commands,
        tight=chance.random() < 0.05,
        lengths=chance.choice([SHORT, SHORT, LENGTHS, LONG]),
        candidate=chance.choice([*good, *bad, Behaviour(ready_after=20.0)]),
        faults=faults,
        happenings=tuple(_befall(chance, colours, hold=hold, commands=commands)),
        drivers=1 if commands else chance.choice([1, 1, 2, 3]),
        skew=chance.choice([0.0, 0.0, 3600.0, -3600.0]),
    )
    if chance.random() < 0.1:
        promote = tuple(h for h in setting.happenings if h.kind == "promote")
        return replace(
            setting, faults=Faults(), candidate=Behaviour(), happenings=promote, tight=False, no_artifact=False
        )
    return setting


def _befall(chance: random.Random, colours: int, *, hold: bool, commands: bool) -> list[Happening]:
    happenings = []

    def perhaps(likely: float, kind: Event, until: float = 150.0, back: tuple[float | None, ...] = (None,)) -> None:
        if chance.random() < likely:
            happenings.append(
                Happening(
                    at=chance.uniform(0, until),
                    kind=kind,
                    index=chance.randrange(colours),
                    colour=chance.choice(list(Colour)),
                    back_after=chance.choice(back),
                    empty=chance.random() < 0.5,
                )
            )

    perhaps(0.33, "go_back")
    perhaps(0.15, "host", back=(None, 20.0, 90.0))
    perhaps(0.1, "edit")
    perhaps(0.03, "twin")
    perhaps(0.03, "unlist")
    perhaps(0.1, "home", back=(5.0, 25.0, 100.0, 600.0, None))
    perhaps(0.1, "freeze", back=(5.0, 20.0, 45.0, 100.0))
    perhaps(0.1, "pause", until=100.0, back=(5.0, 60.0, 200.0))
    perhaps(0.05, "promote")
    if commands:
        perhaps(0.3, "other_deploy")
        perhaps(0.2, "other_config")
    if hold:
        happenings.append(Happening(chance.uniform(0, 1200), "promote"))
    return happenings
