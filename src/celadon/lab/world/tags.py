"""Tags: short labels on objects, compared without case."""

from celadon.lab.world.account import Account, State
from celadon.lab.world.objects import Balancer, Domain, Firewall, Instance, Json, Tag
from celadon.lab.world.problems import NotFound, Problem

Tagged = Instance | Balancer | Domain | Firewall


def clean_tags(tags: list[str] | None) -> tuple[str, ...]:
    """Each once, the first spelling kept. `null`, which Go clients send, is none."""
    kept: dict[str, str] = {}
    for tag in tags or []:
        if not 3 <= len(tag) <= 50:
            raise Problem("Length must be 3-50 characters", "tags")
        kept.setdefault(tag.lower(), tag)
    return tuple(kept.values())


def tagged(state: State) -> list[Tagged]:
    """Everything that can carry tags."""
    return [*state.all(Instance), *state.all(Balancer), *state.all(Domain), *state.all(Firewall)]


def labels(state: State) -> list[str]:
    on_objects = [tag for item in tagged(state) for tag in item.tags]
    return sorted({tag.lower(): tag for tag in (*on_objects, *(tag.label for tag in state.all(Tag)))}.values())


def create(account: Account, body: Json) -> Tag:
    (label,) = clean_tags([body["label"]])
    if label.lower() in (each.lower() for each in labels(account.state)):
        raise Problem("Tag already exists", "label")
    wanted: list[Tagged] = [
        *(account.find(Instance, item_id) for item_id in body.get("linodes") or []),
        *(account.find(Balancer, item_id) for item_id in body.get("nodebalancers") or []),
        *(account.find(Domain, item_id) for item_id in body.get("domains") or []),
    ]
    for item in wanted:
        account.amend(item, {"tags": (*item.tags, label)})
    return account.put(Tag(id=account.new_id(), label=label))


def delete(account: Account, label: str) -> None:
    if label.lower() not in (each.lower() for each in labels(account.state)):
        raise NotFound
    for item in tagged(account.state):
        kept = tuple(tag for tag in item.tags if tag.lower() != label.lower())
        if kept != item.tags:
            account.amend(item, {"tags": kept})
    account.drop_where(Tag, lambda tag: tag.label.lower() == label.lower())
