"""OAuth scopes of a Linode token: what it may do, and the sentence for what it may not. Nothing here acts."""

import re
from collections.abc import Iterable

from celadon.core.errors import NotAllowed

NEEDED = ("linodes:read_only", "nodebalancers:read_write")
"""The narrowest token that can deploy. Hosts named by address need no `linodes` scope."""

HINT = "Cloud Manager > API Tokens: a new token with exactly these, all else None"
NAMES = {"linodes": "Linodes", "nodebalancers": "NodeBalancers"}


def parse_scopes(header: str | None) -> frozenset[str] | None:
    """`X-OAuth-Scopes`: words between blanks or commas; `*` is everything. None: the API did not say."""
    if header is None or not (words := re.split(r"[\s,]+", header.strip())) or words == [""]:
        return None
    return frozenset(words)


def allows(has: frozenset[str], need: str) -> bool:
    """Writing includes reading; `*` includes all."""
    resource, _, level = need.partition(":")
    enough = {"*", f"{resource}:*", f"{resource}:read_write"}
    return bool(has & (enough if level == "read_write" else enough | {f"{resource}:read_only"}))


def scope_refusal(has: frozenset[str], needed: Iterable[str] = NEEDED) -> NotAllowed | None:
    """The refusal for the first scope that is missing; None when the token can do all of `needed`."""
    needed = tuple(needed)
    missing = next((need for need in needed if not allows(has, need)), None)
    if missing is None:
        return None
    resource, _, level = missing.partition(":")
    name = NAMES.get(resource, resource)
    if level == "read_write" and allows(has, f"{resource}:read_only"):
        message = f"LINODE_TOKEN can read {name} but not change them"
    else:
        message = f"LINODE_TOKEN cannot {'change' if level == 'read_write' else 'read'} {name}"
    details = (f"has:   {' '.join(sorted(has)) or 'nothing'}", f"needs: {' '.join(needed)}")
    return NotAllowed(message, hint=HINT, where="LINODE_TOKEN", details=details)
