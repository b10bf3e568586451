"""What the guard says about one resource: a refusal, or a note to a person. Only values and their words."""

import msgspec

from celadon.infra.plan import Change

VERBS = {"delete": "would be destroyed", "replace": "would be replaced", "update": "would be changed"}
REASONS = {
    "replace_because_tainted": "it is tainted",
    "replace_by_request": "-replace asks for it",
    "replace_by_triggers": "replace_triggered_by asks for it",
    "delete_because_no_resource_config": "no block of the configuration has it any more",
    "delete_because_no_module": "its module is gone from the configuration",
    "delete_because_wrong_repetition": "its count or for_each is gone",
    "delete_because_count_index": "count is smaller now",
    "delete_because_each_key": "for_each has its key no more",
    "delete_because_no_move_target": "what it was moved to is gone",
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """`attribute`: what forces it; empty where nothing does (a plain destroy)."""

    resource: str
    attribute: str
    message: str
    way_out: str
    code: str


class Verdict(msgspec.Struct, frozen=True):
    """`refusals` empty: the plan may be applied. `notes`: harmless to the live colour, worth knowing."""

    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def what(change: Change) -> str:
    """`module.x.linode_instance.a would be replaced (image forces it)`."""
    text = f"{change.address} {VERBS.get(change.kind, 'would be made')}"
    why = cause(change)
    return f"{text} ({why})" if why else text


def cause(change: Change) -> str:
    if change.forced_by:
        steps = ", ".join(change.step(path) if "." not in path else path for path in change.forced_by)
        return f"{steps} {'forces' if len(change.forced_by) == 1 else 'force'} it"
    return REASONS.get(change.reason, "")


def attribute(change: Change) -> str:
    return ", ".join(change.forced_by)
