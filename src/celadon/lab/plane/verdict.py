"""What a row of health checks means. Pure."""

import msgspec

from celadon.lab.parts import NodeStatus


class Verdict(msgspec.Struct, frozen=True):
    """The balancer's opinion of one node. `streak`: passes in a row, or failures in a row below zero."""

    status: NodeStatus = "Unknown"
    streak: int = 0


def after_check(verdict: Verdict, *, passed: bool, attempts: int) -> Verdict:
    """It takes `attempts` equal results in a row to change the status, up as well as down."""
    streak = max(verdict.streak, 0) + 1 if passed else min(verdict.streak, 0) - 1
    if abs(streak) < attempts:
        return Verdict(verdict.status, streak)
    return Verdict("UP" if passed else "DOWN", streak)


def after_bad_answer() -> Verdict:
    """A passive check: one bad answer to a user is enough, and the active checks must pass from scratch."""
    return Verdict("DOWN", 0)
