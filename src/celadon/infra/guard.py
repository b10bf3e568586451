"""May this plan be applied now? A plan and facts in, refusals and notes out. Pure; start reading here.

Refused is what hurts who serves: a machine of a colour that is not idle, the home, the NodeBalancer, a port that
serves, a node that is not `reject`. What Celadon does not know is left to Terraform.
"""

from collections.abc import Callable, Iterator, Mapping

from celadon.infra import balancer, doors, machines
from celadon.infra.facts import Facts
from celadon.infra.machines import as_id
from celadon.infra.plan import Change, Plan
from celadon.infra.refusal import Refusal, Verdict

Rule = Callable[[Change, Facts], Iterator[Refusal]]
RULES: Mapping[str, Rule] = {
    "linode_instance": machines.judge_instance,
    "linode_instance_config": machines.judge_part,
    "linode_instance_disk": machines.judge_part,
    "linode_instance_ip": machines.judge_address,
    "linode_nodebalancer": balancer.judge_balancer,
    "linode_nodebalancer_node": balancer.judge_node,
    "linode_firewall": doors.judge_firewall,
}
LABELLED = {
    "linode_instance": ("label", "Linode"),
    "linode_nodebalancer": ("label", "NodeBalancer"),
    "linode_firewall": ("label", "firewall"),
    "linode_vpc": ("label", "VPC"),
    "linode_domain": ("domain", "domain"),
}
"""What the API has only one of by that name, in an account (a domain: in all accounts)."""


def judge(plan: Plan, facts: Facts, *, new_certificate: bool = False) -> Verdict:
    """`new_certificate`: a person means to change what users see of TLS."""
    refusals = [*_another_state(plan, facts), *_stale(plan, facts)]
    notes: list[str] = []
    for change in plan.changes:
        refusals += _refused(change, facts, new_certificate=new_certificate)
        refusals += _taken(change, plan, facts)
        notes += balancer.notes(change, facts)
        if change.kind == "forget" and change.type in RULES:
            notes.append(f"{change.address}: Terraform would forget it; it lives on, and nobody owns it then")
    return Verdict(tuple(refusals), tuple(notes))


def _refused(change: Change, facts: Facts, *, new_certificate: bool) -> Iterator[Refusal]:
    if change.type == "linode_nodebalancer_config":
        yield from balancer.judge_config(change, facts, new_certificate=new_certificate)
    elif (rule := RULES.get(change.type)) is not None:
        yield from rule(change, facts)


def _another_state(plan: Plan, facts: Facts) -> Iterator[Refusal]:
    """A plan of another workspace, folder or app: it has a NodeBalancer, and it is not ours."""
    if facts.balancer is None:
        return
    has = [known for known in plan.before if known.type == "linode_nodebalancer"]
    if has and all(as_id(known.values.get("id")) != facts.balancer.id for known in has):
        label = facts.balancer.label
        yield Refusal(
            resource=has[0].address,
            attribute="id",
            message=f"the plan's state has another NodeBalancer than {label}, which {facts.app} is behind",
            way_out="terraform workspace show · or name the app's own config: celadon -c FILE",
            code="another_state",
        )


def _stale(plan: Plan, facts: Facts) -> Iterator[Refusal]:
    """A plan made before the world changed: it speaks of a node or machine that is not there any more."""
    if facts.balancer is None:
        return
    ours = [known for known in plan.before if as_id(known.values.get("nodebalancer_id")) == facts.balancer.id]
    for known in ours:
        if known.type != "linode_nodebalancer_node":
            continue
        node = facts.node(as_id(known.values.get("id")) or 0)
        if node is None or node.address != known.values.get("address"):
            what = "is gone" if node is None else f"is {node.address} now"
            yield _stale_refusal(known.address, f"its node {known.values.get('address')} {what}")
    by_name = {machine.name: machine for machine in facts.machines}
    for known in plan.before:
        machine = by_name.get(str(known.values.get("label"))) if known.type == "linode_instance" else None
        if machine is not None and machine.id not in (None, as_id(known.values.get("id"))):
            yield _stale_refusal(known.address, f"{machine.name} is another Linode now ({machine.id})")


def _stale_refusal(resource: str, why: str) -> Refusal:
    return Refusal(
        resource=resource,
        attribute="",
        message=f"the plan is stale: {resource}: {why}",
        way_out="plan again: terraform plan reads what is there now",
        code="stale",
    )


def _taken(change: Change, plan: Plan, facts: Facts) -> Iterator[Refusal]:
    """What the account already has cannot be made again: the plan's state does not know it."""
    if change.kind != "create" or change.type not in LABELLED:
        return
    key, word = LABELLED[change.type]
    name = change.after.get(key)
    freed = {each.before.get(key) for each in plan.changes if each.type == change.type and each.kind == "delete"}
    if (change.type, name) not in facts.taken or name in freed:
        return
    yield Refusal(
        resource=change.address,
        attribute=key,
        message=f"{change.address} would be made, and there is a {word} {name} already, unknown to this state",
        way_out="another state? terraform workspace show · adopt it: celadon init --from-linode --terraform",
        code="taken",
    )
