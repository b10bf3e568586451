"""Which host keeps an app's store: epochs and moves, and what each host knows of them. Values and comparisons only.

A home that moves counts its moves; a home that was lost and replaced begins a new epoch. The epoch is part of every
fence, so that no driver of an old epoch can ever count its way above a new one.
"""

from typing import Annotated, Literal

import msgspec

from celadon.core.foreign import Count, Utc
from celadon.core.release import Release

EPOCH = 1 << 32  # fences of one epoch; `celadon.agent.fence` has the same number, and a test compares them


def epoch_of(fence: int) -> int:
    """Epoch 1 has the plain numbers: most apps never see another."""
    return fence // EPOCH + 1


def first_fence(epoch: int) -> int:
    """Above every fence of every epoch before; the first driver takes the next."""
    return (epoch - 1) * EPOCH


HOST = r"\A([A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z"  # as the agent takes it; it is also shown, in hints


class Seat(msgspec.Struct, frozen=True):
    """Where the home is, as of one move of one epoch. Larger is newer; `home` empty: it was not said."""

    epoch: Count = 1
    move: Count = 0
    home: Annotated[str, msgspec.Meta(pattern=HOST)] = ""

    @property
    def rank(self) -> tuple[int, int]:
        return self.epoch, self.move


class HomeFacts(msgspec.Struct, frozen=True):
    """What one host says of the app's home.

    `here`: it keeps the store. `moved`: it did, and `seat` says where it went. `old`: it keeps a store, and knows of a
    newer home (`told`, or only a fence of a newer epoch). `none`: it keeps nothing.
    """

    state: Literal["none", "here", "moved", "old"]
    seat: Seat
    told: Seat | None  # the newest that it was told of
    arriving: Seat | None  # a whole copy that waits to be opened
    fence: Count
    last_rollout: Count

    @property
    def newest(self) -> Seat:
        """The newest home that this host can name, or at least count."""
        known = [Seat(epoch_of(self.fence)), self.seat, *([self.told] if self.told is not None else [])]
        return max(known, key=lambda seat: (seat.rank, bool(seat.home)))

    @property
    def blank(self) -> bool:
        """It has never had anything to do with the app."""
        return self.state == "none" and self.told is None and self.fence == 0


class KeptRelease(msgspec.Struct, frozen=True):
    """A release whose settings are on a host, and since when: it can be started again without a journal."""

    release: Release
    at: Utc


class Adopted(msgspec.Struct, frozen=True):
    """What a new home was told of the time before it, by the hosts that lived through it."""

    releases: tuple[Release, ...]  # newest first
    last_rollout: Count
    by: str
    at: Utc
