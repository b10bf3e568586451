"""What the config says about every rollout of the app, resolved: no label, no secret, no default left open."""

from typing import Literal

import msgspec

from celadon.core.intent import Health, Hook, Timing, Verify
from celadon.core.observed import Question, SlotQuestion
from celadon.core.release import Colour, Slot


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    slots: dict[Colour, tuple[Slot, ...]]
    ports: tuple[int, ...]  # empty: all that the balancer has, but for the test port
    balancer: str
    timing: Timing
    health: Health
    verify: Verify
    tests: tuple[Hook, ...] = ()
    hooks: tuple[Hook, ...] = ()
    bake_net: Literal["backup", "reject"] = "backup"
    add_nodes: bool = True
    keep: int = 5
    home: str = ""
    settings_hash: str = ""
    config: bytes = b""
    test_port: int | None = None
    test_url: str = ""  # where the test port leads

    def serves(self, port: int) -> bool:
        """Whether users come through this port of the balancer."""
        return port != self.test_port and (not self.ports or port in self.ports)

    def question(self, host: str, *, closely: bool = False) -> Question:
        """What a look at this host asks of the app's slots there. `closely`: with a probe, and connections counted."""
        slots = [slot for its in self.slots.values() for slot in its if slot.host == host]
        asked = tuple(SlotQuestion(slot, probe=closely, count=closely) for slot in slots)
        return Question(self.app, asked, self.health.probe)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How this one deploy differs from the app's habit."""

    hold: bool = False
    until_commit: bool = False
    repair: bool = False
    gates: bool = True  # going back to a kept release passes none
    plan_id: str = ""  # refuse if the world has changed since that plan
