"""What a home keeps, as a hostile one would write it: well-formed wherever that is the more harmful."""

from typing import Any

import msgspec

from celadon.core.intent import Health, Hook, Intent, Rollout, Timing, Verify
from celadon.core.observed import Probe
from celadon.core.release import Colour, Release, Slot
from celadon.core.strategy import blue_green


def rollout(**changes: Any) -> Rollout:
    release = Release(app="shop", version="v2", artifact="registry.invalid/shop@sha256:" + "0" * 64, runtime="docker")
    return msgspec.structs.replace(
        Rollout(
            number=7, app="shop", kind="deploy", candidate=release, candidate_colour=Colour.GREEN,
            stable=None, stable_colour=None,
            slots={
                Colour.BLUE: (Slot("blue", "192.168.130.11", 5000),),
                Colour.GREEN: (Slot("green", "192.168.130.21", 5000),),
            },
            ports=(80,), balancer="app-nodebalancer", steps=blue_green((), hold=False), timing=FAST,
            health=Health(probe=Probe("/", "h")), verify=Verify(url="http://127.0.0.1:9/", rate=5.0),
        ),
        **changes,
    )  # fmt: skip


FAST = Timing(
    settle=0.05, bake=0.1, drain=0.2, quiet=0.05, interval=0.05, start_within=3.0, fresh=1.0, poll=0.05, repeat=1.0,
    up_within=3.0, deadline=6.0, lost=1.0, retry=0.05, verify_within=2.0, lease=3.0,
)  # fmt: skip


def hook(name: str, *command: str) -> Hook:
    return Hook(name=name, command=command, safe_to_repeat=True, timeout=10.0)


def document(value: Intent) -> str:
    return msgspec.json.encode(value).decode()


def edited(value: Intent, *path: str | int, to: Any) -> str:
    """The intent as JSON with one value in it replaced: also by what no intent can hold."""
    tree = msgspec.json.decode(msgspec.json.encode(value))
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return msgspec.json.encode(tree).decode()
