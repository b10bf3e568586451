"""The guard's facts: machines from the config, modes from the balancer, the open rollout from the home. Reads only."""

from collections.abc import Iterable, Mapping

from celadon.adapters.linode_account import PATHS, LinodeAccount
from celadon.adapters.nodebalancer import LinodeBalancer
from celadon.adapters.terraform import NO_OUTPUT
from celadon.cli.account import READS, open_account
from celadon.cli.app import Connected, Known, Need
from celadon.cli.call import Call
from celadon.cli.situation import Situation, see, tried
from celadon.core.errors import CeladonError, Refused
from celadon.core.intent import Intent
from celadon.core.observed import BalancerFacts
from celadon.core.release import Colour
from celadon.infra.facts import Facts, Machine, busy_colours
from celadon.infra.guard import LABELLED
from celadon.infra.machines import addresses_of, as_id
from celadon.infra.plan import Plan


async def gather(call: Call, plan: Plan) -> Facts:
    """What is now. Where Terraform has given no output yet, the plan's own state names the machines."""
    try:
        async with call.connected(Need(balancer=False)) as connected:
            return await facts_of(connected, plan, call.environ)
    except Refused as error:
        if call.project.config.hosts.terraform is None or NO_OUTPUT not in error.message:
            raise
        return await _from_state(call, plan)


async def facts_of(connected: Connected, plan: Plan, environ: Mapping[str, str]) -> Facts:
    situation = await see(connected)
    balancer, unknown = _balancer(situation, plan)
    intent = situation.intent
    asked = intent if isinstance(intent, Intent) or intent is None else intent.message
    busy: dict[Colour, str] = {}
    if balancer is not None:
        slots = {colour: tuple(its) for colour, its in connected.wanted.slots.items()}
        busy = busy_colours(slots, balancer, live=situation.live, intent=asked)
    busy |= {colour: why for colour, why in _open(connected, situation).items() if colour not in busy}
    ids, taken = await _account(environ, plan, [host.name for host in connected.hosts])
    return Facts(
        app=connected.wanted.app,
        balancer=balancer,
        machines=tuple(
            Machine(
                host.name,
                _addresses(host),
                tuple(Colour(colour) for colour in host.colours),
                ids.get(host.name),
            )
            for host in connected.hosts
        ),
        home=await _home(connected),
        busy=busy,
        taken=taken,
        unknown=unknown,
    )


def _addresses(host: Known) -> frozenset[str]:
    """Private, and where SSH knocks: with and without its port, as an IPv6 address has colons of its own."""
    ssh = host.ssh.rpartition("@")[2]
    return frozenset({host.private, ssh, ssh.rpartition(":")[0] or ssh})


def _balancer(situation: Situation, plan: Plan) -> tuple[BalancerFacts | None, str]:
    found = situation.balancer
    if not isinstance(found, CeladonError):
        return found, ""
    made_here = any(known.type == "linode_nodebalancer" for known in plan.before)
    return None, "" if isinstance(found, Refused) and not made_here else found.message


def _open(connected: Connected, situation: Situation) -> dict[Colour, str]:
    """An idle colour that still has open connections is not idle: they are somebody's requests."""
    found = {}
    for colour, slots in connected.wanted.slots.items():
        for slot in slots:
            seen = situation.slot(slot)
            if seen is not None and seen.open:
                found[colour] = f"{slot.host} still has {seen.open} open connections, so {colour.value} is not idle"
    return found


async def _home(connected: Connected) -> str:
    """Where it is, which the config need not know; empty before the first deploy, when it keeps nothing."""
    found = await tried(connected.home.find())
    if isinstance(found, CeladonError):
        return connected.wanted.home  # not seen: whoever is named for it is kept
    return "" if found.fresh else found.host


async def _from_state(call: Call, plan: Plan) -> Facts:
    """There is no output yet: the first apply, or one that ended half-way. Then the state says what there is."""
    balancers = [known for known in plan.before if known.type == "linode_nodebalancer"]
    found: BalancerFacts | None = None
    if balancers:
        from celadon.adapters.linode import DEFAULT_URL, LinodeApi  # noqa: PLC0415 - only half-way applies need it
        from celadon.core.secret import Secret  # noqa: PLC0415 - beside it

        token = Secret(call.environ.get("LINODE_TOKEN", ""))
        async with LinodeApi(call.environ.get("LINODE_URL") or DEFAULT_URL, token, needed=READS) as api:
            found = await LinodeBalancer(api, as_id(balancers[0].values.get("id")) or 0).read()
    made = [known.values for known in plan.before if known.type == "linode_instance"]
    _, taken = await _account(call.environ, plan, [])
    return Facts(
        app=call.project.config.app,
        balancer=found,
        machines=tuple(Machine(str(each.get("label")), addresses_of(each), (), as_id(each.get("id"))) for each in made),
        taken=taken,
    )


async def _account(
    environ: Mapping[str, str], plan: Plan, hosts: Iterable[str]
) -> tuple[dict[str, int], frozenset[tuple[str, str]]]:
    """Ids of the hosts that have a label, and which names of things to be made are taken."""
    names: dict[str, set[str]] = {}
    for change in plan.changes:
        if change.kind == "create" and change.type in LABELLED:
            name = change.after.get(LABELLED[change.type][0])
            if isinstance(name, str) and name:
                names.setdefault(change.type, set()).add(name)
    wanted = set(hosts)
    if not names and not wanted:
        return {}, frozenset()
    async with open_account(environ) as account:
        instances = await tried(account.instances())
        ids = {} if isinstance(instances, CeladonError) else {i.label: i.id for i in instances if i.label in wanted}
        return ids, frozenset([pair for kind in names for pair in await _taken(account, kind, names[kind])])


async def _taken(account: LinodeAccount, kind: str, names: set[str]) -> list[tuple[str, str]]:
    """A narrow token may not list everything: then Terraform's own token will be told by the API."""
    found = await tried(account.taken(kind, names)) if kind in PATHS else frozenset[str]()
    if isinstance(found, CeladonError):
        if isinstance(found, Refused):
            return []
        raise found
    return [(kind, name) for name in found]
