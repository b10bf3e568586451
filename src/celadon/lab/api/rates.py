"""Request limits a token and class, in fixed windows, as Linode documents them (rate limits page, 2026-09-15)."""

import math
from collections.abc import Callable
from typing import Literal

import msgspec

RateClass = Literal["default", "list", "create_instance", "images", "stats"]

LIMITS: dict[RateClass, tuple[int, int]] = {  # requests, seconds
    "default": (1600, 60),
    "list": (200, 60),
    "create_instance": (20, 15),
    "images": (20, 60),
    "stats": (50, 60),
}


class Standing(msgspec.Struct, frozen=True):
    """Where a token stands after a request."""

    limit: int
    remaining: int
    resets_at: int  # seconds of the epoch
    retry_after: int | None  # seconds; None when the request is allowed

    @property
    def headers(self) -> dict[str, str]:
        shown = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.resets_at),
        }
        if self.retry_after is not None:
            shown["Retry-After"] = str(self.retry_after)
        return shown


class Rates:
    """`scale` multiplies every limit: 1 is the documented one, 0.01 makes a test quick."""

    def __init__(self, clock: Callable[[], float], scale: float = 1.0) -> None:
        self._clock = clock
        self._scale = scale
        self._windows: dict[tuple[str, RateClass], tuple[float, int]] = {}  # its end, requests so far

    def count(self, who: str, kind: RateClass) -> Standing:
        limit, seconds = LIMITS[kind]
        allowed = max(1, int(limit * self._scale))
        now = self._clock()
        end, used = self._windows.get((who, kind), (0.0, 0))
        if now >= end:
            end, used = now + seconds, 0
        refused = used >= allowed
        self._windows[who, kind] = (end, used if refused else used + 1)
        return Standing(
            limit=allowed,
            remaining=max(0, allowed - used - 1),
            resets_at=math.ceil(end),
            retry_after=max(1, math.ceil(end - now)) if refused else None,
        )
