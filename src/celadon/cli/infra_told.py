"""How plans of infrastructure are told: changes, cost, what is refused. Prints nothing by itself."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from celadon.adapters.linode_account import Priced as Priceable
from celadon.cli.account import open_account
from celadon.cli.app import Connected
from celadon.cli.call import Call
from celadon.cli.figures import many
from celadon.cli.situation import tried
from celadon.core.errors import CeladonError
from celadon.infra import costs
from celadon.infra.costs import Cost
from celadon.infra.plan import Plan
from celadon.infra.refusal import Verdict

MARKS = {"create": "+", "update": "~", "replace": "-/+", "delete": "-", "forget": "."}
WORDS = {"create": "make", "update": "change", "replace": "make anew", "delete": "destroy", "forget": "forget"}


class Priced(msgspec.Struct, frozen=True):
    now: Cost
    later: Cost


def plan_id(plan: Plan) -> str:
    """Of what it would do: the same changes have the same id."""
    parts = [(c.address, c.kind, c.forced_by, c.changed) for c in plan.changes if c.kind != "nothing"]
    return hashlib.sha256(msgspec.json.encode(sorted(parts))).hexdigest()[:10]


def change_lines(plan: Plan) -> list[str]:
    changes = [change for change in plan.changes if change.kind != "nothing"]
    lines = []
    for change in changes:
        named = change.forced_by or (change.changed if change.kind == "update" else ())
        why = f"   ({', '.join(named)})" if named else ""
        lines.append(f"{MARKS[change.kind]:>3} {change.address}{why}")
    counts = [
        f"{count} to {word}"
        for kind, word in WORDS.items()
        if (count := sum(change.kind == kind for change in changes))
    ]
    return [*lines, ", ".join(counts) or "no changes: what is there is what the configuration says"]


def refusal_lines(verdict: Verdict, *, most: int = 20) -> list[str]:
    lines = []
    for refusal in verdict.refusals[:most]:
        lines += [f"error: {refusal.message}", f"  way out: {refusal.way_out}"]
    more = len(verdict.refusals) - most
    return lines + ([f"and {many(more, 'more refusal')}"] if more > 0 else [])


def keys(plan: Plan, verdict: Verdict, priced: Priced | None = None) -> dict[str, Any]:
    changes = [
        {
            "address": c.address,
            "type": c.type,
            "action": c.kind,
            "attributes": list(c.changed) if c.kind == "update" else [],
            "forced_by": list(c.forced_by),
        }
        for c in plan.changes
        if c.kind != "nothing"
    ]
    told: dict[str, Any] = {
        "plan_id": plan_id(plan),
        "changes": changes,
        "refused": msgspec.to_builtins(verdict.refusals),
        "notes": list(verdict.notes),
    }
    if priced is not None:
        told["monthly_cost"] = {"now": priced.now.total, "later": priced.later.total}
    return told


async def priced(call: Call, plan: Plan) -> Priced | None:
    """None where the API does not tell its prices: a plan is worth showing without."""
    async with open_account(call.environ) as account:
        prices = await tried(account.prices())
    if isinstance(prices, CeladonError):
        return None
    price = partial(_price, prices)
    return Priced(costs.cost(costs.things(plan.before), price), costs.cost(costs.things(plan.after), price))


def _price(prices: Mapping[str, Priceable], kind: str, region: str) -> float | None:
    found = prices.get(kind)
    return found.monthly(region) if found is not None else None


async def cost_of(call: Call, connected: Connected) -> Cost:
    """Of what there is now: the machines that have a label, and the NodeBalancer."""
    facts = await connected.world.balancer.read()
    async with open_account(call.environ) as account:
        ours = {host.name for host in connected.hosts}
        machines = [each for each in await account.instances() if each.label in ours]
        balancers = await account.balancers()
        prices = await account.prices()
    there = [(each.type or "?", each.region) for each in machines]
    there += [("nodebalancer", each.region) for each in balancers if each.id == facts.id]
    return costs.cost(there, partial(_price, prices))


def cost_now(cost: Cost) -> list[str]:
    return [f"cost: {_dollars(cost.total)} (US dollars a month, list price)", *(f"  {line}" for line in cost.lines)]


def cost_lines(priced: Priced | None) -> list[str]:
    if priced is None:
        return ["cost: the API told no prices"]
    now, later = (_dollars(each.total) for each in (priced.now, priced.later))
    changed = f"{now} now, {later} afterwards" if now != later else f"{later}, as now"
    return [f"cost: {changed} (US dollars a month, list price)", *(f"  {line}" for line in priced.later.lines)]


def _dollars(total: float | None) -> str:
    return "not known" if total is None else f"{total:,.2f}"
