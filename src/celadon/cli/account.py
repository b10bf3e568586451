"""The Linode account as the environment names it, for verbs about infrastructure. Joins, and decides nothing."""

from collections.abc import Mapping

from celadon.adapters.linode import DEFAULT_URL
from celadon.adapters.linode_account import LinodeAccount
from celadon.core.errors import Refused
from celadon.core.secret import Secret

READS = ("linodes:read_only", "nodebalancers:read_only")


def open_account(environ: Mapping[str, str], *, needed: tuple[str, ...] = READS) -> LinodeAccount:
    """Use it with `async with`. Raises Refused where there is no token."""
    token = environ.get("LINODE_TOKEN")
    if not token:
        raise Refused(
            "LINODE_TOKEN is not set",
            hint=f'Cloud Manager > API Tokens: {" ".join(needed)} · a lab: eval "$(celadon lab up)"',
            where="LINODE_TOKEN",
        )
    return LinodeAccount(environ.get("LINODE_URL") or DEFAULT_URL, Secret(token), needed=needed)
