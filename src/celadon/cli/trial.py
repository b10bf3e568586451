"""Where `check VERSION` starts the release once, and that it does: the choice, and the words before and after.

On a host of the idle colour, because that is where a deploy would start it: the same processor, the same network, the
same registry. Never where it could be in the way of the live colour.
"""

import msgspec

from celadon.cli import measured
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.losses import Finding
from celadon.cli.situation import Situation, tried
from celadon.core.errors import CeladonError
from celadon.core.observed import HostFacts
from celadon.core.preflight import DISK_FREE
from celadon.core.release import Colour, Release, Slot
from celadon.core.trial import Trial


class Place(msgspec.Struct, frozen=True):
    """An idle slot whose host lends itself. Its port is not used."""

    slot: Slot
    colour: Colour


async def try_out(
    call: Call, connected: Connected, situation: Situation, release: Release
) -> tuple[list[Finding], frozenset[str]]:
    """Findings, and the names of the predictions that they answer."""
    if call.values["no_start"]:
        return [Finding("trial", "ok", "not started (--no-start): the losses are predicted")], frozenset()
    place = choose(connected, situation, release)
    if isinstance(place, str):
        return [Finding("trial", "ok", f"not started: {place}; the losses are predicted")], frozenset()
    host, slow = place.slot.host, call.values["slow"] or ""
    call.output.say(f"Trying {release.version} on {host}, away from every slot; up to a minute. Ctrl-C removes it.")
    wanted = connected.wanted
    trial = Trial(
        release=release,
        slot=place.slot,
        colour=place.colour,
        probe=wanted.health.probe,
        start_within=wanted.timing.start_within,
        slow=slow,
    )
    try:
        secrets = connected.world.secrets.values(release)
    except CeladonError as error:
        return [Finding("trial", "warning", f"not started: {error.message}", error.hint or "")], frozenset()
    facts = await tried(connected.reach.try_out(host, trial, secrets))
    if isinstance(facts, CeladonError):
        text = "; ".join([f"{host}: {facts.message}", *facts.details])
        return [Finding("trial", "warning", text, facts.hint or "")], frozenset()
    found = Finding("trial", "ok", f"{release.version} was started on {host}, looked at and removed")
    config = connected.project.config
    return [found, *measured.findings(config, facts, slow)], measured.superseded(facts)


def choose(connected: Connected, situation: Situation, release: Release) -> Place | str:
    """A place, or why there is none."""
    if situation.open is not None:
        return f"rollout {situation.open.number} is open"
    live = situation.live
    if live is None or live.kind == "ambiguous":
        return "which colour serves is not known"
    slots = connected.wanted.slots
    serving = live.colour
    colour = serving.other if serving is not None else Colour.BLUE
    busy = {slot.host for slot in slots[serving]} if serving is not None else set()
    fit = [slot for slot in slots[colour] if _fit(situation.hosts.get(slot.host))]
    if not fit:
        return f"no host of {colour.value} is fit for it"
    slot = min(fit, key=lambda each: each.host in busy)
    told = any("{port}" in word for word in release.command)
    if release.runtime == "venv" and slot.host in busy and not told:
        # It may listen on a port of its own choice, and with SO_REUSEPORT take the live colour's connections.
        return f"{slot.host} serves, and nothing in `command` says {{port}}"
    return Place(slot, colour)


def _fit(facts: HostFacts | CeladonError | None) -> bool:
    return isinstance(facts, HostFacts) and facts.disk_free >= DISK_FREE
