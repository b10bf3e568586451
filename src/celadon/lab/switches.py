"""What the real service leaves open, as switches with a default each; tests run both ways.

Only values live here. `lab/plane` reads those about traffic, `lab/world` those about the API.
"""

from typing import Annotated

import msgspec

Delay = Annotated[float, msgspec.Meta(ge=0, le=60)]


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The documented behaviour where there is documentation, else the one that is harder for a deploy."""

    mode_delay_seconds: Delay = 0.0
    """From the API's 200 to a mode or weight being true. Documented: "within 60 seconds"."""

    backup_checked: bool = True
    """Whether a `backup` node is health-checked. Not documented."""

    reject_to_accept_unknown: bool = True
    """Whether a node that returns to `accept` starts without a verdict. Not documented."""

    redispatch: bool = False
    """Whether the balancer hides a refused connection by trying another node. Not documented."""

    rebuild_resets: bool = False
    """Whether a config rebuild resets the fields left out to their defaults, or keeps them. Not documented."""

    rebuild_needs_certificate: bool = True
    """Whether rebuilding an https config demands `ssl_cert` and `ssl_key` again. Linode's own client sends them."""

    check_interval_default: Annotated[int, msgspec.Meta(ge=2, le=3600)] = 31
    """31 was recorded; the documentation of 2026 says 5."""

    port_held_seconds: Delay = 0.0
    """How long a deleted config's port stays taken: Linode's Ansible module waits for that to pass."""
