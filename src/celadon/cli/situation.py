"""What is, as far as it can be seen, for `status` and `check`.

Each part is asked on its own, so one that is out of order hides no other. Reads only.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec

from celadon.cli.app import Connected
from celadon.core.errors import CeladonError, Refused
from celadon.core.home import Adopted
from celadon.core.intent import Intent, Rollout
from celadon.core.journal import Journal
from celadon.core.live import Live, live
from celadon.core.observed import BalancerFacts, HostFacts, NodeFacts, SlotFacts
from celadon.core.release import Colour, Slot
from celadon.drive import lease as leases
from celadon.drive.app import decode_adopted
from celadon.drive.lease import LeaseFacts

Seen = TypeVar("Seen")


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """An error stands where something could not be seen."""

    as_of: float  # UTC
    balancer: BalancerFacts | CeladonError
    hosts: dict[str, HostFacts | CeladonError]
    intent: Intent | CeladonError | None
    journal: Journal | None
    lease: LeaseFacts | CeladonError | None
    live: Live | None
    adopted: Adopted | None = None  # of a home that replaced a lost one

    @property
    def open(self) -> Rollout | None:
        """The rollout that is under way."""
        intent = self.intent
        return intent.rollout if isinstance(intent, Intent) and not intent.finished else None

    @property
    def last(self) -> Rollout | None:
        return self.intent.rollout if isinstance(self.intent, Intent) else None

    def slot(self, slot: Slot) -> SlotFacts | None:
        facts = self.hosts.get(slot.host)
        if not isinstance(facts, HostFacts):
            return None
        return next((each for each in facts.slots if each.key == slot.key), None)

    def nodes(self, slot: Slot) -> list[NodeFacts]:
        if isinstance(self.balancer, CeladonError):
            return []
        return [n for c in self.balancer.configs for n in c.nodes if n.address == slot.node_address]

    def version(self, release: str) -> str:
        """The name that people gave to a release; its id where the newest rollout does not know it."""
        rollout = self.last
        known = [rollout.candidate, rollout.stable] if rollout is not None else []
        known += self.adopted.releases if self.adopted is not None else ()
        return next((each.version for each in known if each is not None and each.id == release), release)


async def see(connected: Connected) -> Situation:
    world, wanted = connected.world, connected.wanted
    names = sorted({slot.host for slots in wanted.slots.values() for slot in slots})
    looks = asyncio.gather(*(tried(world.hosts.look(name, wanted.question(name, closely=True))) for name in names))
    balancer, intent, lease, hosts = await asyncio.gather(
        tried(world.balancer.read()), tried(connected.app.intent()), tried(read_lease(connected)), looks
    )
    adopted = await tried(_adopted(connected))
    journal = None
    if isinstance(intent, Intent):
        past = await tried(connected.app.journal(intent.rollout.number))
        journal = past.journal if not isinstance(past, CeladonError) else None
    return Situation(
        as_of=world.clock.utc(),
        balancer=balancer,
        hosts=dict(zip(names, hosts, strict=True)),
        intent=intent,
        journal=journal,
        lease=lease,
        live=_live(connected, balancer, intent, journal),
        adopted=adopted if isinstance(adopted, Adopted) else None,
    )


async def read_lease(connected: Connected) -> LeaseFacts | None:
    return leases.decode(await connected.world.store.read_lease())


async def _adopted(connected: Connected) -> Adopted | None:
    return decode_adopted(await connected.world.store.read_adopted())


async def tried(asking: Awaitable[Seen]) -> Seen | CeladonError:
    try:
        return await asking
    except CeladonError as error:
        return error


def _live(
    connected: Connected,
    balancer: BalancerFacts | CeladonError,
    intent: Intent | CeladonError | None,
    journal: Journal | None,
) -> Live | None:
    if isinstance(balancer, CeladonError):
        return None
    wanted = connected.wanted
    configs = [config for config in balancer.configs if wanted.serves(config.port)]
    nodes: dict[Colour, list[NodeFacts]] = {}
    for colour, slots in wanted.slots.items():
        addresses = {slot.node_address for slot in slots}
        nodes[colour] = [n for config in configs for n in config.nodes if n.address in addresses]
    return live(nodes, intent if isinstance(intent, Intent) else None, journal)


def live_or(colour: Colour | None, situation: Situation) -> Colour:
    """The colour that was asked for, else the live one; blue where nothing serves."""
    if colour is not None:
        return colour
    now = situation.live
    return now.colour if now is not None and now.colour is not None else Colour.BLUE


def colour_of(text: str | None) -> Colour | None:
    if text is None:
        return None
    if text not in {colour.value for colour in Colour}:
        raise Refused(f"{text!r} is not a colour", hint="blue or green")
    return Colour(text)
