"""Every protocol time of a rollout, from the config; and the lab's pace, at which all of them are shorter together.

An application's own times (start, probe, stop) are never scaled: it starts no faster in a lab.
"""

from collections.abc import Mapping
from datetime import timedelta

from celadon.adapters.http import is_loopback, parts_of
from celadon.config.model import Config
from celadon.core.errors import Refused
from celadon.core.intent import Timing

LAB = "the lab's pace: settle 2 s, bake 5 s, quiet 1 s, lease 3 s; with a real NodeBalancer settle is 60 s, bake 5 min"


def at_lab(environ: Mapping[str, str]) -> bool:
    """`CELADON_PACE=lab`. Refused unless LINODE_URL is loopback: on a real NodeBalancer it would lose requests."""
    pace = environ.get("CELADON_PACE", "")
    if not pace:
        return False
    if pace != "lab":
        raise Refused(f"CELADON_PACE: {pace[:40]!r} is not a pace", hint="the only one is: lab", where="CELADON_PACE")
    if not is_loopback(parts_of(environ.get("LINODE_URL", "")).hostname):
        raise Refused(
            "CELADON_PACE=lab is for a lab on this machine, and LINODE_URL is not one",
            hint='unset CELADON_PACE, or: eval "$(celadon lab up)"',
            where="CELADON_PACE",
        )
    return True


def timing(config: Config, *, lab: bool) -> Timing:
    """The protocol's times. At the lab's pace, what the config says is scaled as the defaults are."""
    rollout = config.rollout
    told = Timing(
        settle=_seconds(rollout.settle),
        bake=_seconds(rollout.bake),
        drain=_seconds(rollout.drain),
        interval=_seconds(config.health.interval),
        start_within=_seconds(config.health.start_within),
        deadline=_seconds(rollout.deadline),
    )
    if not lab:
        return told
    return Timing(
        settle=told.settle / 30,
        bake=told.bake / 60,
        drain=told.drain / 6,
        quiet=told.quiet / 5,
        interval=told.interval / 4,
        start_within=told.start_within,
        fresh=told.fresh / 5,
        poll=told.poll / 10,
        repeat=told.repeat / 5,
        up_within=told.up_within / 5,
        deadline=told.deadline,
        lost=told.lost / 6,
        retry=told.retry / 10,
        verify_within=told.verify_within / 4,
        lease=told.lease / 10,
    )


def _seconds(value: timedelta) -> float:
    return value.total_seconds()
