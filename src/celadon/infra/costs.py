"""What machines and NodeBalancers cost a month, by list price. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from celadon.infra.plan import Known

Price = Callable[[str, str], float | None]
"""(type, region) to dollars a month; None: not known. A NodeBalancer's type is `nodebalancer`."""


class Cost(msgspec.Struct, frozen=True):
    """`total` None: a price is not known."""

    lines: tuple[str, ...]
    total: float | None


def cost(things: Iterable[tuple[str, str]], price: Price) -> Cost:
    """`things`: type and region of each."""
    lines, total = [], 0.0
    known = True
    for (kind, region), count in sorted(Counter(things).items()):
        one = price(kind, region)
        if one is None:
            lines.append(f"{count} x {kind} in {region}: price not known")
            known = False
            continue
        total += count * one
        lines.append(f"{count} x {kind} in {region}: {count * one:,.2f}")
    return Cost(tuple(lines), total if known else None)


def things(resources: Iterable[Known]) -> list[tuple[str, str]]:
    """What of a state, or of a plan for one, costs something by the month."""
    found = []
    for known in resources:
        region = str(known.values.get("region") or "?")
        if known.type == "linode_instance":
            found.append((str(known.values.get("type") or "g6-standard-1"), region))
        elif known.type == "linode_nodebalancer":
            found.append(("nodebalancer", region))
    return found
