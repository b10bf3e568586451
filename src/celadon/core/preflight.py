"""May this rollout open, and what would it be? Facts in; a rollout, nodes to add and warnings out, or Refused.

Only opening asks this. Resume, abort and rollback never wait for it: they must work when things are bad.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from celadon.core.errors import Refused
from celadon.core.home import epoch_of
from celadon.core.intent import Intent, Rollout, Timing
from celadon.core.journal import Journal
from celadon.core.live import Live, live, ports_in_use
from celadon.core.observed import BalancerFacts, ConfigFacts, HostFacts, Mode, NodeFacts
from celadon.core.release import Colour, Release, Slot
from celadon.core.strategy import blue_green
from celadon.core.wanted import Options, Wanted

DISK_FREE = 512 * 1024**2  # bytes; below it a pull is likelier to fail than not
FIRST_DEPLOY = "a first deploy: nothing serves yet, and there is nothing to go back to"
CLOCK_SKEW = 60.0  # seconds between a host's clock and ours: times in logs would mislead


class Scout(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at before opening. A host's text says why it could not be seen."""

    balancer: BalancerFacts
    hosts: Mapping[str, HostFacts | str]
    utc: float
    intent: Intent | None = None  # the newest rollout
    journal: Journal | None = None
    known: tuple[Release, ...] = ()  # releases of earlier rollouts, newest first
    fence: int | None = None  # of the home's lease, read after the hosts were seen
    last_rollout: int = 0  # as far as hosts remember, where a home was replaced

    @property
    def next_rollout(self) -> int:
        return max(self.last_rollout, self.intent.rollout.number if self.intent is not None else 0) + 1


class NodeToAdd(msgspec.Struct, frozen=True):
    config_id: int
    port: int
    label: str
    address: str


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What would be opened."""

    rollout: Rollout
    add: tuple[NodeToAdd, ...]
    warnings: tuple[str, ...]
    live: Live


def open_rollout(wanted: Wanted, release: Release, options: Options, scout: Scout) -> Opening:
    """Raises Refused with the first thing that a person must change; nothing was changed by asking."""
    _one_home(wanted, scout)
    configs = _configs(wanted, scout.balancer)
    nodes = _by_colour(wanted, configs)
    every = [*configs, *(_test_config(wanted, scout.balancer) if options.gates else ())]
    _no_strangers(wanted, every)
    _once_each(every)
    now_live = live(nodes, scout.intent, scout.journal)
    _known_live(now_live, options)
    candidate_colour = now_live.colour.other if now_live.colour is not None else Colour.BLUE
    add = _missing(wanted, every)
    _idle(candidate_colour, nodes)
    warnings = _hosts(wanted, scout, candidate_colour, now_live)
    stable = _stable(wanted, scout, now_live)
    new_ports = _new_ports(configs, nodes, now_live)
    warnings += [f"port {port} sends nobody anywhere yet: this rollout opens it" for port in new_ports]
    baseline, floor = _floor(wanted, configs, nodes, now_live, options, new_ports)
    rollout = Rollout(
        number=scout.next_rollout,
        app=wanted.app,
        kind="deploy",
        candidate=release,
        candidate_colour=candidate_colour,
        stable=stable,
        stable_colour=now_live.colour,
        slots=wanted.slots,
        ports=tuple(config.port for config in configs),
        balancer=scout.balancer.label,
        steps=blue_green(tuple(test.name for test in wanted.tests), hold=options.hold),
        timing=timing_on(wanted.timing, every),
        health=wanted.health,
        verify=wanted.verify,
        tests=wanted.tests,
        hooks=wanted.hooks,
        bake_net=wanted.bake_net,
        keep=wanted.keep,
        settings_hash=wanted.settings_hash,
        config=wanted.config,
        kept_releases=tuple(known.id for known in scout.known[: wanted.keep]),
        floor=floor,
        baseline=baseline,
        new_ports=new_ports,
        opened_utc=scout.utc,
        test_port=wanted.test_port,
        test_url=wanted.test_url,
    )
    return Opening(rollout=rollout, add=add, warnings=tuple(warnings), live=now_live)


def live_release(wanted: Wanted, scout: Scout) -> Release | None:
    """What serves, as far as the balancer and the hosts tell; None: nothing, or nothing that is known."""
    configs = [config for config in scout.balancer.configs if wanted.serves(config.port)]
    nodes = _by_colour(wanted, configs)
    return _stable(wanted, scout, live(nodes, scout.intent, scout.journal))


def plan_id(opening: Opening, balancer: BalancerFacts) -> str:
    """A hash of both releases, the config, the slots and each node's (config, address, mode, weight)."""
    rollout = opening.rollout
    nodes = sorted((c.port, n.address, n.mode.value, n.weight) for c in balancer.configs for n in c.nodes)
    stable = rollout.stable.id if rollout.stable is not None else ""
    parts = (rollout.candidate.id, stable, rollout.settings_hash, rollout.slots, nodes)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:10]


# -- the home ------------------------------------------------------------------------------------


def _one_home(wanted: Wanted, scout: Scout) -> None:
    """A host that saw a larger fence than the home ever gave knows another home, or this one lost its memory."""
    if scout.fence is None:
        return
    for name, facts in sorted(scout.hosts.items()):
        if isinstance(facts, str) or facts.fence <= scout.fence:
            continue
        if (theirs := epoch_of(facts.fence)) > (ours := epoch_of(scout.fence)):
            raise Refused(
                f"the home of {wanted.app} was replaced: {name} knows epoch {theirs}, and this home is of epoch {ours}",
                hint="celadon.toml: hosts.home is the host that `celadon store adopt` named · lost too: "
                "celadon store adopt begins another",
            )
        raise Refused(
            f"the home of {wanted.app} lost its memory: {name} has seen fence {facts.fence}, "
            f"the home's is {scout.fence}",
            hint="celadon store adopt begins a new epoch; traffic stays as it is",
        )


# -- the balancer --------------------------------------------------------------------------------


def _configs(wanted: Wanted, balancer: BalancerFacts) -> list[ConfigFacts]:
    """All ports: switching one of two would split users between releases."""
    have = {config.port: config for config in balancer.configs if config.port != wanted.test_port}
    if not have:
        raise Refused(f"{balancer.label} has no port configured", hint="linode-cli nodebalancers config-create")
    ports = wanted.ports or tuple(sorted(have))
    for port in ports:
        if port not in have:
            raise Refused(f"{balancer.label} has no config for port {port}", hint=f"it has: {sorted(have)}")
    configs = [have[port] for port in sorted(ports)]
    for config in configs:
        _fit(balancer, config)
    throttle = balancer.client_conn_throttle
    if throttle and throttle < wanted.verify.rate:
        raise Refused(
            f"{balancer.label} lets one address open {throttle} connections a second, verify.rate is "
            f"{wanted.verify.rate:g}",
            hint=f"lower verify.rate, or: linode-cli nodebalancers update {balancer.id} --client_conn_throttle 0",
        )
    return configs


def _test_config(wanted: Wanted, balancer: BalancerFacts) -> tuple[ConfigFacts, ...]:
    """The test port's config is somebody's decision, as a firewall must stand before it: none is made here."""
    if wanted.test_port is None:
        return ()
    for config in balancer.configs:
        if config.port == wanted.test_port:
            _fit(balancer, config)
            return (config,)
    path = wanted.health.probe.path
    raise Refused(
        f"{balancer.label} has no config for the test port {wanted.test_port}",
        details=("Celadon makes none: only your testers may reach it, so a firewall comes first",),
        hint=f"linode-cli nodebalancers config-create {balancer.id} --port {wanted.test_port} --protocol http "
        f"--check http --check_path {path} --check_passive false --stickiness none   "
        "(Celadon's Terraform module: test_port and tester_cidrs)",
    )


def _fit(balancer: BalancerFacts, config: ConfigFacts) -> None:
    where = f"{balancer.label} port {config.port}"
    change = f"linode-cli nodebalancers config-update {balancer.id} {config.id}"
    if config.protocol not in {"http", "https"}:
        raise Refused(
            f"{where}: protocol {config.protocol} is not in this version: a kept connection stays on its release",
            hint="use http or https",
        )
    if config.stickiness != "none":
        raise Refused(
            f"{where}: stickiness {config.stickiness} keeps users on a backup colour",
            hint=f"{change} --stickiness none",
        )
    if config.check == "none":
        raise Refused(
            f"{where}: no health check, so nothing says that a node is UP",
            hint=f"{change} --check http --check_path /",
        )
    if config.check_passive:
        raise Refused(
            f"{where}: a passive check takes a node out at its first 5xx", hint=f"{change} --check_passive false"
        )


def _by_colour(wanted: Wanted, configs: Sequence[ConfigFacts]) -> dict[Colour, list[NodeFacts]]:
    addresses = {colour: {slot.node_address for slot in slots} for colour, slots in wanted.slots.items()}
    return {
        colour: [node for config in configs for node in config.nodes if node.address in its]
        for colour, its in addresses.items()
    }


def _no_strangers(wanted: Wanted, configs: Sequence[ConfigFacts]) -> None:
    ours = {slot.node_address for slots in wanted.slots.values() for slot in slots}
    for config in configs:
        for node in config.nodes:
            if node.address not in ours and node.mode is not Mode.REJECT:
                raise Refused(
                    f"port {config.port} also sends traffic to {node.label} ({node.address}), which no colour names",
                    hint="name its host in [hosts], or take the node out of the NodeBalancer",
                )


def _once_each(configs: Sequence[ConfigFacts]) -> None:
    for config in configs:
        addresses = [node.address for node in config.nodes]
        for address in addresses:
            if addresses.count(address) > 1:
                raise Refused(f"port {config.port} has {addresses.count(address)} nodes for {address}", hint="keep one")


def _missing(wanted: Wanted, configs: Sequence[ConfigFacts]) -> tuple[NodeToAdd, ...]:
    add = tuple(
        NodeToAdd(config.id, config.port, slot.host[:32], slot.node_address)
        for config in configs
        for slots in wanted.slots.values()
        for slot in slots
        if slot.node_address not in {node.address for node in config.nodes}
    )
    if add and not wanted.add_nodes:
        here = next(config for config in configs if config.port == add[0].port)
        found = ", ".join(node.address for node in here.nodes) or "none"
        raise Refused(
            f"{wanted.balancer} port {add[0].port}: no node for {add[0].label} ({add[0].address})",
            details=(f"found: {found}", "hosts.terraform is set, so Terraform owns nodes and none was added"),
            hint="terraform apply   (a deleted instance takes its node along)",
        )
    return add


# -- colours and hosts -----------------------------------------------------------------------------


def _known_live(now: Live, options: Options) -> None:
    if now.kind == "ambiguous":
        raise Refused(
            f"which colour is live cannot be told: {now.because}",
            hint="celadon status · then celadon abort --keep-colour COLOUR",
        )
    if now.kind == "backup" and not options.repair:
        raise Refused(f"users are served by the net: {now.because}", hint="celadon rollback, or deploy --repair")


def _idle(colour: Colour, nodes: Mapping[Colour, Sequence[NodeFacts]]) -> None:
    busy = [node for node in nodes[colour] if node.mode is not Mode.REJECT]
    if busy:
        raise Refused(
            f"{colour.value} is not idle: {busy[0].label} is {busy[0].mode.value} on port {busy[0].port}",
            hint="celadon status",
        )


def _hosts(wanted: Wanted, scout: Scout, candidate: Colour, now: Live) -> list[str]:
    warnings = []
    for slot in wanted.slots[candidate]:
        facts = scout.hosts[slot.host]
        if isinstance(facts, str):
            raise Refused(f"{slot.host}: {facts}", hint=f"celadon check --host {slot.host}")
        _foreign(slot, facts, candidate)
        if facts.disk_free < DISK_FREE:
            free = facts.disk_free // 1024**2
            raise Refused(f"{slot.host}: {free} MiB free where releases are kept", hint="make room: 512 MiB at least")
    for name, host in scout.hosts.items():
        if isinstance(host, str):
            warnings.append(f"{name}: {host}")
        elif abs(host.utc - scout.utc) > CLOCK_SKEW:
            warnings.append(f"{name}: its clock is {host.utc - scout.utc:+.0f} s off")
    if now.kind == "none":
        warnings.append(FIRST_DEPLOY)
    return warnings


def _foreign(slot: Slot, facts: HostFacts, colour: Colour) -> None:
    for seen in facts.slots:
        if seen.key == slot.key and seen.foreign is not None:
            raise Refused(
                f"{slot.host}: {slot.node_address} is held by {seen.foreign}, not ours",
                details=(f"{colour.value} is idle: the NodeBalancer sends it nothing",),
                hint=f"on {slot.host}: {seen.remedy or 'remove it'}   then run this again",
            )


def _stable(wanted: Wanted, scout: Scout, now: Live) -> Release | None:
    """The release that runs in the live colour; None: nothing does, or Celadon did not start it.

    Where it cannot be seen, it is what the newest rollout left there: a silent host makes nothing unmanaged.
    """
    if now.colour is None:
        return None
    silent = any(isinstance(scout.hosts[slot.host], str) for slot in wanted.slots[now.colour])
    running = {
        seen.replica.release
        for facts in scout.hosts.values()
        if not isinstance(facts, str)
        for seen in facts.slots
        if seen.replica is not None and seen.key in {slot.key for slot in wanted.slots[now.colour]}
    }
    if len(running) > 1:
        raise Refused(f"{now.colour.value} runs several releases: {', '.join(sorted(running))}", hint="celadon status")
    if silent and not running:
        return _left_by_the_newest(scout, now.colour)
    return next((known for known in scout.known if known.id in running), None)


def _left_by_the_newest(scout: Scout, colour: Colour) -> Release | None:
    """Stopping names a release, so nothing else is ever stopped for it, whatever the host shows once it answers."""
    if scout.intent is None:
        return None
    rollout = scout.intent.rollout
    match scout.intent.finished:
        case "done" if rollout.candidate_colour is colour:
            return rollout.candidate
        case "rolled_back" if rollout.stable_colour is colour:
            return rollout.stable
        case _:
            return None


def _new_ports(
    configs: Sequence[ConfigFacts], nodes: Mapping[Colour, Sequence[NodeFacts]], now: Live
) -> tuple[int, ...]:
    """Ports that were added since somebody serves on the others: https, say, to a NodeBalancer that had http."""
    if now.colour is None:
        return ()
    used = ports_in_use(nodes)
    return tuple(config.port for config in configs if config.port not in used)


def _floor(
    wanted: Wanted,
    configs: Sequence[ConfigFacts],
    nodes: Mapping[Colour, Sequence[NodeFacts]],
    now: Live,
    options: Options,
    new_ports: tuple[int, ...],
) -> tuple[dict[int, int], dict[int, int]]:
    """By node id the weights to go back to; by port the fewest that must serve.

    On a new port both are as on the others. Whoever came in there through the candidate is not turned away by going
    back: stable takes over there, too.
    """
    candidates = len(wanted.slots[now.colour.other if now.colour is not None else Colour.BLUE])
    serving = list(nodes[now.colour]) if now.colour is not None else []
    modes = {Mode.ACCEPT, Mode.BACKUP} if options.repair else {Mode.ACCEPT}
    baseline = {node.id: node.weight for node in serving if node.mode in modes}
    weights = {node.address: node.weight for node in serving if node.id in baseline}
    for node in serving:
        if node.port in new_ports and node.address in weights:
            baseline[node.id] = weights[node.address]
    floor = {}
    for config in configs:
        if config.port in new_ports:
            continue
        up = sum(1 for node in serving if node.port == config.port and node.mode is Mode.ACCEPT and node.up)
        if now.colour is not None and not up and not options.repair:
            raise Refused(
                f"{now.colour.value} is live on port {config.port} and none of its nodes is UP",
                hint="celadon status · deploy --repair keeps whatever serves and goes on",
            )
        floor[config.port] = max(1, min(up, candidates))
    fewest = min(floor.values(), default=1)
    return baseline, floor | dict.fromkeys(new_ports, fewest)


def timing_on(timing: Timing, configs: Sequence[ConfigFacts]) -> Timing:
    """How long UP may take, and how often to ask for it, follows from the balancer's own checks."""
    slowest = max(config.check_interval * config.check_attempts for config in configs)
    return msgspec.structs.replace(
        timing, up_within=timing.settle + 3 * slowest + timing.up_within, poll=max(timing.poll, slowest / 6)
    )
