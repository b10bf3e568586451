"""The rollouts that stories are told of: the releases, times and habits that a setting stands for."""

import msgspec

from celadon.core.intent import Health, Hook, HookMoment, Intent, Rollout, Timing, Verify
from celadon.core.observed import Probe
from celadon.core.release import Colour, Release
from celadon.core.strategy import blue_green
from tests.simulation.settings import Setting
from tests.simulation.world import SimWorld

TIMING = Timing(
    settle=10.0,
    bake=30.0,
    drain=25.0,
    quiet=2.0,
    interval=2.0,
    start_within=60.0,
    up_within=60.0,
    deadline=900.0,
    lease=30.0,
    verify_within=60.0,
    fresh=8.0,
)

SECRETS = (("DATABASE_URL", "fingerprint"),)
OLD = Release(app="shop", version="v1", artifact="r/shop@sha256:old", runtime="docker")
NEW = Release(app="shop", version="v2", artifact="r/shop@sha256:new", runtime="docker", secrets=SECRETS)
LEFT = Release(app="shop", version="v0", artifact="r/shop@sha256:left", runtime="docker")
OTHER = Release(app="shop", version="v3", artifact="r/shop@sha256:other", runtime="docker")
MOMENTS: tuple[HookMoment, ...] = ("before_prepare", "before_shift", "after_commit", "after_finish", "after_rollback")
HEALTH = Health(probe=Probe("/", "shop"))
VERIFY = Verify(url="http://127.0.0.1", passes=1)


def tests(setting: Setting) -> tuple[Hook, ...]:
    return (Hook(name="smoke", command=("smoke",)),) if setting.tests else ()


def hooks(setting: Setting) -> tuple[Hook, ...]:
    if not setting.hooks:
        return ()
    return tuple(Hook(name=name, command=(name,), safe_to_repeat=setting.seed % 2 == 0) for name in MOMENTS)


def rollout(world: SimWorld, setting: Setting) -> Rollout:
    stable = {slot.node_address for slot in world.slots[Colour.BLUE]}
    users = [node for node in world.nodes.values() if node.port in world.ports]
    baseline = {n.id: 100 for n in users if n.address in stable and not setting.first}
    gates = tests(setting)
    return Rollout(
        number=1,
        app="shop",
        kind="deploy",
        candidate=NEW,
        # A first deploy of the command takes blue; the tellers of stories keep to green.
        candidate_colour=Colour.GREEN,
        stable=None if setting.first or setting.unmanaged else OLD,
        stable_colour=None if setting.first else Colour.BLUE,
        slots=world.slots,
        ports=world.ports,
        balancer="balancer",
        steps=blue_green(tuple(test.name for test in gates), hold=setting.hold),
        timing=TIMING,
        health=HEALTH,
        verify=VERIFY,
        tests=gates,
        hooks=hooks(setting),
        bake_net="reject" if setting.no_net else "backup",
        floor=dict.fromkeys(world.ports, setting.colours),
        baseline=baseline,
        new_ports=world.ports[-1:] if setting.new_port else (),
        test_port=world.test_port,
    )


def earlier(of: Rollout) -> tuple[bytes, list[bytes]]:
    """How OLD came to serve: a first deploy that is done."""
    before = msgspec.structs.replace(of, candidate=OLD, candidate_colour=Colour.BLUE, stable=None, stable_colour=None)
    opened = {"type": "Opened", "at": 1.0, "rollout": msgspec.Raw(msgspec.json.encode(before))}
    finished = {"type": "Finished", "at": 2.0, "result": "done", "reason": "the candidate serves"}
    events = [msgspec.json.encode(event) for event in (opened, finished)]
    return msgspec.json.encode(Intent(rollout=before, finished="done")), events
